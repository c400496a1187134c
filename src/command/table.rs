//! The command table: everything that is known of a command but its function's body.

use std::collections::HashMap;
use std::fmt;
use std::ops::BitOr;
use std::sync::LazyLock;

use agq_resp::Request;

use crate::command::needs::{self, Needs};
use crate::command::{Context, Halt, Outcome, ReadContext, sort};
use crate::data::strings::parse_integer;

/// Properties of a command, as COMMAND INFO lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// No property.
    pub const NONE: Flags = Flags(0);
    /// May change data.
    pub const WRITE: Flags = Flags(1);
    /// Only reads data.
    pub const READONLY: Flags = Flags(1 << 1);
    /// May add data: refused when there is no room.
    pub const DENYOOM: Flags = Flags(1 << 2);
    /// For operators.
    pub const ADMIN: Flags = Flags(1 << 3);
    /// Allowed before AUTH.
    pub const NO_AUTH: Flags = Flags(1 << 4);
    /// May be parked.
    pub const BLOCKING: Flags = Flags(1 << 5);
    /// Constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 6);
    /// Where its keys stand depends on its arguments.
    pub const MOVABLE_KEYS: Flags = Flags(1 << 7);
    /// Not part of Redis.
    pub const AGQ: Flags = Flags(1 << 8);
    /// Runs at once between MULTI and EXEC.
    pub const NOT_QUEUED: Flags = Flags(1 << 9);
    /// Refused between MULTI and EXEC.
    pub const NO_MULTI: Flags = Flags(1 << 10);
    /// About messages.
    pub const PUBSUB: Flags = Flags(1 << 11);
    /// Has subcommands, of which HELP lists the others.
    pub const CONTAINER: Flags = Flags(1 << 12);

    const NAMES: [(Flags, &'static str); 10] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::BLOCKING, "blocking"),
        (Flags::FAST, "fast"),
        (Flags::MOVABLE_KEYS, "movablekeys"),
        (Flags::NO_MULTI, "no_multi"),
    ];

    /// True when all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The words that COMMAND INFO uses.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }

    /// Both sets of properties.
    #[must_use]
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        self.and(other)
    }
}

/// What a command is about; also its ACL category, and its chapter in the generated pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The connection itself.
    Connection,
    /// The server itself.
    Server,
    /// Several commands as one.
    Transactions,
    /// Messages.
    PubSub,
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Strings as bitmaps.
    Bitmap,
    /// Lists.
    List,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Functions.
    Scripting,
    /// Clusters.
    Cluster,
    /// Plans of tasks.
    Plan,
    /// Jobs.
    Job,
    /// Actions: one plan over many inputs.
    Action,
    /// Workers.
    Worker,
    /// Job queues.
    Queue,
    /// Webhooks.
    Webhook,
    /// Schedules: jobs that come again and again.
    Schedule,
}

impl Group {
    /// The group's name in Redis's terms where it has one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Transactions => "transactions",
            Group::PubSub => "pubsub",
            Group::Generic => "generic",
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::List => "list",
            Group::Hash => "hash",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Scripting => "scripting",
            Group::Cluster => "cluster",
            Group::Plan => "plan",
            Group::Job => "job",
            Group::Action => "action",
            Group::Worker => "worker",
            Group::Queue => "queue",
            Group::Webhook => "webhook",
            Group::Schedule => "schedule",
        }
    }

    /// The ACL category of the group, as COMMAND INFO shows it; that of some follows from their flags alone.
    #[must_use]
    pub fn acl_category(self) -> Option<&'static str> {
        Some(match self {
            Group::Transactions => "@transaction",
            Group::PubSub => "@pubsub",
            Group::Generic => "@keyspace",
            Group::Server | Group::Cluster => return None,
            Group::Scripting => "@scripting",
            Group::Connection => "@connection",
            Group::String => "@string",
            Group::Bitmap => "@bitmap",
            Group::List => "@list",
            Group::Hash => "@hash",
            Group::Set => "@set",
            Group::SortedSet => "@sortedset",
            Group::Plan
            | Group::Job
            | Group::Action
            | Group::Worker
            | Group::Queue
            | Group::Webhook
            | Group::Schedule => "@jobs",
        })
    }
}

/// Where a command's keys stand: first and last argument (negative: from the end), and the step; 0 0 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// The first key's place; 0 when there is none.
    pub first: usize,
    /// The last key's place; negative counts from the end.
    pub last: i32,
    /// From one key to the next.
    pub step: usize,
}

/// A command's function.
#[derive(Clone, Copy)]
pub enum Run {
    /// Reads the selected database and nothing else.
    Read(fn(&ReadContext<'_>, &Request) -> Outcome),
    /// May change data, the session or the server.
    Write(fn(&mut Context<'_, '_>, &Request) -> Outcome),
}

/// Tells from counts, before rows are read, whether a reading command would hold up the core.
pub type IsHeavy = fn(&ReadContext<'_>, &Request) -> Result<bool, Halt>;

/// Writes what a reading command needs to be fast, such as an index; runs on the core before it.
pub type Prepare = fn(&mut Context<'_, '_>, &Request) -> Result<(), Halt>;

/// A row of the command table.
#[derive(Clone, Copy)]
pub struct Command {
    /// The name, in capitals.
    pub name: &'static str,
    /// Its place in the table.
    pub number: usize,
    /// Number of arguments with the name; negative: at least so many.
    pub arity: i32,
    /// What it is about.
    pub group: Group,
    /// Its properties.
    pub flags: Flags,
    /// Where its keys stand.
    pub keys: KeySpec,
    /// Where the number of further keys stands, which follow it; 0 when there are none.
    pub counted: usize,
    /// The Redis version that brought it, or AGQ's.
    pub since: &'static str,
    /// The arguments, as the documentation writes them.
    pub usage: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// How it differs from Redis's, if it does.
    pub differs: Option<&'static str>,
    /// Its function.
    pub run: Run,
    /// Whether a reading command is heavy.
    pub heavy: Option<IsHeavy>,
    /// What makes a reading command fast, if that is not there yet.
    pub prepare: Option<Prepare>,
    /// What it needs of an access key; `needs` says it.
    pub needs: Needs,
}

impl Command {
    /// A row; the builders below fill in the rest.
    #[must_use]
    pub const fn new(name: &'static str, arity: i32, group: Group, flags: Flags, run: Run) -> Command {
        Command {
            name,
            number: 0,
            arity,
            group,
            flags,
            keys: KeySpec { first: 0, last: 0, step: 0 },
            counted: 0,
            since: "1.0.0",
            usage: "",
            summary: "",
            differs: None,
            run,
            heavy: None,
            prepare: None,
            needs: Needs::Act,
        }
    }

    /// Where the keys stand.
    #[must_use]
    pub const fn keys(mut self, first: usize, last: i32, step: usize) -> Command {
        self.keys = KeySpec { first, last, step };
        self
    }

    /// Where the number of further keys stands.
    #[must_use]
    pub const fn keys_counted_at(mut self, place: usize) -> Command {
        self.counted = place;
        self.flags = self.flags.and(Flags::MOVABLE_KEYS);
        self
    }

    /// Since when, the arguments, and a sentence on what it does.
    #[must_use]
    pub const fn doc(mut self, since: &'static str, usage: &'static str, summary: &'static str) -> Command {
        self.since = since;
        self.usage = usage;
        self.summary = summary;
        self
    }

    /// How it differs from Redis's on purpose.
    #[must_use]
    pub const fn differs(mut self, how: &'static str) -> Command {
        self.differs = Some(how);
        self
    }

    /// When it is heavy.
    #[must_use]
    pub const fn heavy(mut self, heavy: IsHeavy) -> Command {
        self.heavy = Some(heavy);
        self
    }

    /// What makes it fast.
    #[must_use]
    pub const fn prepare(mut self, prepare: Prepare) -> Command {
        self.prepare = Some(prepare);
        self
    }

    /// True when `arguments` (with the name) are as many as the command takes.
    #[must_use]
    pub fn takes(&self, arguments: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { arguments >= wanted } else { arguments == wanted }
    }

    /// True when a reading command would hold up the core. One that is refused would not: its error is quickly found.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_heavy(&self, ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
        match self.heavy.map_or(Ok(false), |heavy| heavy(ctx, request)) {
            Err(Halt::Fatal(error)) => Err(Halt::Fatal(error)),
            Err(_) => Ok(false),
            asked => asked,
        }
    }

    /// The keys among a request's arguments.
    pub fn key_names<'a>(&self, request: &'a Request) -> impl Iterator<Item = &'a [u8]> {
        let last = match usize::try_from(self.keys.last) {
            Ok(last) => last,
            Err(_) => request.len().saturating_sub(self.keys.last.unsigned_abs() as usize),
        };
        let (first, step) = (self.keys.first, self.keys.step.max(1));
        let end = if first == 0 { 0 } else { (last + 1).min(request.len()) };
        let counted = self.counted_keys(request).unwrap_or(0..0);
        let target = if self.name == "SORT" { sort::target(request) } else { None };
        (first..end).step_by(step).chain(counted).map(|place| request.arg(place)).chain(target)
    }

    /// The places of the keys whose number the request says; `None` when it says no sound one.
    #[must_use]
    pub fn counted_keys(&self, request: &Request) -> Option<std::ops::Range<usize>> {
        if self.counted == 0 {
            return Some(0..0);
        }
        let count = parse_integer(request.get(self.counted)?).and_then(|count| usize::try_from(count).ok())?;
        let first = self.counted + 1;
        (count > 0 && count <= request.len().saturating_sub(first)).then(|| first..first + count)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every command, ordered by group as the files stand.
pub fn all() -> impl Iterator<Item = &'static Command> {
    static TABLE: LazyLock<Vec<Command>> = LazyLock::new(|| {
        let rows = GROUPS.iter().copied().flatten().enumerate();
        // A command that says nothing is for administrators.
        let needs = |command: &Command| needs::of(command.name).unwrap_or(Needs::Act);
        rows.map(|(number, command)| Command { number, needs: needs(command), ..*command }).collect()
    });
    const GROUPS: &[&[Command]] = &[
        super::connection::COMMANDS,
        super::clients::COMMANDS,
        super::server::COMMANDS,
        super::shutdown::COMMANDS,
        super::backups::COMMANDS,
        super::compactions::COMMANDS,
        super::config::COMMANDS,
        super::transactions::COMMANDS,
        super::pubsub::COMMANDS,
        super::info::COMMANDS,
        super::slowlog::COMMANDS,
        super::latency::COMMANDS,
        super::monitor::COMMANDS,
        super::acl::COMMANDS,
        super::access_keys::COMMANDS,
        super::absent::COMMANDS,
        super::debug::COMMANDS,
        super::catalog::COMMANDS,
        super::keys::COMMANDS,
        super::databases::COMMANDS,
        super::object::COMMANDS,
        super::scans::COMMANDS,
        super::dump::COMMANDS,
        super::sort::COMMANDS,
        super::strings::COMMANDS,
        super::bitmaps::COMMANDS,
        super::bitfield::COMMANDS,
        super::lcs::COMMANDS,
        super::zsets::COMMANDS,
        super::zset_ranges::COMMANDS,
        super::zset_algebra::COMMANDS,
        super::random_elements::COMMANDS,
        super::lists::COMMANDS,
        super::mpop::COMMANDS,
        super::hashes::COMMANDS,
        super::sets::COMMANDS,
        super::set_algebra::COMMANDS,
        super::plans::COMMANDS,
        super::jobs::COMMANDS,
        super::control::COMMANDS,
        super::work::COMMANDS,
        super::actions::COMMANDS,
        super::workers::COMMANDS,
        super::queues::COMMANDS,
        super::webhooks::COMMANDS,
        super::schedules::COMMANDS,
    ];
    TABLE.iter()
}

/// The command of a name in any case.
#[must_use]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    static BY_NAME: LazyLock<HashMap<&'static [u8], &'static Command>> =
        LazyLock::new(|| all().map(|command| (command.name.as_bytes(), command)).collect());
    let mut capitals = [0; 32];
    let capitals = capitals.get_mut(..name.len())?;
    capitals.copy_from_slice(name);
    capitals.make_ascii_uppercase();
    BY_NAME.get(&*capitals).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_and_sound() {
        for command in all() {
            assert_eq!(lookup(command.name.to_ascii_lowercase().as_bytes()).unwrap().name, command.name);
            assert_eq!(command.name, command.name.to_ascii_uppercase());
            assert!(command.arity != 0, "{}", command.name);
            assert!(!command.summary.is_empty(), "{} has no summary", command.name);
            assert!(!(command.flags.has(Flags::WRITE) && command.flags.has(Flags::READONLY)), "{}", command.name);
            let reads = matches!(command.run, Run::Read(_));
            assert!(!reads || command.flags.has(Flags::READONLY), "{} reads but is not READONLY", command.name);
            assert!(command.heavy.is_none() || reads, "{} is heavy but cannot run on a snapshot", command.name);
        }
    }

    #[test]
    fn every_command_says_what_it_needs_and_every_key_is_asked_about() {
        for command in all() {
            let needs = needs::of(command.name);
            assert!(needs.is_some(), "{} does not stand in needs.rs: say what it needs of a key", command.name);
            let has_keys = command.keys.first > 0 || command.counted > 0;
            let asks = matches!(command.needs, Needs::Keys(..) | Needs::Set | Needs::Sort | Needs::Look);
            let is_absent = command.name.starts_with("FCALL");
            assert!(!has_keys || asks || is_absent, "{} has keys that nobody asks about", command.name);
            assert!(has_keys || !matches!(command.needs, Needs::Keys(..)), "{} has no keys", command.name);
            let Needs::Keys(first, others) = command.needs else { continue };
            let writes = first.writes() || others.writes();
            assert_eq!(writes, command.flags.has(Flags::WRITE), "{} and its flags disagree", command.name);
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<_> = all().map(|command| command.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
