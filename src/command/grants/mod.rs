//! Whether an access key has what a command needs: the rules behind the gate.
//!
//! Nothing here is asked for who may do everything. A job that is not there is passed on: the command's own error says
//! so. What cannot be told from the words of a command (whose job it is, what queue holds a unique key) is read from the
//! rows that the command itself will see, in the same batch, just before it runs.

mod jobs;
mod names;

use std::borrow::Cow;

use agq_resp::Request;

use crate::access::{Access, AccessKey, Role};
use crate::command::needs::Needs;
use crate::command::{Command, CommandError, Flags, Halt, Session, args};
use crate::data::View;
use crate::jobs::error::shown;
use crate::jobs::{Error, Id, Job, JobsView, Result as JobsResult};

/// The longest list of scopes that an error repeats.
const SHOWN_CHARS: usize = 300;

/// Whether the command may run.
pub(super) type Verdict = Result<(), Halt>;

/// A command of somebody with a key.
pub(crate) struct Asked<'a> {
    /// The key.
    pub(crate) key: &'a AccessKey,
    /// The selected database as it is before the command.
    pub(crate) view: View<'a>,
    /// The connection.
    pub(crate) session: &'a Session,
    /// The command.
    pub(crate) command: &'static Command,
    /// Its words.
    pub(crate) request: &'a Request,
}

impl Asked<'_> {
    /// Checks that the key has what the command needs.
    ///
    /// # Errors
    /// `NOPERM`, or when the store fails.
    pub(crate) fn check(&self) -> Verdict {
        if !self.key.is_live(self.view.now) && !self.command.flags.has(Flags::NO_AUTH) {
            let name = &self.key.name;
            let text = format!("NOPERM the key '{name}' has expired: connect with another");
            return Err(CommandError::new(text).into());
        }
        if self.key.scopes.is_admin() {
            return Ok(());
        }
        match self.command.needs {
            Needs::Nothing => Ok(()),
            Needs::Look | Needs::Act => Err(self.denied("", "ADMIN")),
            Needs::Words { free, .. } => {
                let word = self.request.get(1).unwrap_or_default();
                let is_free = free.iter().any(|name| args::is(word, name));
                if is_free { Ok(()) } else { Err(self.denied_as(Some(word), "", "ADMIN")) }
            }
            Needs::Keys(first, others) => self.keys(first, others),
            Needs::Set => {
                let gets = self.request.iter().skip(3).any(|word| args::is(word, "GET"));
                let access = if gets { Access::Both } else { Access::Write };
                self.keys(access, access)
            }
            Needs::Sort => self.sort(),
            Needs::AllKeys => self.all_keys(),
            Needs::Channels { several } => {
                let most = if several { usize::MAX } else { 1 };
                let mut channels = self.request.iter().skip(1).take(most);
                let refused = channels.find(|channel| !self.key.scopes.has(Role::Channels, channel));
                refused.map_or(Ok(()), |channel| Err(self.denied_on("the channel", channel, Role::Channels)))
            }
            Needs::ChannelPatterns => {
                let refused = self.request.iter().skip(1).find(|pattern| !self.key.scopes.may_follow(pattern));
                refused.map_or(Ok(()), |pattern| Err(self.denied_on("the pattern", pattern, Role::Channels)))
            }
            _ => self.check_jobs(),
        }
    }

    fn jobs(&self) -> JobsView<'_> {
        JobsView { rows: self.view.rows, now: self.view.now }
    }

    fn sort(&self) -> Verdict {
        self.keys(Access::Read, Access::Write)?;
        let words = || self.request.iter().skip(2);
        let looks_up = words()
            .zip(words().skip(1))
            .any(|(word, pattern)| (args::is(word, "BY") || args::is(word, "GET")) && pattern.contains(&b'*'));
        if looks_up { self.all_keys() } else { Ok(()) }
    }

    fn all_keys(&self) -> Verdict {
        if self.key.scopes.reads_all_keys() { Ok(()) } else { Err(self.denied(" on all keys", "READ-KEYS *")) }
    }

    /// The refusal: what was asked, what that needs and what the key has.
    pub(super) fn denied(&self, on: &str, needed: &str) -> Halt {
        self.denied_as(None, on, needed)
    }

    /// The same for a subcommand.
    fn denied_as(&self, subcommand: Option<&[u8]>, on: &str, needed: &str) -> Halt {
        let (key, scopes) = (&self.key.name, self.key.scopes.to_string());
        let scopes = match scopes.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => Cow::Owned(format!("{}…", &scopes[..end])),
            None => Cow::Borrowed(&scopes),
        };
        let mut command = self.command.name.to_ascii_lowercase();
        if let Some(word) = subcommand {
            command.push('|');
            command.push_str(&shown(word).to_ascii_lowercase());
        }
        CommandError::new(format!(
            "NOPERM the key '{key}' has no permissions to run the '{command}' command{on}: it needs {needed}, and has {scopes}"
        ))
        .into()
    }

    /// The refusal to use a thing, which the client named itself.
    pub(super) fn denied_on(&self, what: &str, name: &[u8], role: Role) -> Halt {
        let name = shown(name);
        self.denied(&format!(" on {what} '{name}'"), &format!("{} {name}", role.word()))
    }

    /// Requires a role on a queue that the client named.
    pub(super) fn queue(&self, role: Role, queue: &[u8]) -> Verdict {
        if self.key.scopes.has(role, queue) { Ok(()) } else { Err(self.denied_on("the queue", queue, role)) }
    }

    /// Requires one of these roles on some queue.
    pub(super) fn some(&self, roles: &[Role]) -> Verdict {
        if roles.iter().any(|role| self.key.scopes.has_any(*role)) {
            return Ok(());
        }
        let words: Vec<_> = roles.iter().map(|role| role.word()).collect();
        Err(self.denied("", &format!("{} on some queue", words.join(" or "))))
    }

    /// Requires a role on every queue.
    pub(super) fn every(&self, role: Role) -> Verdict {
        if self.key.scopes.has_all(role) {
            return Ok(());
        }
        Err(self.denied(" on all queues", &format!("{} *", role.word())))
    }
}

/// What was found; `None` where the command itself will say that there is nothing, or what is wrong.
fn found<T>(result: JobsResult<T>) -> Result<Option<T>, Halt> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::Refused(_) | Error::NotFound { .. } | Error::Stale { .. }) => Ok(None),
        Err(error) => match Halt::from(error) {
            Halt::Fatal(error) => Err(Halt::Fatal(error)),
            _ => Ok(None),
        },
    }
}

/// True when jobs of a queue are shown to a key, if there is one.
pub(super) fn shows(key: Option<&AccessKey>, roles: &[Role], queue: &Id) -> bool {
    key.is_none_or(|key| roles.iter().any(|role| key.scopes.has(*role, queue.as_bytes())))
}

/// True for a job that was claimed with a key which still has WORK on its queue, whatever its worker is called. Of who may
/// do everything every job is.
pub(super) fn owns(key: Option<&AccessKey>, job: &Job) -> bool {
    key.is_none_or(|key| {
        let has_claimed = || job.claimed_with.as_ref() == Some(&key.name);
        key.scopes.is_admin() || has_claimed() && key.scopes.has(Role::Work, job.queue.as_bytes())
    })
}
