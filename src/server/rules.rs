//! What holds for connections, and who they are.

use std::cell::RefCell;
use std::rc::Rc;

use crate::engine::ConnId;
use crate::server::limits::ClientLimits;
use crate::server::throttle::{Source, Throttle};

/// What holds for every connection of a kind.
pub(super) struct Rules {
    /// How much each may take.
    pub(super) limits: ClientLimits,
    /// Wrong keys.
    pub(super) throttle: RefCell<Throttle>,
    /// Clients must give the key first.
    pub(super) asks_key: bool,
}

impl Rules {
    /// The rules of clients.
    pub(super) fn new(limits: ClientLimits, asks_key: bool) -> Rules {
        let throttle = RefCell::new(Throttle::new(limits.auth_delay));
        Rules { limits, throttle, asks_key }
    }
}

/// Who connected.
pub(super) struct Peer {
    /// The number that the engine knows it by.
    pub(super) conn: ConnId,
    /// Where it comes from.
    pub(super) source: Source,
    /// What holds for it.
    pub(super) rules: Rc<Rules>,
}
