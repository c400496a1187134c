//! What an access key may do: scopes, each a role and a pattern.

use std::fmt;

use crate::data::glob;

/// The most scopes of a key.
const MAX_SCOPES: usize = 64;
/// The most bytes of a pattern.
const MAX_PATTERN_BYTES: usize = 256;

/// What may be done with what a pattern matches; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Everything. Has no pattern.
    Admin = 1,
    /// Submit jobs to a queue, and cancel, retry and remove its jobs.
    Submit = 2,
    /// Claim jobs of a queue, and report on those that were claimed with the key.
    Work = 3,
    /// See jobs of a queue, with all that they were given and gave.
    Read = 4,
    /// Read and change ordinary keys.
    Keys = 5,
    /// Read ordinary keys.
    ReadKeys = 6,
    /// Change ordinary keys, without reading them.
    WriteKeys = 7,
    /// Publish to channels and subscribe to them.
    Channels = 8,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 8] = [
        Role::Admin,
        Role::Submit,
        Role::Work,
        Role::Read,
        Role::Keys,
        Role::ReadKeys,
        Role::WriteKeys,
        Role::Channels,
    ];

    /// The word that stands for it in KEY.CREATE.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Role::Admin => "ADMIN",
            Role::Submit => "SUBMIT",
            Role::Work => "WORK",
            Role::Read => "READ",
            Role::Keys => "KEYS",
            Role::ReadKeys => "READ-KEYS",
            Role::WriteKeys => "WRITE-KEYS",
            Role::Channels => "CHANNELS",
        }
    }

    /// The role of a word in any case.
    #[must_use]
    pub fn of(word: &[u8]) -> Option<Role> {
        Role::ALL.into_iter().find(|role| word.eq_ignore_ascii_case(role.word().as_bytes()))
    }

    pub(super) fn from_number(number: u8) -> Option<Role> {
        Role::ALL.into_iter().find(|role| *role as u8 == number)
    }
}

/// How a command uses an ordinary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Tells something of it.
    Read,
    /// Changes it, and tells nothing of what it held.
    Write,
    /// Both.
    Both,
}

impl Access {
    /// True when it tells something.
    #[must_use]
    pub fn reads(self) -> bool {
        self != Access::Write
    }

    /// True when it changes something.
    #[must_use]
    pub fn writes(self) -> bool {
        self != Access::Read
    }

    /// The role that is needed for it, and for no more.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Access::Read => Role::ReadKeys,
            Access::Write => Role::WriteKeys,
            Access::Both => Role::Keys,
        }
    }
}

/// A role over what a glob pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// What may be done,
    pub role: Role,
    /// with which queues, keys or channels; empty for [`Role::Admin`].
    pub pattern: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Role::Admin => f.write_str(self.role.word()),
            role => write!(f, "{} {}", role.word(), self.pattern),
        }
    }
}

/// All that a key may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Adds one that was not there yet.
    ///
    /// # Errors
    /// Says what is wrong with it: a pattern that is empty, too long or no printable text, or too many scopes.
    pub fn add(&mut self, role: Role, pattern: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(pattern).ok().filter(|text| !text.chars().any(char::is_control));
        let text = text.filter(|text| text.len() <= MAX_PATTERN_BYTES && (role == Role::Admin || !text.is_empty()));
        let Some(text) = text else {
            let word = role.word();
            return Err(format!("the pattern of {word} must be 1 to {MAX_PATTERN_BYTES} bytes of printable text"));
        };
        let scope = Scope { role, pattern: text.to_owned() };
        if self.0.contains(&scope) {
            return Ok(());
        }
        if self.0.len() == MAX_SCOPES {
            return Err(format!("a key has {MAX_SCOPES} scopes at most: use patterns that match more"));
        }
        self.0.push(scope);
        Ok(())
    }

    /// The scopes, as they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// True when there is none: such a key may do nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when everything may be done.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.0.iter().any(|scope| scope.role == Role::Admin)
    }

    /// True when a role holds for a name. Queues, that is: see [`Scopes::may_use`] for keys.
    #[must_use]
    pub fn has(&self, role: Role, name: &[u8]) -> bool {
        self.0.iter().any(|scope| match scope.role {
            Role::Admin => true,
            own => own == role && glob::matches(scope.pattern.as_bytes(), name),
        })
    }

    /// True when a role holds for every name.
    #[must_use]
    pub fn has_all(&self, role: Role) -> bool {
        self.0.iter().any(|scope| scope.role == Role::Admin || scope.role == role && is_everything(&scope.pattern))
    }

    /// True when a role holds for some name.
    #[must_use]
    pub fn has_any(&self, role: Role) -> bool {
        self.0.iter().any(|scope| scope.role == Role::Admin || scope.role == role)
    }

    /// True when an ordinary key may be used so.
    #[must_use]
    pub fn may_use(&self, access: Access, key: &[u8]) -> bool {
        let has = |role| self.has(Role::Keys, key) || self.has(role, key);
        (!access.reads() || has(Role::ReadKeys)) && (!access.writes() || has(Role::WriteKeys))
    }

    /// True when every ordinary key may be read.
    #[must_use]
    pub fn reads_all_keys(&self) -> bool {
        self.has_all(Role::Keys) || self.has_all(Role::ReadKeys)
    }

    /// True when somebody may subscribe to a pattern of channels: only where a scope has that very pattern, or all.
    #[must_use]
    pub fn may_follow(&self, pattern: &[u8]) -> bool {
        let fits = |scope: &Scope| is_everything(&scope.pattern) || scope.pattern.as_bytes() == pattern;
        self.0.iter().any(|scope| scope.role == Role::Admin || scope.role == Role::Channels && fits(scope))
    }
}

/// True for patterns that are nothing but stars.
fn is_everything(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*')
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{scope}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(given: &[(Role, &str)]) -> Scopes {
        let mut scopes = Scopes::default();
        given.iter().for_each(|(role, pattern)| scopes.add(*role, pattern.as_bytes()).unwrap());
        scopes
    }

    #[test]
    fn a_role_holds_for_what_its_pattern_matches() {
        let scopes = scopes(&[(Role::Submit, "build-*"), (Role::Read, "*")]);
        assert!(scopes.has(Role::Submit, b"build-x") && !scopes.has(Role::Submit, b"test"));
        assert!(scopes.has_all(Role::Read) && !scopes.has_all(Role::Submit));
        assert!(scopes.has_any(Role::Submit) && !scopes.has_any(Role::Work) && !scopes.is_admin());
        assert_eq!(scopes.to_string(), "SUBMIT build-*, READ *");
    }

    #[test]
    fn who_reads_does_not_write() {
        let scopes = scopes(&[(Role::ReadKeys, "r*"), (Role::WriteKeys, "*w"), (Role::Keys, "k")]);
        let may = |access, key: &str| scopes.may_use(access, key.as_bytes());
        assert!(may(Access::Read, "r") && !may(Access::Write, "r") && !may(Access::Both, "r"));
        assert!(!may(Access::Read, "w") && may(Access::Write, "w"));
        assert!(may(Access::Both, "rw"), "one scope reads, the other writes");
        assert!(may(Access::Both, "k") && !scopes.reads_all_keys());
    }

    #[test]
    fn a_pattern_of_channels_is_followed_only_as_it_was_given() {
        let scopes = scopes(&[(Role::Channels, "news.*")]);
        assert!(scopes.may_follow(b"news.*") && !scopes.may_follow(b"news.a*") && !scopes.may_follow(b"*"));
    }

    #[test]
    fn patterns_are_printable_and_not_too_many() {
        let mut scopes = Scopes::default();
        for pattern in [&b""[..], b"a\n", b"\xff", &[b'x'; MAX_PATTERN_BYTES + 1]] {
            assert!(scopes.add(Role::Read, pattern).is_err(), "{pattern:?}");
        }
        (0..MAX_SCOPES).for_each(|n| scopes.add(Role::Read, format!("q{n}").as_bytes()).unwrap());
        assert!(scopes.add(Role::Read, b"more").unwrap_err().contains("64"));
        scopes.add(Role::Read, b"q1").unwrap();
    }
}
