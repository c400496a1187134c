//! What holds for connections, and who they are.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::clock::Millis;
use crate::engine::ConnId;
use crate::server::descriptors::Descriptors;
use crate::server::limits::ClientLimits;
use crate::server::throttle::{Source, Throttle};

/// What holds for every connection of a kind.
pub(super) struct Rules {
    /// How much each may take.
    pub(super) limits: ClientLimits,
    /// Connections open at a time, which may change while the server runs.
    pub(super) max_clients: Cell<usize>,
    /// When the certificate that clients are greeted with ends.
    pub(super) certificate_ends: Cell<Option<Millis>>,
    /// How many files are open.
    pub(super) descriptors: Descriptors,
    /// Wrong keys.
    pub(super) throttle: RefCell<Throttle>,
    /// Clients must give the key first.
    pub(super) asks_key: bool,
}

impl Rules {
    /// The rules of clients.
    pub(super) fn new(limits: ClientLimits, asks_key: bool) -> Rules {
        let throttle = RefCell::new(Throttle::new(limits.auth_delay));
        let max_clients = Cell::new(limits.max_clients);
        Rules {
            limits,
            max_clients,
            certificate_ends: Cell::default(),
            descriptors: Descriptors::new(),
            throttle,
            asks_key,
        }
    }
}

/// Who connected.
pub(super) struct Peer {
    /// The number that the engine knows it by.
    pub(super) conn: ConnId,
    /// Where it comes from.
    pub(super) source: Source,
    /// Its certificate may let it in without a key: the engine knows.
    pub(super) is_vouched_for: bool,
    /// What holds for it.
    pub(super) rules: Rc<Rules>,
}
