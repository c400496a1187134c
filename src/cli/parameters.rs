//! The parameters of CONFIG SET that are flags of the server: by Redis's names where it has them, each with the values that
//! the flag takes. They take the road of SIGHUP.

use std::ffi::OsString;

use super::config::{self, Config};
use super::reload::{Reread, Values, compare};
use super::serve::ServeArgs;
use crate::command::NotSet;
use crate::server::connections_allowed;

/// The parameters and their flags.
const FLAGS: [(&str, &str); 15] = [
    ("ageing", "ageing"),
    ("drain-time", "drain-time"),
    ("heartbeat", "heartbeat"),
    ("lease", "lease"),
    ("list-claim-silence", "list-claim-silence"),
    ("log", "log"),
    ("maxclients", "max-clients"),
    ("max-output", "max-output"),
    ("sweep-interval", "sweep-interval"),
    ("tls-cert-file", "tls-cert"),
    ("tls-auth-clients", "tls-client-auth"),
    ("tls-ca-cert-file", "tls-client-ca"),
    ("tls-client-keys", "tls-client-keys"),
    ("tls-key-file", "tls-key"),
    ("webhook-hosts", "webhook-hosts"),
];

/// The parameters' names.
pub(super) fn names() -> Vec<&'static str> {
    FLAGS.iter().map(|(name, _)| *name).collect()
}

/// What a flag is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// This value.
    Value(String),
    /// As if nobody had chosen it.
    Unset,
    /// A switch.
    Switch(bool),
}

/// The settings that run, with these parameters in them.
///
/// # Errors
/// Which parameter makes no sense, and what was expected.
pub(super) fn with(args: &ServeArgs, values: &Values, pairs: &[(String, String)]) -> Result<Reread, NotSet> {
    let mut wanted = values.clone();
    let mut chosen: Vec<(&String, &'static str, Wanted)> = Vec::new();
    for (name, text) in pairs {
        let not_set = |why: String| NotSet { parameter: name.clone(), why };
        let Some((_, flag)) = FLAGS.iter().find(|(known, _)| known == name) else {
            return Err(not_set("it is none that can be changed while the server runs".to_owned()));
        };
        for (flag, value) in wanted_of(flag, text).map_err(not_set)? {
            if let Some((other, ..)) = chosen.iter().find(|(_, known, other)| *known == flag && *other != value) {
                return Err(not_set(format!("{other} is set to what contradicts it")));
            }
            match &value {
                Wanted::Value(text) => {
                    config::check_flag(flag, text).map_err(not_set)?;
                    wanted.insert(flag.to_owned(), vec![text.into()]);
                }
                Wanted::Unset => drop(wanted.remove(flag)),
                Wanted::Switch(on) => drop(wanted.insert(flag.to_owned(), vec![on.to_string().into()])),
            }
            chosen.push((name, flag, value));
        }
    }
    let words: Vec<OsString> = config::words(&wanted);
    let (cli, read_values) = Config::default().serve_settings(&words).map_err(|error| blame(pairs, &error))?;
    for (name, flag, value) in chosen {
        let is_there = read_values.get(flag).is_some_and(|values| values.iter().any(|value| value != "false"));
        if is_there && matches!(value, Wanted::Unset | Wanted::Switch(false)) {
            let variable = config::variable(flag).unwrap_or_default();
            let why = format!("the server's environment chooses it, by {variable}: it cannot be taken back here");
            return Err(NotSet { parameter: name.clone(), why });
        }
    }
    Ok(compare(args, values, &cli.serve, &read_values))
}

/// Reads a parameter's value: which flags are to be what.
fn wanted_of(flag: &'static str, text: &str) -> Result<Vec<(&'static str, Wanted)>, String> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    let one = |value: Wanted| Ok(vec![(flag, value)]);
    match flag {
        "tls-client-auth" if is("yes") => one(Wanted::Value("required".to_owned())),
        "tls-client-auth" if is("optional") => one(Wanted::Value("optional".to_owned())),
        // Who asks for no certificate has no use for authorities, nor the other way round.
        "tls-client-auth" if is("no") => Ok(vec![("tls-client-ca", Wanted::Unset), (flag, Wanted::Unset)]),
        "tls-client-ca" if text.is_empty() => Ok(vec![(flag, Wanted::Unset), ("tls-client-auth", Wanted::Unset)]),
        "tls-client-auth" => Err("argument must be 'yes', 'optional' or 'no'".to_owned()),
        "tls-client-keys" if is("yes") || is("no") => one(Wanted::Switch(is("yes"))),
        "tls-client-keys" => Err("argument must be 'yes' or 'no'".to_owned()),
        "max-clients" => match text.parse::<usize>() {
            // What makes no number is told by the flag's own parser.
            Ok(asked) if connections_allowed(asked) < asked => Err(format!(
                "the system allows this process open files for {} connections: raise LimitNOFILE or ulimit -n, or ask for \
                 fewer",
                connections_allowed(asked)
            )),
            _ => one(Wanted::Value(text.to_owned())),
        },
        "tls-cert" | "tls-key" if text.is_empty() => one(Wanted::Unset),
        _ => one(Wanted::Value(text.to_owned())),
    }
}

/// True for a parameter of TLS: its files are read again when it is set.
pub(super) fn is_of_tls(name: &str) -> bool {
    name.starts_with("tls-")
}

/// Finds the parameter that an error of all of them together is about, as far as that can be told: such errors are of TLS,
/// whose settings depend on each other.
pub(super) fn blame(pairs: &[(String, String)], error: &anyhow::Error) -> NotSet {
    let names = || pairs.iter().map(|(name, _)| name);
    let parameter = names().find(|name| is_of_tls(name)).or(names().next());
    NotSet { parameter: parameter.cloned().unwrap_or_default(), why: format!("{error:#}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::reload::CHANGEABLE;

    fn running(words: &[&str]) -> (ServeArgs, Values) {
        let words: Vec<OsString> = ["agq"].iter().chain(words).map(OsString::from).collect();
        let (cli, values) = Config::default().serve_settings(&words).unwrap();
        (cli.serve, values)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_setting_that_may_change_is_a_parameter() {
        let flags: BTreeSet<&str> = FLAGS.iter().map(|(_, flag)| *flag).collect();
        assert_eq!(flags, CHANGEABLE.into());
    }

    #[test]
    fn what_is_set_is_what_the_flag_would_have_made_of_it_and_nothing_else_changes() {
        let given = ["--bind", "127.0.0.1:1", "--no-auth", "--webhook-hosts", "a.example,b.example", "--lease", "9"];
        let given = [&given[..], &["--cache-size", "64MiB", "--archive-dir", "x", "--archive-required"]].concat();
        let (args, values) = running(&given);
        let cases = [
            (("ageing", "7"), "--ageing=7"),
            (("drain-time", "7"), "--drain-time=7"),
            (("heartbeat", "7"), "--heartbeat=7"),
            (("list-claim-silence", "7"), "--list-claim-silence=7"),
            (("log", "warn,agq=debug"), "--log=warn,agq=debug"),
            (("maxclients", "7"), "--max-clients=7"),
            (("max-output", "1MiB"), "--max-output=1MiB"),
            (("sweep-interval", "7"), "--sweep-interval=7"),
            (("tls-cert-file", "c.pem"), "--tls-cert=c.pem"),
            (("tls-auth-clients", "YES"), "--tls-client-auth=required"),
            (("tls-ca-cert-file", "a.pem"), "--tls-client-ca=a.pem"),
            (("tls-client-keys", "yes"), "--tls-client-keys"),
            (("tls-key-file", "k.pem"), "--tls-key=k.pem"),
        ];
        for (pair, flag) in cases {
            let found = with(&args, &values, &pairs(&[pair])).unwrap();
            let expected = running(&[&given[..], &[flag]].concat());
            assert_eq!(format!("{:?}", found.args), format!("{:?}", expected.0), "{flag}");
            assert_eq!(found.values, expected.1, "{flag}");
            let back = running(&given);
            let unset = ["tls-cert-file", "tls-ca-cert-file", "tls-key-file"].contains(&pair.0).then_some((pair.0, ""));
            let off = (pair.0 == "tls-client-keys").then_some((pair.0, "no"));
            if let Some(pair) = unset.or(off) {
                let found = with(&found.args, &found.values, &pairs(&[pair])).unwrap();
                assert_eq!((format!("{:?}", found.args), found.values), (format!("{:?}", back.0), back.1), "{flag}");
            }
        }
        let found = with(&args, &values, &pairs(&[("webhook-hosts", "none"), ("lease", "60")])).unwrap();
        assert_eq!(found.changed, ["lease", "webhook-hosts"]);
        assert_eq!(
            (&found.values["lease"], &found.values["webhook-hosts"]),
            (&vec!["60".into()], &vec!["none".into()])
        );
    }

    #[test]
    fn clients_are_asked_for_no_certificate_any_more_by_either_name() {
        let tls = ["--tls-bind", "127.0.0.1:1", "--tls-cert", "c.pem", "--tls-key", "k.pem"];
        let without = running(&tls);
        let (args, values) =
            running(&[&tls[..], &["--tls-client-ca", "a.pem", "--tls-client-auth", "optional"]].concat());
        for off in [&[("tls-ca-cert-file", "")][..], &[("tls-auth-clients", "No")]] {
            let found = with(&args, &values, &pairs(off)).unwrap();
            assert_eq!(
                (format!("{:?}", found.args), &found.values),
                (format!("{:?}", without.0), &without.1),
                "{off:?}"
            );
            assert!(found.args.server_options("/d".into(), None).is_ok(), "{off:?}");
        }
        for both in [
            [("tls-auth-clients", "no"), ("tls-ca-cert-file", "b.pem")],
            [("tls-ca-cert-file", ""), ("tls-auth-clients", "yes")],
        ] {
            let refused = with(&args, &values, &pairs(&both)).unwrap_err();
            assert!(refused.parameter == both[1].0 && refused.why.contains(both[0].0), "{both:?}: {refused:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_with_what_was_expected() {
        let (args, values) = running(&[]);
        for (name, value, expected) in [
            ("maxclients", "0", "expected a whole number of connections from 1"),
            ("maxclients", "x", "expected a whole number of connections from 1"),
            ("maxclients", "4000000000", "raise LimitNOFILE"),
            ("lease", "0", "expected a whole number of seconds from 1 to 43200"),
            ("lease", "x", "expected a whole number of seconds from 1 to 43200"),
            ("tls-auth-clients", "1", "'yes', 'optional' or 'no'"),
            ("tls-client-keys", "1", "'yes' or 'no'"),
            ("log", "debugg", "'debugg' is no level"),
            ("log", "agq=loud", "'loud' is no level"),
            ("webhook-hosts", "a.example,http://b", "expected the name of a host"),
            ("max-output", "much", "much"),
        ] {
            let refused = with(&args, &values, &pairs(&[("ageing", "1"), (name, value)])).unwrap_err();
            assert!(refused.parameter == name && refused.why.contains(expected), "{name} {value}: {refused:?}");
        }
    }
}
