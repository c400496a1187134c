//! How connection tasks and the core loop talk: inputs one way, finished units the other. All on one thread.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::sync::Notify;

use crate::command::Session;
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
    left: Notify,
}

/// Where a connection stands.
#[derive(Default)]
enum Mailbox {
    /// Nothing of it runs and nothing is to be written.
    #[default]
    Idle,
    /// A unit of it runs; who waits for the replies.
    Running(Option<Waker>),
    /// The replies are there to be taken.
    Finished(Finished),
    /// The replies are being written.
    Writing,
}

impl Inbox {
    /// Tells of a new connection.
    pub(super) fn open(&self, address: String, authenticated: bool) -> ConnId {
        let conn = self.0.last_conn.get() + 1;
        self.0.last_conn.set(conn);
        self.0.mailboxes.borrow_mut().insert(conn, Mailbox::default());
        self.push(Input::Open(Session::new(conn, address, authenticated)));
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
            *mailbox = Mailbox::Running(None);
        }
        self.push(Input::Unit(unit));
    }

    /// Hands in anything.
    pub(super) fn push(&self, input: Input) {
        self.0.inputs.borrow_mut().push_back(input);
        self.0.arrived.notify_one();
    }

    /// Waits for the connection's unit to finish; `None` when the server stops first.
    pub(super) async fn finished(&self, conn: ConnId) -> Option<Finished> {
        std::future::poll_fn(|task| {
            let mut mailboxes = self.0.mailboxes.borrow_mut();
            let Some(mailbox) = mailboxes.get_mut(&conn) else { return Poll::Ready(None) };
            match std::mem::replace(mailbox, Mailbox::Writing) {
                Mailbox::Finished(finished) => Poll::Ready(Some(finished)),
                _ => {
                    *mailbox = Mailbox::Running(Some(task.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Tells that the replies were written.
    pub(super) fn written(&self, conn: ConnId) {
        if let Some(mailbox) = self.0.mailboxes.borrow_mut().get_mut(&conn) {
            *mailbox = Mailbox::Idle;
        }
    }

    /// Releases the replies of a unit.
    pub(super) fn deliver(&self, finished: Finished) {
        if let Some(mailbox) = self.0.mailboxes.borrow_mut().get_mut(&finished.conn)
            && let Mailbox::Running(Some(waker)) = std::mem::replace(mailbox, Mailbox::Finished(finished))
        {
            waker.wake();
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
            if let Mailbox::Running(Some(waker)) = mailbox {
                waker.wake_by_ref();
            }
            matches!(mailbox, Mailbox::Finished(_) | Mailbox::Writing)
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
