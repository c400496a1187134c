//! How connection tasks and the core loop talk: inputs one way, finished units the other. All on one thread.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::Notify;

use crate::command::{Changeable, Session};
use crate::engine::{ConnId, Finished, Input, Unit};

/// A handle to the engine; clones share it.
#[derive(Clone, Default)]
pub(super) struct Inbox(Rc<State>);

#[derive(Default)]
struct State {
    inputs: RefCell<VecDeque<Input>>,
    arrived: Arc<Notify>,
    mailboxes: RefCell<HashMap<ConnId, Mailbox>>,
    last_conn: Cell<ConnId>,
    stopping: Cell<bool>,
    failure: RefCell<Option<String>>,
    settings: RefCell<Option<Changeable>>,
    left: Notify,
}

/// What waits to be written to a connection, and where it stands.
#[derive(Default)]
struct Mailbox {
    stage: Stage,
    /// Bytes that it did not ask for just now: messages, and replies before a command that waits.
    pushed: BytesMut,
    /// Since when more than [`SOFT_BYTES`] of them wait.
    behind_since: Option<Instant>,
    /// It is to end at once.
    killed: bool,
    /// Its task, while that waits for any of this.
    task: Option<Waker>,
}

/// Where a connection stands.
#[derive(Default)]
enum Stage {
    /// Nothing of it runs and nothing is to be written.
    #[default]
    Idle,
    /// A unit of it runs.
    Running,
    /// The replies are there to be taken.
    Finished(Finished),
    /// The replies are being written.
    Writing,
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

/// A connection that lets so many bytes of messages lie is ended …
const HARD_BYTES: usize = 32 << 20;
/// … or so many for [`SOFT_TIME`], as Redis does with its subscribers.
const SOFT_BYTES: usize = 8 << 20;
const SOFT_TIME: Duration = Duration::from_secs(60);

impl Mailbox {
    fn take_pushed(&mut self) -> BytesMut {
        self.behind_since = None;
        std::mem::take(&mut self.pushed)
    }

    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

impl Inbox {
    /// Tells of a new connection.
    pub(super) fn open(&self, address: String, authenticated: bool) -> ConnId {
        self.open_session(|conn| Session::new(conn, address, authenticated))
    }

    /// Tells of a new connection of the server to itself.
    pub(super) fn open_own(&self, name: &'static str) -> ConnId {
        self.open_session(|conn| {
            let session = Session::new(conn, "internal:0".to_owned(), true);
            Session { is_own: true, name: name.into(), ..session }
        })
    }

    fn open_session(&self, session: impl FnOnce(ConnId) -> Session) -> ConnId {
        let conn = self.0.last_conn.get() + 1;
        self.0.last_conn.set(conn);
        self.0.mailboxes.borrow_mut().insert(conn, Mailbox::default());
        self.push(Input::Open(session(conn)));
        conn
    }

    /// Tells that a connection is gone.
    pub(super) fn close(&self, conn: ConnId) {
        self.0.mailboxes.borrow_mut().remove(&conn);
        self.push(Input::Close(conn));
        self.0.left.notify_one();
    }

    /// Hands in commands; [`Inbox::finished`] gives their replies.
    pub(super) fn submit(&self, unit: Unit) {
        if let Some(mailbox) = self.0.mailboxes.borrow_mut().get_mut(&unit.conn) {
            mailbox.stage = Stage::Running;
        }
        self.push(Input::Unit(unit));
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
                Stage::Finished(finished) => Poll::Ready(Told::Finished(finished)),
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

    /// Tells that the replies were written.
    pub(super) fn written(&self, conn: ConnId) {
        if let Some(mailbox) = self.0.mailboxes.borrow_mut().get_mut(&conn) {
            mailbox.stage = Stage::Idle;
        }
    }

    /// Releases the replies of a unit.
    pub(super) fn deliver(&self, finished: Finished) {
        if let Some(mailbox) = self.0.mailboxes.borrow_mut().get_mut(&finished.conn) {
            mailbox.stage = Stage::Finished(finished);
            mailbox.wake();
        }
    }

    /// Releases what a connection did not ask for just now, behind all that was released before. One that lets too much
    /// lie is ended.
    pub(super) fn push_out(&self, conn: ConnId, out: &[u8]) {
        let mut mailboxes = self.0.mailboxes.borrow_mut();
        let Some(mailbox) = mailboxes.get_mut(&conn) else { return };
        let waiting = match &mut mailbox.stage {
            Stage::Finished(finished) => &mut finished.out,
            _ => &mut mailbox.pushed,
        };
        waiting.extend_from_slice(out);
        let waiting = waiting.len();
        if waiting > SOFT_BYTES {
            let since = *mailbox.behind_since.get_or_insert_with(Instant::now);
            if waiting > HARD_BYTES || since.elapsed() > SOFT_TIME {
                tracing::warn!(conn, waiting, "a connection is ended: it does not take the messages it subscribed to");
                mailbox.killed = true;
            }
        }
        mailbox.wake();
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

    /// Waits until every connection is gone.
    pub(super) async fn drained(&self) {
        while self.connections() > 0 {
            self.0.left.notified().await;
        }
    }
}
