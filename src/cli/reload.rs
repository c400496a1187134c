//! The server's settings, read again while it runs: which may change, and which wait for a restart.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::serve::ServeArgs;

/// Settings that may change while the server runs; every other waits for a restart.
pub(super) const CHANGEABLE: [&str; 15] = [
    "ageing",
    "drain-time",
    "heartbeat",
    "lease",
    "list-claim-silence",
    "log",
    "max-clients",
    "max-output",
    "sweep-interval",
    "tls-cert",
    "tls-client-auth",
    "tls-client-ca",
    "tls-client-keys",
    "tls-key",
    "webhook-hosts",
];

/// The settings by their names, as they were written.
pub(super) type Values = BTreeMap<String, Vec<OsString>>;

/// What a reading found.
#[derive(Debug)]
pub(super) struct Reread {
    /// The settings that hold from now on.
    pub(super) args: ServeArgs,
    /// The same by their names.
    pub(super) values: Values,
    /// What changed.
    pub(super) changed: Vec<String>,
    /// What was changed in the file and waits for a restart.
    pub(super) waiting: Vec<String>,
}

/// Compares what is read now with what runs.
pub(super) fn compare(running: &ServeArgs, running_values: &Values, read: &ServeArgs, read_values: &Values) -> Reread {
    let names = running_values.keys().chain(read_values.keys().filter(|name| !running_values.contains_key(*name)));
    let differs = |name: &&String| running_values.get(*name) != read_values.get(*name);
    let (changed, waiting): (Vec<String>, Vec<String>) =
        names.filter(differs).cloned().partition(|name| CHANGEABLE.contains(&name.as_str()));
    let mut values = running_values.clone();
    for name in &changed {
        match read_values.get(name) {
            Some(value) => drop(values.insert(name.clone(), value.clone())),
            None => drop(values.remove(name)),
        }
    }
    Reread { args: running.with_changeable(read), values, changed, waiting }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::Config;

    fn read(words: &[&str]) -> (ServeArgs, Values) {
        let words = ["agq", "--bind", "127.0.0.1:1"].iter().chain(words).map(OsString::from).collect::<Vec<_>>();
        let (cli, values) = Config::default().serve_settings(&words).unwrap();
        (cli.serve, values)
    }

    #[test]
    fn what_may_change_changes_and_what_may_not_waits() {
        let (running, running_values) = read(&["--lease", "30"]);
        let (changed, changed_values) = read(&["--lease", "60", "--cache-size", "1GiB", "--log", "debug"]);
        let found = compare(&running, &running_values, &changed, &changed_values);
        assert_eq!((found.changed, found.waiting), (vec!["lease".into(), "log".into()], vec!["cache-size".into()]));
        assert_eq!(
            (found.values["lease"].clone(), found.values.get("cache-size")),
            (vec!["60".into()], running_values.get("cache-size"))
        );
        let again = compare(&found.args, &found.values, &changed, &changed_values);
        assert_eq!((again.changed, again.waiting), (vec![], vec!["cache-size".to_owned()]));
    }

    #[test]
    fn each_changeable_setting_is_taken_over() {
        let values = [
            "ageing=1",
            "drain-time=1",
            "heartbeat=1",
            "lease=9",
            "list-claim-silence=1",
            "log=debug",
            "max-clients=1",
            "max-output=1",
            "sweep-interval=1",
            "tls-cert=a",
            "tls-client-auth=optional",
            "tls-client-ca=a",
            "tls-client-keys",
            "tls-key=a",
            "webhook-hosts=none",
        ];
        let names = values.map(|flag| flag.split('=').next().unwrap());
        assert_eq!(names, CHANGEABLE);
        let (running, running_values) = read(&[]);
        for flag in values {
            let (read, read_values) = read(&[&format!("--{flag}")]);
            let found = compare(&running, &running_values, &read, &read_values);
            assert_eq!(format!("{:?}", found.args), format!("{read:?}"), "{flag}");
            assert_eq!(found.values, read_values, "{flag}");
        }
    }
}
