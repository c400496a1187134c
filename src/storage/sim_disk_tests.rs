//! What a crash, a failed sync and a full disk leave.

use std::collections::HashSet;

use super::*;

fn disk_with_file(seed: u64) -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new(seed);
    let file = disk.create("f").unwrap();
    file.write_at(0, &[1; 2048]).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    (disk, file)
}

#[test]
fn what_was_synced_survives_a_power_cut() {
    for seed in 0..20 {
        let (disk, _) = disk_with_file(seed);
        assert_eq!(disk.crash().contents("f").unwrap(), [1; 2048]);
    }
}

#[test]
fn what_was_not_is_lost_kept_or_torn_by_sectors() {
    let mut seen = HashSet::new();
    for seed in 0..200 {
        let (disk, file) = disk_with_file(seed);
        file.write_at(0, &[2; 1024]).unwrap();
        let found = disk.crash().contents("f").unwrap();
        for sector in found.chunks(512) {
            assert!(sector.iter().all(|&byte| byte == sector[0]), "a sector is never torn");
        }
        seen.insert((found[0], found[512]));
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn a_kill_keeps_what_was_written_and_a_later_power_cut_may_lose_it() {
    let mut lost = 0;
    for seed in 0..50 {
        let (disk, file) = disk_with_file(seed);
        file.write_at(0, &[2]).unwrap();
        let disk = disk.kill();
        assert!(file.write_at(0, &[3]).is_err(), "the old process is gone");
        assert_eq!(disk.contents("f").unwrap()[0], 2);
        lost += usize::from(disk.crash().contents("f").unwrap()[0] == 1);
    }
    assert!(lost > 0);
}

#[test]
fn a_failed_sync_lies_when_it_is_repeated() {
    let mut lost = 0;
    for seed in 0..50 {
        let (disk, file) = disk_with_file(seed);
        file.write_at(0, &[2]).unwrap();
        disk.set_faults(Faults::failing(Operation::Sync, 0));
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(disk.contents("f").unwrap()[0], 2);
        lost += usize::from(disk.crash().contents("f").unwrap()[0] == 1);
    }
    assert!(lost > 0);
}

#[test]
fn names_need_a_sync_of_the_folder() {
    let mut seen = HashSet::new();
    for seed in 0..50 {
        let (disk, _) = disk_with_file(seed);
        disk.rename("f", "g").unwrap();
        seen.insert(disk.crash().list().unwrap());
    }
    assert_eq!(seen, HashSet::from([vec!["f".to_owned()], vec!["g".to_owned()]]));
}

#[test]
fn a_full_disk_takes_no_new_block() {
    let (disk, file) = disk_with_file(1);
    disk.set_faults(Faults { capacity: Some(BLOCK), ..Faults::default() });
    file.write_at(100, &[2]).unwrap();
    assert_eq!(file.write_at(BLOCK, &[2]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.allocated(), BLOCK);
}

#[test]
fn a_write_is_done_as_far_as_there_is_room() {
    let (disk, file) = disk_with_file(1);
    disk.set_faults(Faults { capacity: Some(2 * BLOCK), ..Faults::default() });
    assert_eq!(file.write_at(2048, &[2; 3 * PAGE]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((file.len().unwrap(), disk.allocated()), (2 * BLOCK, 2 * BLOCK));
    disk.set_capacity(None);
    file.write_at(2048, &[3; 3 * PAGE]).unwrap();
    assert_eq!(disk.contents("f").unwrap()[2048..], [3; 3 * PAGE]);
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let mut lost = 0;
    for seed in 0..50 {
        let (disk, file) = disk_with_file(seed);
        file.write_at(0, &[2]).unwrap();
        let began = disk.moment();
        file.write_at(512, &[3]).unwrap();
        file.set_len(9000).unwrap();
        disk.sync_as_of(Some(began));
        file.sync_data().unwrap();
        let found = disk.fork().crash().contents("f").unwrap();
        assert_eq!(found[0], 2, "it was written before");
        lost += usize::from(found[512] == 1 && found.len() == 2048);
        disk.sync_as_of(None);
        file.sync_data().unwrap();
        assert_eq!(
            (disk.fork().crash().contents("f").unwrap()[512], disk.crash().contents("f").unwrap().len()),
            (3, 9000)
        );
    }
    assert!(lost > 0);
}

#[test]
fn failures_are_those_of_a_kind_a_file_and_a_time() {
    let (disk, file) = disk_with_file(1);
    let other = disk.create("g").unwrap();
    let fails = |operation, after, lasting| {
        let failing = Failing { operation, file: Some("f".to_owned()), after, lasting };
        disk.set_faults(Faults { failing: vec![failing], ..Faults::default() });
        [0; 4].map(|_| match operation {
            Operation::Read => other.read_at(0, &mut [0]).is_ok() && file.read_at(0, &mut [0]).is_err(),
            Operation::Write => other.write_at(0, &[1]).is_ok() && file.write_at(0, &[1]).is_err(),
            Operation::Sync => other.sync_data().is_ok() && file.sync_data().is_err(),
        })
    };
    for operation in [Operation::Read, Operation::Write, Operation::Sync] {
        assert_eq!(fails(operation, 2, true), [false, false, true, true], "{operation:?}");
        assert_eq!(fails(operation, 1, false), [false, true, false, false], "{operation:?}");
    }
}
