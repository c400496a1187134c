use super::*;
use crate::command::backups::Ended;
use crate::storage::files::Disk;
use crate::storage::sim_disk::SimDisk;
use crate::storage::{ArchiveStats, Bound, Db, FileSystem, Options};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const NOW: Millis = Millis(100 * DAY);

fn stats() -> Stats {
    let disk: std::sync::Arc<dyn Disk> = std::sync::Arc::new(SimDisk::new(1));
    let stats = Db::open_stepped(&disk, &Options::new("simulated".as_ref())).unwrap().stats();
    let archive = Some(ArchiveStats { seq: 1, lag_bytes: 0, gaps: 0, error: None });
    Stats { file_system: Some(FileSystem { available: 1 << 40, total: 1 << 41 }), archive, ..stats }
}

/// Figures of which none is worth a warning.
fn calm<'a>(stats: &'a Stats, backups: &'a Backups) -> Figures<'a> {
    Figures {
        now: NOW,
        started: NOW,
        stats,
        shortage: None,
        disk_is_low: false,
        disk_warning: 1 << 30,
        backups,
        backup_overdue: None,
        clients: 1,
        max_clients: 100,
        client_memory: 0,
        max_client_memory: 1000,
        open_files: 10,
        max_open_files: Some(1000),
        clock_ahead_ms: 0,
        certificate_ends: None,
    }
}

/// Looks, and answers the names and texts of what is there.
fn look(watch: &mut Watch, figures: &Figures<'_>) -> Vec<(&'static str, String)> {
    watch.look(figures);
    watch.present.iter().map(|warning| (warning.name, warning.text.clone())).collect()
}

/// One figure: what is no warning yet, what is one, what still is, and what ends it.
fn comes_and_goes(name: &str, values: [u64; 4], says: &[&str], set: impl for<'a> Fn(&mut Figures<'a>, u64)) {
    let (stats, backups, mut watch) = (stats(), Backups::default(), Watch::new(1000));
    for (value, is_there) in values.into_iter().zip([false, true, true, false]) {
        let mut figures = calm(&stats, &backups);
        set(&mut figures, value);
        let found = look(&mut watch, &figures);
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, if is_there { vec![name] } else { Vec::new() }, "{value}");
        for (_, text) in &found {
            let missing: Vec<_> = says.iter().filter(|word| !text.contains(**word)).collect();
            assert!(missing.is_empty() && !text.contains('\n'), "{name} does not say {missing:?}: {text}");
        }
    }
}

#[test]
fn figures_near_a_bound_are_warned_of_until_they_are_well_away_from_it() {
    comes_and_goes("clients", [89, 90, 80, 79], &["90 of the 100", "--max-clients"], |it, value| {
        it.clients = value as usize
    });
    comes_and_goes("client_memory", [799, 800, 600, 599], &["800 of the 1000", "CLIENT LIST"], |it, value| {
        it.client_memory = value as usize;
    });
    comes_and_goes("open_files", [799, 800, 700, 699], &["800 of the 1000", "LimitNOFILE"], |it, value| {
        it.open_files = value
    });
    comes_and_goes("clock_behind", [1999, 2000, 1000, 999], &["2000 ms behind"], |it, value| it.clock_ahead_ms = value);
    comes_and_goes(
        "certificate_ends",
        [14 * DAY, 14 * DAY - 1, 0, 15 * DAY],
        &["--tls-cert", "SIGHUP"],
        |it, value| {
            it.certificate_ends = Some(it.now.plus(value));
        },
    );
    comes_and_goes("disk_low", [0, 1, 1, 0], &["1099511627776 of 2199023255552", "1073741824"], |it, value| {
        it.disk_is_low = value > 0;
    });
}

#[test]
fn without_a_bound_nothing_is_near_it() {
    let (stats, backups, mut watch) = (Stats { archive: None, ..stats() }, Backups::default(), Watch::new(0));
    let figures = Figures {
        client_memory: usize::MAX,
        max_client_memory: 0,
        open_files: 1 << 40,
        max_open_files: None,
        ..calm(&stats, &backups)
    };
    assert_eq!(look(&mut watch, &figures), []);
}

#[test]
fn a_refusal_is_told_in_its_own_words_and_in_place_of_little_room() {
    let (stats, backups, mut watch) = (stats(), Backups::default(), Watch::new(1000));
    let refusal = Refusal { bound: Bound::Disk, reason: "make\nroom".to_owned(), everything: false };
    let figures = Figures { disk_is_low: true, shortage: Some(&refusal), ..calm(&stats, &backups) };
    assert_eq!(look(&mut watch, &figures), [("disk_full", "make room".to_owned())]);
}

#[test]
fn slow_syncs_are_those_that_stay_slow() {
    let (stats, backups, mut watch) = (stats(), Backups::default(), Watch::new(1000));
    let mut sync = |ms: u64, times: usize| {
        (0..times).for_each(|_| watch.synced(Duration::from_millis(ms)));
        look(&mut watch, &calm(&stats, &backups))
    };
    assert_eq!(sync(1, 100), []);
    assert_eq!(sync(1000, 1), [], "one alone");
    assert_eq!(sync(300, 20)[0].0, "slow_syncs");
    assert_eq!(sync(60, 100).len(), 1);
    assert_eq!(sync(1, 100), []);
}

#[test]
fn an_archive_is_told_of_when_it_fails_lags_or_has_a_gap_that_no_backup_makes_up_for() {
    let archive = |lag_bytes, gaps, error: Option<&str>| {
        let archive = ArchiveStats { seq: 1, lag_bytes, gaps, error: error.map(str::to_owned) };
        Stats { archive: Some(archive), ..stats() }
    };
    let mut watch = Watch::new(1000);
    let mut names = |stats: Stats, backups: &Backups| -> Vec<&str> {
        look(&mut watch, &calm(&stats, backups)).into_iter().map(|(name, _)| name).collect()
    };
    let backup = |number, outcome: Result<&str, &str>| Backups {
        begun: number,
        last: Some(Ended {
            number,
            outcome: outcome.map(str::to_owned).map_err(str::to_owned),
            took_ms: 1,
            snapshot_ms: 1,
            growth_bytes: 0,
            file_bytes: 1,
            rows: 1,
        }),
        ..Backups::default()
    };
    let first = backup(1, Ok("a"));
    assert_eq!(names(archive(499, 0, None), &first), [""; 0]);
    assert_eq!(names(archive(500, 0, Some("no room")), &first), ["archive_failed", "archive_lag"]);
    assert_eq!(names(archive(200, 1, None), &first), ["archive_lag", "archive_gap"]);
    assert_eq!(names(archive(0, 1, None), &first), ["archive_gap"], "the first may lie before it");
    assert_eq!(names(archive(0, 1, None), &backup(2, Err("no room"))), ["archive_gap", "backup_failed"]);
    let called_off = crate::storage::Error::Cancelled.to_string();
    assert_eq!(names(archive(0, 1, None), &backup(3, Err(&called_off))), ["archive_gap"]);
    assert_eq!(names(archive(0, 1, None), &backup(4, Ok("b"))), [""; 0]);
    assert_eq!(names(archive(0, 2, None), &backup(4, Ok("b"))), ["archive_gap"], "another one");
}

#[test]
fn a_backup_is_overdue_when_a_second_should_have_begun() {
    let stats = stats();
    let mut watch = Watch::new(1000);
    let mut found = |newest: Option<u64>, started: u64| {
        let backups = Backups { newest: newest.map(|ago| Millis(NOW.0 - ago)), ..Backups::default() };
        let started = Millis(NOW.0 - started);
        let backup_overdue = Some(backups.newest.unwrap_or(started).plus(2 * HOUR));
        let figures = Figures { backup_overdue, started, ..calm(&stats, &backups) };
        look(&mut watch, &figures)
    };
    assert_eq!(found(Some(2 * HOUR), DAY), []);
    let late = found(Some(2 * HOUR + 1), DAY);
    assert!(late[0].1.contains("the newest backup is 2.0 hours old: by --backup-every or"), "{late:?}");
    assert_eq!(found(None, HOUR), []);
    assert!(found(None, 3 * HOUR)[0].1.contains("there is no backup"));
}

#[test]
fn a_look_tells_what_is_new_and_since_when() {
    let (stats, backups, mut watch) = (stats(), Backups::default(), Watch::new(1000));
    assert_eq!(watch.look(&calm(&stats, &backups)), None);
    let near = |clients, now| Figures { clients, now, ..calm(&stats, &backups) };
    let found = watch.look(&near(95, NOW)).unwrap();
    assert_eq!((found[0].name, found[0].since), ("clients", NOW));
    assert_eq!(watch.look(&near(96, NOW.plus(1))), None, "nothing is new");
    watch.refreshed = Instant::now().checked_sub(2 * REFRESH).unwrap();
    let found = watch.look(&near(97, NOW.plus(2))).unwrap();
    assert!(found[0].since == NOW && found[0].text.contains("97 of the 100"), "{found:?}");
    assert_eq!(watch.look(&near(1, NOW)).unwrap(), []);
}
