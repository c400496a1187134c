//! `agq.toml`: where settings come from, which of them counts, and what is refused.

use std::path::Path;

use serde_json::Value;

use crate::support::program::{agq, output, stdout};

fn write(dir: &Path, text: &str) {
    std::fs::write(dir.join("agq.toml"), text).unwrap();
}

/// A setting's value and where it comes from, by what `agq config` says.
fn setting(shown: &Value, table: &str, name: &str) -> (String, String) {
    let settings = shown["settings"].as_array().unwrap();
    let found = settings.iter().find(|setting| setting["table"] == table && setting["name"] == name);
    let found = found.unwrap_or_else(|| panic!("[{table}] {name} is not shown: {shown}"));
    (found["value"].as_str().unwrap_or("-").to_owned(), found["from"].as_str().unwrap().to_owned())
}

#[test]
fn a_flag_wins_over_a_variable_that_over_the_file_and_that_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "[serve]\nlease = 40\nheartbeat = 7\nageing = 9\nbind = ['127.0.0.1:1', '[::1]:1']\n");
    let mut command = agq(dir.path(), &["config", "--json", "serve", "--ageing", "1"]);
    let shown = command.env("AGQ_HEARTBEAT", "5").output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let of = |name| setting(&shown, "serve", name);
    assert_eq!(of("ageing"), ("1".to_owned(), "flag".to_owned()));
    assert_eq!(of("heartbeat"), ("5".to_owned(), "environment".to_owned()));
    assert_eq!(of("lease"), ("40".to_owned(), "file".to_owned()));
    assert_eq!(of("bind"), ("127.0.0.1:1,[::1]:1".to_owned(), "file".to_owned()));
    assert_eq!(of("max-clients"), ("10000".to_owned(), "default".to_owned()));
    assert!(shown["file"].as_str().unwrap().ends_with("agq.toml"));
}

#[test]
fn secrets_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "[serve]\nsession-key = 'sesame'\n[client]\nkey = 'sesame'\n");
    let shown = stdout(dir.path(), &["config"]);
    assert!(shown.contains("(hidden)") && !shown.contains("sesame"), "{shown}");
    assert!(shown.contains("agq.toml:2") && shown.contains("agq.toml:4"), "{shown}");
}

#[test]
fn what_is_wrong_is_named_with_its_file_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("[serve]\n\nleese = 1\n", "agq.toml:3: [serve] leese: no such setting here; there are accept-clock, ageing"),
        ("[server]\nlease = 1\n", "agq.toml:2: [server] lease: there is no table of this name; there are [client]"),
        ("[serve]\nlease = 0\n", "agq.toml:2: [serve] lease: '0': expected a whole number of seconds from 1 to 43200"),
        ("[serve]\ncache-size = '1x'\n", "agq.toml:2: [serve] cache-size: '1x': expected a whole number of bytes"),
        ("[serve]\nno-auth = 'yes'\n", "agq.toml:2: [serve] no-auth: expected true or false"),
        ("[serve]\nlease = [1, 2]\n", "agq.toml:2: [serve] lease: expected one value, not a list"),
        ("[serve]\nlease = 1.5\n", "agq.toml:2: [serve] lease is a float: expected"),
        ("[worker]\ntools = ['a,b']\n", "agq.toml:2: [worker] tools: 'a,b' holds a ','"),
        ("[serve]\nno-auth = true\nsession-key = 'x'\n", "keep one"),
        ("data-dir = '/x'\n", "agq.toml:1: data-dir: the file was found by the data directory"),
        ("lease = 1\n[serve", "agq.toml:2: "),
    ] {
        write(dir.path(), text);
        let refused = output(dir.path(), &["serve", "--bind", ""]);
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_server_and_its_clients_are_set_up_by_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let socket = dir.path().join("s.sock");
    let file = dir.path().join("own.toml");
    let text = format!(
        "data-dir = '{}'\n[serve]\nbind = ''\nsocket = '{}'\nsession-key = 'sesame'\n[client]\nkey = 'sesame'\n",
        data.display(),
        socket.display()
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let command = |args: &[&str]| {
        let mut command = agq(dir.path(), args);
        command.env_remove("AGQ_DATA_DIR").env("HOME", dir.path());
        command
    };
    let mut server = command(&["serve", "--config", file]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut errors = std::io::BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut errors, &mut line).unwrap() > 0, "the server ended");
    }
    let asked = command(&["ping", "--config", file]).output().unwrap();
    assert!(String::from_utf8_lossy(&asked.stdout).contains("s.sock answers"), "{asked:?}");
    let asked = command(&["ping"]).env("AGQ_CONFIG", file).output().unwrap();
    assert!(asked.status.success(), "{asked:?}");
    assert!(data.join("data.redb").exists());
    server.kill().unwrap();
    server.wait().unwrap();
    let missing = command(&["ping", "--config", "/none.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no file /none.toml"), "{missing:?}");
}

#[test]
fn a_run_with_a_server_of_its_own_uses_the_servers_settings() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "[serve]\nsession-key = 'sesame'\n[run]\nconcurrency = 1\n");
    let plan = dir.path().join("plan.json");
    std::fs::write(&plan, r#"{"tasks":[{"task_number":1,"command":"echo","args":["done"]}]}"#).unwrap();
    assert_eq!(stdout(dir.path(), &["run", plan.to_str().unwrap()]), "done\n");
}
