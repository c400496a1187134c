//! Settings of the server that CONFIG SET may change: a command asks, whoever keeps the settings decides, and the command,
//! which waits meanwhile, answers what became of it.
//!
//! The engine knows the settings' names alone. What a good value is, and how one is put into force, is known above it, where
//! they are read at the start and again at SIGHUP.

use std::collections::HashMap;

use agq_resp::Reply;

use crate::access::audit::Entry;
use crate::command::config::Tuned;
use crate::command::{CommandError, Context, Halt, Wait};
use crate::data::Touch;

/// Changes that were asked for, and what became of them.
#[derive(Debug, Default)]
pub struct Settings {
    /// The parameters of CONFIG that may be changed so.
    pub changeable: Vec<&'static str>,
    /// Changes that somebody has to make, oldest first.
    pub asked: Vec<Change>,
    /// Those that are under way, by number: whoever asked may be gone when they end.
    pub begun: HashMap<u64, Begun>,
    outcomes: HashMap<u64, Result<(), NotSet>>,
    last: u64,
}

/// A change of settings, of all of them or of none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number, by which [`crate::engine::Input::Changed`] tells the outcome.
    pub number: u64,
    /// Names of parameters, in lower case, each once, and their values.
    pub pairs: Vec<(String, String)>,
}

/// What follows from a change that is under way.
#[derive(Debug, Default)]
pub struct Begun {
    /// The parameters that the same command sets here, once the change is made.
    pub tuned: Tuned,
    /// What the audit log is to have of it.
    pub entry: Option<Entry>,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSet {
    /// The parameter that it is about, or one of them.
    pub parameter: String,
    /// What is wrong, and what was expected.
    pub why: String,
}

impl Settings {
    /// The outcome of a change: whoever waits for it can have it until [`Settings::forget`].
    pub fn tell(&mut self, number: u64, outcome: Result<(), NotSet>) {
        self.outcomes.insert(number, outcome);
    }

    /// True while an outcome is told.
    #[must_use]
    pub fn is_telling(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// Nobody needs an outcome any more.
    pub fn forget(&mut self, number: u64) {
        self.outcomes.remove(&number);
    }
}

/// Has settings changed, and what is `tuned` with them. The first time the command is to wait; when it is tried again, this
/// is what became of it.
///
/// # Errors
/// Within a transaction, where nothing waits; and why nothing was changed.
pub(super) fn change(
    ctx: &mut Context<'_, '_>,
    pairs: Vec<(String, String)>,
    tuned: Tuned,
) -> Result<Result<(), NotSet>, Halt> {
    let settings = &mut ctx.server.settings;
    if let Some(Touch::Settings(number)) = ctx.woken_by
        && let Some(outcome) = settings.outcomes.get(number)
    {
        return Ok(outcome.clone());
    }
    if ctx.in_transaction {
        let parameter = pairs.into_iter().next().map(|(name, _)| name).unwrap_or_default();
        let why = "it takes files and a moment, for which a transaction does not wait: set it outside MULTI".to_owned();
        return Ok(Err(NotSet { parameter, why }));
    }
    settings.last += 1;
    let number = settings.last;
    settings.begun.insert(number, Begun { tuned, entry: None });
    settings.asked.push(Change { number, pairs });
    Err(Halt::Block(Wait {
        on: vec![Touch::Settings(number)],
        deadline: None,
        timeout_reply: Reply::error("ERR CONFIG SET was told not to wait: CONFIG GET says what holds"),
        drained: false,
        yields: false,
    }))
}

impl NotSet {
    /// The error, in Redis's words.
    #[must_use]
    pub fn error(&self) -> CommandError {
        let NotSet { parameter, why } = self;
        CommandError::new(format!("ERR CONFIG SET failed (possibly related to argument '{parameter}') - {why}"))
    }
}
