//! How connection tasks and the core loop talk: inputs one way, finished units the other. All on one thread.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::Notify;

use crate::command::{Changeable, Held, Session};
use crate::engine::{ConnId, Finished, Input, Unit};
use crate::server::ended::{Ended, Endings};
use crate::server::limits::OutputLimit;
use crate::server::mailbox::{Mailbox, Stage};

/// A handle to the engine; clones share it.
#[derive(Clone, Default)]
pub(super) struct Inbox(Rc<State>);

#[derive(Default)]
struct State {
    inputs: RefCell<VecDeque<Input>>,
    arrived: Arc<Notify>,
    mailboxes: RefCell<HashMap<ConnId, Mailbox>>,
    /// Bytes that all connections hold; see [`Mailbox::held`].
    held: Cell<usize>,
    /// Bytes of connections that were ended for what all hold, until they are gone.
    ending: Cell<usize>,
    /// Connections of the server to itself.
    own: Cell<usize>,
    limits: Cell<Limits>,
    endings: RefCell<Endings>,
    last_conn: Cell<ConnId>,
    stopping: Cell<bool>,
    failure: RefCell<Option<String>>,
    settings: RefCell<Option<Changeable>>,
    drain: Cell<Option<Duration>>,
    left: Notify,
}

/// What is bounded here.
#[derive(Default, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of replies that may wait for a connection.
    pub(super) replies: OutputLimit,
    /// Bytes of messages that may wait for one.
    pub(super) messages: OutputLimit,
    /// Bytes that all may hold; 0: no limit.
    pub(super) max_memory: usize,
}

/// What a connection is told while a unit of it runs.
pub(super) enum Told {
    /// Write this.
    Pushed(BytesMut),
    /// The unit has run.
    Finished(Finished),
    /// The server stops.
    Stopped,
}

impl Inbox {
    /// An inbox whose connections are bounded so.
    pub(super) fn new(limits: Limits) -> Inbox {
        let inbox = Inbox::default();
        inbox.0.limits.set(limits);
        inbox
    }

    /// Tells of a new connection of the server to itself.
    pub(super) fn open_own(&self, name: &'static str) -> ConnId {
        self.open(|conn| {
            let session = Session::new(conn, "internal:0".to_owned(), true);
            Session { is_own: true, name: name.into(), ..session }
        })
    }

    /// Tells of a new connection, whose number is chosen here.
    pub(super) fn open(&self, session: impl FnOnce(ConnId) -> Session) -> ConnId {
        let conn = self.0.last_conn.get() + 1;
        self.0.last_conn.set(conn);
        let session = session(conn);
        self.0.own.set(self.0.own.get() + usize::from(session.is_own));
        let mailbox = Mailbox { is_own: session.is_own, ..Mailbox::default() };
        self.0.mailboxes.borrow_mut().insert(conn, mailbox);
        self.push(Input::Open(Box::new(session)));
        conn
    }

    /// Tells that a connection is gone.
    pub(super) fn close(&self, conn: ConnId) {
        if let Some(mailbox) = self.0.mailboxes.borrow_mut().remove(&conn) {
            self.0.held.set(self.0.held.get() - mailbox.counted);
            self.0.ending.set(self.0.ending.get() - mailbox.ending);
            self.0.own.set(self.0.own.get() - usize::from(mailbox.is_own));
        }
        self.push(Input::Close(conn));
        self.0.left.notify_one();
    }

    /// Hands in commands of a connection that has sent so many bytes which are not answered; [`Inbox::told`] gives
    /// their replies.
    pub(super) fn submit(&self, unit: Unit, sent: usize) {
        self.change(unit.conn, |mailbox| {
            mailbox.stage = Stage::Running;
            mailbox.sent = sent;
        });
        self.push(Input::Unit(unit));
    }

    /// Tells how many bytes a connection has sent which are not answered.
    pub(super) fn has_sent(&self, conn: ConnId, sent: usize) {
        self.change(conn, |mailbox| mailbox.sent = sent);
    }

    /// Tells how many of the bytes that were to be written are left.
    pub(super) fn has_written(&self, conn: ConnId, left: usize) {
        let soft = self.0.limits.get().messages;
        self.change(conn, |mailbox| {
            mailbox.writing = left;
            if !soft.is_past_soft(mailbox.waiting()) {
                mailbox.behind_since = None;
            }
        });
    }

    /// Changes what a connection holds, and counts it. When all hold too much, the one that holds most is ended.
    fn change(&self, conn: ConnId, change: impl FnOnce(&mut Mailbox)) {
        let mut mailboxes = self.0.mailboxes.borrow_mut();
        let Some(mailbox) = mailboxes.get_mut(&conn) else { return };
        change(mailbox);
        let held = mailbox.held();
        let all = self.0.held.get() - mailbox.counted + held;
        let grown = held > mailbox.counted;
        mailbox.counted = held;
        self.0.held.set(all);
        let most = self.0.limits.get().max_memory;
        if grown && most > 0 && all > most {
            self.end_largest(&mut mailboxes);
        }
    }

    /// Ends the connection that holds most: a look at all of them, of which each ends one.
    fn end_largest(&self, mailboxes: &mut HashMap<ConnId, Mailbox>) {
        let largest = mailboxes.iter_mut().filter(|(_, mailbox)| !mailbox.killed).max_by_key(|(_, it)| it.counted);
        let Some((conn, mailbox)) = largest.filter(|(_, mailbox)| mailbox.counted > 0) else { return };
        mailbox.ending = std::mem::take(&mut mailbox.counted);
        self.0.held.set(self.0.held.get() - mailbox.ending);
        self.0.ending.set(self.0.ending.get() + mailbox.ending);
        mailbox.killed = true;
        mailbox.wake();
        self.0.endings.borrow_mut().note(*conn, Ended::Memory);
    }

    /// Waits until connections that were ended for what all hold have had their turn to go: who reads on without it adds to
    /// what they still have.
    pub(super) async fn let_ended_go(&self) {
        let most = self.0.limits.get().max_memory;
        if self.0.ending.get() > 0 && self.0.held.get() + self.0.ending.get() > most {
            tokio::task::yield_now().await;
        }
    }

    /// Notes that the server ended a connection.
    pub(super) fn note_end(&self, conn: ConnId, why: Ended) {
        self.0.endings.borrow_mut().note(conn, why);
    }

    /// What is held for a connection, beside what the engine keeps.
    pub(super) fn held(&self, conn: ConnId) -> Held {
        self.0.mailboxes.borrow().get(&conn).map_or_else(Held::default, Mailbox::held_apart)
    }

    /// How often connections were ended or refused, and how many bytes all hold.
    pub(super) fn endings(&self) -> crate::command::Endings {
        crate::command::Endings { memory: self.0.held.get(), ..self.0.endings.borrow().counts() }
    }

    /// Hands in anything.
    pub(super) fn push(&self, input: Input) {
        self.0.inputs.borrow_mut().push_back(input);
        self.0.arrived.notify_one();
    }

    /// Waits for what there is to write to a connection whose unit runs.
    pub(super) async fn told(&self, conn: ConnId) -> Told {
        std::future::poll_fn(|task| {
            let mut mailboxes = self.0.mailboxes.borrow_mut();
            let Some(mailbox) = mailboxes.get_mut(&conn) else { return Poll::Ready(Told::Stopped) };
            if !mailbox.pushed.is_empty() {
                return Poll::Ready(Told::Pushed(mailbox.take_pushed()));
            }
            match std::mem::replace(&mut mailbox.stage, Stage::Writing) {
                Stage::Finished(finished) => {
                    mailbox.writing = finished.out.len();
                    Poll::Ready(Told::Finished(finished))
                }
                _ => {
                    mailbox.stage = Stage::Running;
                    mailbox.task = Some(task.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Waits for messages to an idle connection; empty when the server stops.
    pub(super) async fn pushed(&self, conn: ConnId) -> BytesMut {
        std::future::poll_fn(|task| {
            let mut mailboxes = self.0.mailboxes.borrow_mut();
            let Some(mailbox) = mailboxes.get_mut(&conn) else { return Poll::Ready(BytesMut::new()) };
            if !mailbox.pushed.is_empty() {
                return Poll::Ready(mailbox.take_pushed());
            }
            mailbox.task = Some(task.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits until a connection is to end at once.
    pub(super) async fn killed(&self, conn: ConnId) {
        std::future::poll_fn(|task| {
            let mut mailboxes = self.0.mailboxes.borrow_mut();
            match mailboxes.get_mut(&conn) {
                Some(mailbox) if !mailbox.killed => {
                    mailbox.task = Some(task.waker().clone());
                    Poll::Pending
                }
                Some(_) => Poll::Ready(()),
                // The server stops: the connection finds out by itself what it may still write.
                None => Poll::Pending,
            }
        })
        .await;
    }

    /// Tells that the replies were written, or are held back: nothing of the connection runs.
    pub(super) fn rests(&self, conn: ConnId, sent: usize) {
        let soft = self.0.limits.get().messages;
        self.change(conn, |mailbox| {
            mailbox.stage = Stage::Idle;
            mailbox.writing = 0;
            mailbox.sent = sent;
            if !soft.is_past_soft(mailbox.waiting()) {
                mailbox.behind_since = None;
            }
        });
    }

    /// Tells that replies which were held back are written now.
    pub(super) fn writes(&self, conn: ConnId, left: usize) {
        self.change(conn, |mailbox| {
            mailbox.stage = Stage::Writing;
            mailbox.writing = left;
        });
    }

    /// Releases the replies of a unit. A connection for which that is too much is ended.
    pub(super) fn deliver(&self, finished: Finished) {
        let (conn, limit) = (finished.conn, self.0.limits.get().replies);
        let mut too_much = false;
        self.change(conn, |mailbox| {
            mailbox.kept = finished.kept;
            mailbox.stage = Stage::Finished(finished);
            too_much = !mailbox.is_own && !mailbox.killed && limit.is_past_hard(mailbox.waiting());
            mailbox.killed |= too_much;
            mailbox.wake();
        });
        if too_much {
            self.note_end(conn, Ended::Output);
        }
    }

    /// Releases what a connection did not ask for just now, behind all that was released before. One that lets too much
    /// lie is ended.
    pub(super) fn push_out(&self, conn: ConnId, out: &[u8]) {
        let limit = self.0.limits.get().messages;
        let mut too_much = false;
        self.change(conn, |mailbox| {
            match &mut mailbox.stage {
                Stage::Finished(finished) => finished.out.extend_from_slice(out),
                _ => mailbox.pushed.extend_from_slice(out),
            }
            let waiting = mailbox.waiting();
            if limit.is_past_soft(waiting) {
                let since = *mailbox.behind_since.get_or_insert_with(Instant::now);
                too_much = since.elapsed() > limit.soft_time;
            }
            too_much |= limit.is_past_hard(waiting);
            too_much &= !mailbox.is_own && !mailbox.killed;
            mailbox.killed |= too_much;
            mailbox.wake();
        });
        if too_much {
            self.note_end(conn, Ended::Output);
        }
    }

    /// Tells how many bytes the engine keeps for a connection.
    pub(super) fn keeps(&self, conn: ConnId, bytes: usize) {
        self.change(conn, |mailbox| mailbox.kept = bytes);
    }

    /// Ends a connection at once for what it would hold.
    pub(super) fn end(&self, conn: ConnId, why: Ended) {
        let mut ends = false;
        self.change(conn, |mailbox| {
            ends = !mailbox.is_own && !mailbox.killed;
            mailbox.killed |= ends;
            mailbox.wake();
        });
        if ends {
            self.note_end(conn, why);
        }
    }

    /// Ends a connection at once.
    pub(super) fn kill(&self, conn: ConnId) {
        if let Some(mailbox) = self.0.mailboxes.borrow_mut().get_mut(&conn) {
            mailbox.killed = true;
            mailbox.wake();
        }
    }

    /// Takes the oldest input.
    pub(super) fn pop(&self) -> Option<Input> {
        self.0.inputs.borrow_mut().pop_front()
    }

    /// How much has come in.
    pub(super) fn len(&self) -> usize {
        self.0.inputs.borrow().len()
    }

    /// True when nothing has come in.
    pub(super) fn is_empty(&self) -> bool {
        self.0.inputs.borrow().is_empty()
    }

    /// Waits until something may have come in.
    pub(super) async fn arrived(&self) {
        self.0.arrived.notified().await;
    }

    /// A function that wakes the core loop from any thread.
    pub(super) fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let arrived = self.0.arrived.clone();
        move || arrived.notify_one()
    }

    /// Tells that reading the store failed away from the core loop.
    pub(super) fn fail(&self, reason: &str) {
        *self.0.failure.borrow_mut() = Some(reason.to_owned());
        self.0.arrived.notify_one();
    }

    /// What [`Inbox::fail`] told.
    pub(super) fn failure(&self) -> Option<String> {
        self.0.failure.borrow_mut().take()
    }

    /// Hands in settings that hold from the next batch on.
    pub(super) fn reconfigure(&self, settings: Changeable) {
        *self.0.settings.borrow_mut() = Some(settings);
        self.0.arrived.notify_one();
    }

    /// What [`Inbox::reconfigure`] handed in.
    pub(super) fn new_settings(&self) -> Option<Changeable> {
        self.0.settings.borrow_mut().take()
    }

    /// Asks the core loop for a drain of so long at most.
    pub(super) fn drain(&self, time: Duration) {
        self.0.drain.set(Some(time));
        self.0.arrived.notify_one();
    }

    /// What [`Inbox::drain`] asked for.
    pub(super) fn asked_drain(&self) -> Option<Duration> {
        self.0.drain.take()
    }

    /// Asks the core loop, listeners and connections to come to an end.
    pub(super) fn stop(&self) {
        self.0.stopping.set(true);
        self.0.arrived.notify_one();
    }

    /// True once [`Inbox::stop`] was called.
    pub(super) fn is_stopping(&self) -> bool {
        self.0.stopping.get()
    }

    /// Ends every connection that is idle or waits for a reply which will not come; the others end after the one
    /// they are about to write.
    pub(super) fn abandon_waiting(&self) {
        self.0.mailboxes.borrow_mut().retain(|_, mailbox| {
            mailbox.wake();
            matches!(mailbox.stage, Stage::Finished(_) | Stage::Writing)
        });
    }

    /// Connections open now.
    pub(super) fn connections(&self) -> usize {
        self.0.mailboxes.borrow().len()
    }

    /// Those of them that are clients.
    pub(super) fn clients(&self) -> usize {
        self.connections() - self.0.own.get()
    }

    /// Waits until every connection is gone.
    pub(super) async fn drained(&self) {
        while self.connections() > 0 {
            self.0.left.notified().await;
        }
    }
}
