//! A server under a service manager: what it is told, settings that are read again, and the log.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::program::{Running, agq, json, stdout};
use crate::support::server::Server;
use crate::support::wire::Wire;

/// Stands for the service manager.
pub(crate) struct Manager(UnixDatagram);

impl Manager {
    pub(crate) fn new(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Manager(socket)
    }

    /// The next thing that is told and begins so.
    pub(crate) fn wait_for(&self, beginning: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let count = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("never told {beginning}: {error}"));
            let text = String::from_utf8_lossy(&bytes[..count]);
            if text.starts_with(beginning) {
                return text.into_owned();
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_how_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let manager = Manager::new(&path);
    let mut command = agq(dir.path(), &["serve", "--bind", "127.0.0.1:0", "--no-auth"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut running = Running::spawn(command);
    assert!(manager.wait_for("EXTEND_TIMEOUT_USEC=").contains("STATUS=opening the store"));
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=serving on 127.0.0.1:"), "{ready}");
    running.wait_for("ready");
    // Nobody asks for anything, and the core loop is still heard of.
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");
    running.signal(Signal::HUP);
    let reloading = manager.wait_for("RELOADING=1");
    assert!(
        reloading.lines().any(|line| line.strip_prefix("MONOTONIC_USEC=").is_some_and(|at| at.parse::<u64>().is_ok()))
    );
    manager.wait_for("READY=1");
    running.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert!(running.end().0.success());
}

#[test]
fn settings_are_read_again_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let (file, socket) = (dir.path().join("agq.toml"), dir.path().join("s"));
    std::fs::write(&file, "[serve]\nlease = 30\nmax-clients = 2\n").unwrap();
    let shown = socket.display().to_string();
    let mut running =
        Running::start(dir.path(), &["serve", "--bind", "", "--socket", &shown, "--no-auth", "--ageing", "7"]);
    running.wait_for("ready");
    let mut wire = Wire::connect(&socket).unwrap();
    let mut get = |name: &str| wire.call(&format!("CONFIG GET {name}")).unwrap().to_string();
    assert!(get("lease").contains("30"));
    std::fs::write(&file, "[serve]\nlease = 60\nageing = 9\ncache-size = '64MiB'\nmax-clients = 1\n").unwrap();
    running.signal(Signal::HUP);
    let line = running.wait_for("needs a restart");
    assert!(line.contains("cache-size"), "{line}");
    let line = running.wait_for("were read again");
    assert!(line.contains("lease") && line.contains("max-clients") && !line.contains("ageing"), "{line}");
    assert!(get("lease").contains("60") && get("ageing").contains('7'), "what a flag says stays");
    assert!(get("cache-size").contains("268435456"));
    let mut other = Wire::connect(&socket).unwrap();
    assert!(other.read().unwrap().to_string().contains("max number of clients"));
    // A bad value among good ones.
    std::fs::write(&file, "[serve]\nlease = 90\nheartbeat = 'soon'\n").unwrap();
    running.signal(Signal::HUP);
    let line = running.wait_for("nothing was changed");
    assert!(line.contains("agq.toml:3") && line.contains("heartbeat"), "{line}");
    assert!(get("lease").contains("60"));
    // CONFIG SET changes what a flag chose, too, until the settings are read again.
    drop(other);
    assert_eq!(wire.call("CONFIG SET maxclients 2").unwrap().to_string(), "+OK");
    assert_eq!(wire.call("CONFIG SET ageing 11 lease 61 log info").unwrap().to_string(), "+OK");
    let line = running.wait_for("the settings were changed");
    assert!(line.contains("max-clients"), "{line}");
    let line = running.wait_for("the settings were changed");
    assert!(line.contains("ageing") && line.contains("lease"), "{line}");
    std::fs::write(&file, "[serve]\nlease = 60\n").unwrap();
    running.signal(Signal::HUP);
    running.wait_for("were read again");
    let mut get = |name: &str| wire.call(&format!("CONFIG GET {name}")).unwrap().to_string();
    assert!(get("lease").contains("60") && get("ageing").contains('7') && get("maxclients").contains("10000"));
    running.signal(Signal::TERM);
    assert!(running.end().0.success());
}

#[test]
fn the_log_is_json_where_it_is_asked_for_and_its_level_changes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("agq.toml"), "[serve]\nlog-format = 'json'\nlog = 'info'\n").unwrap();
    let mut command = agq(dir.path(), &["serve", "--bind", "127.0.0.1:0", "--no-auth"]);
    command.env_remove("AGQ_LOG");
    let mut running = Running::spawn(command);
    let line: serde_json::Value = serde_json::from_str(&running.wait_for("ready")).unwrap();
    assert_eq!((&line["level"], &line["target"]), (&"INFO".into(), &"agq::cli::serve".into()));
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    let address = line["addresses"].as_str().unwrap().to_owned();
    std::fs::write(dir.path().join("agq.toml"), "[serve]\nlog-format = 'json'\nlog = 'agq=debug'\n").unwrap();
    running.signal(Signal::HUP);
    running.wait_for("were read again");
    stdout(dir.path(), &["ping", "--server", &address]);
    running.signal(Signal::TERM);
    // Waits for what is logged at the new level.
    running.wait_for("DEBUG");
    assert!(running.end().0.success());
}

#[test]
fn a_panic_in_one_command_answers_that_command_and_no_other() {
    let server = Server::agq(&[]);
    let (mut wire, mut other) = (server.connect(), server.connect());
    let words = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    other.send(&[words("BLPOP list 0")]).unwrap();
    let unit = ["SET a 1", "DEBUG PANIC", "INCR a", "MULTI", "INCR a", "DEBUG PANIC", "INCR a", "EXEC"];
    wire.send(&unit.map(words)).unwrap();
    let replies: Vec<String> = unit.iter().map(|_| wire.read().unwrap().to_string()).collect();
    assert!(replies[1].contains("nothing was changed, please report it"), "{replies:?}");
    assert_eq!(replies[2], ":2");
    assert!(
        replies[7].contains(":3") && replies[7].contains("internal error") && replies[7].contains(":4"),
        "{replies:?}"
    );
    assert_eq!(wire.call("EXISTS half-done").unwrap().to_string(), ":0");
    wire.call("RPUSH list x").unwrap();
    assert!(other.read().unwrap().to_string().contains('x'));
    assert!(server.log().contains("DEBUG PANIC was asked for"), "{}", server.log());
    assert!(server.stop());
}

#[test]
fn an_operator_is_warned_once_and_told_when_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("no-folder"), "").unwrap();
    let (socket, backups) = (dir.path().join("s"), dir.path().join("no-folder").display().to_string());
    let shown = socket.display().to_string();
    let args =
        ["serve", "--bind", "", "--socket", &shown, "--no-auth", "--max-clients", "10", "--backup-dir", &backups];
    let mut running = Running::start(dir.path(), &args);
    running.wait_for("ready");
    let mut wire = Wire::connect(&socket).unwrap();
    let info = |wire: &mut Wire| wire.call("INFO warnings").unwrap().to_string();
    assert!(info(&mut wire).contains(r"# Warnings\r\nwarnings:0"), "{}", info(&mut wire));
    let mut others: Vec<Wire> = (0..8).map(|_| Wire::connect(&socket).unwrap()).collect();
    others.iter_mut().for_each(|other| drop(other.call("PING").unwrap()));
    let found = info(&mut wire);
    assert!(found.contains("warnings:1") && found.contains("warning_clients:since="), "{found}");
    assert!(found.contains("text=9 of the 10 clients that --max-clients allows"), "{found}");
    let line = running.wait_for("9 of the 10");
    assert!(line.contains("WARN") && line.contains("warning=\"clients\""), "{line}");
    others.truncate(1);
    while !info(&mut wire).contains("warnings:0") {
        std::thread::yield_now();
    }
    let line = running.wait_for("over: ");
    assert!(line.contains("INFO"), "{line}");
    wire.call("BGSAVE").unwrap();
    while !info(&mut wire).contains("warning_backup_failed") {
        std::thread::yield_now();
    }
    let (sample, _) = json(dir.path(), &["top", "--json"]);
    let warning = &sample["warnings"][0];
    assert_eq!((&warning["warning"], &sample["draining"]), (&"backup_failed".into(), &false.into()));
    assert!(warning["text"].as_str().unwrap().contains("no-folder"), "{warning}");
    assert!(stdout(dir.path(), &["top", "--once"]).contains("warning  backup_failed: the last backup failed"));
    running.signal(Signal::TERM);
    assert!(running.end().0.success());
}

#[test]
fn the_unit_is_one_that_systemd_knows() {
    let dir = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/dist/agq.service")).unwrap();
    let started = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let (program, words) = started.split_once(' ').unwrap();
    // Its words are those of this program: it gets as far as the file that is named and is not there.
    let words: Vec<&str> = words.split(' ').collect();
    let ended = agq(dir.path(), &words).env_remove("AGQ_DATA_DIR").output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(2) && told.contains("/etc/agq/agq.toml"), "{ended:?}");
    let path = dir.path().join("agq.service");
    std::fs::write(&path, unit.replace(program, env!("CARGO_BIN_EXE_agq"))).unwrap();
    match std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            let ours: Vec<&str> = told.lines().filter(|line| line.contains("agq.service")).collect();
            assert!(output.status.success() && ours.is_empty(), "{told}");
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => eprintln!("there is no systemd-analyze"),
        Err(error) => panic!("{error}"),
    }
}
