//! What is read back and what the file holds, whatever was written, cut and applied.

use proptest::prelude::*;
use redb::StorageBackend;

use super::*;
use crate::storage::files::Disk;
use crate::storage::sim_disk::{Faults, SimDisk};

#[derive(Debug, Clone)]
enum Step {
    Write(u64, usize),
    SetLen(u64),
    Sync,
    /// Applies some of the queue.
    Apply(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..4000u64, 1..1500usize).prop_map(|(at, len)| Step::Write(at, len)),
        1 => (0..6000u64).prop_map(Step::SetLen),
        1 => Just(Step::Sync),
        3 => (1..4usize).prop_map(Step::Apply),
    ]
}

proptest! {
    #[test]
    fn reads_see_every_write_and_the_file_is_always_an_earlier_moment(
        steps in proptest::collection::vec(step(), 0..60)
    ) {
        let disk = SimDisk::new(1);
        let file = disk.create("f").unwrap();
        let pages = WriteBehind::new(file, Applier::Caller, Arc::default()).unwrap();
        let backend = Backend(Arc::new(pages));
        let mut model: Vec<u8> = Vec::new();
        let mut moments = vec![Vec::new()];
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write(at, len) => {
                    let (at, data) = (at.min(model.len() as u64), vec![number as u8 + 1; len]);
                    backend.write(at, &data).unwrap();
                    let end = at as usize + len;
                    model.resize(model.len().max(end), 0);
                    model[at as usize..end].copy_from_slice(&data);
                    moments.push(model.clone());
                }
                Step::SetLen(len) => {
                    backend.set_len(len).unwrap();
                    model.resize(len as usize, 0);
                    moments.push(model.clone());
                }
                Step::Sync => backend.sync_data().unwrap(),
                Step::Apply(times) => {
                    for _ in 0..times {
                        backend.0.step();
                    }
                }
            }
            prop_assert_eq!(backend.len().unwrap(), model.len() as u64);
            for from in [0, model.len() / 3, model.len() / 2] {
                let mut read = vec![0xee; model.len() - from];
                backend.read(from as u64, &mut read).unwrap();
                prop_assert_eq!(&read[..], &model[from..]);
            }
            let found = disk.contents("f").unwrap();
            prop_assert!(moments.contains(&found), "the file holds what never was");
        }
        prop_assert!(backend.read(model.len() as u64, &mut [0]).is_err(), "nothing beyond the end");
        backend.close().unwrap();
        prop_assert_eq!(disk.contents("f").unwrap(), model);
        prop_assert_eq!(backend.0.passed(), backend.0.barriers());
    }
}

#[test]
fn a_write_that_found_no_room_is_tried_again_though_nobody_waits() {
    const PAGE: usize = 1 << 20;
    let disk = SimDisk::new(1);
    let file = disk.create("f").unwrap();
    let pages = Arc::new(WriteBehind::new(file, Applier::Thread, Arc::default()).unwrap());
    disk.set_faults(Faults { capacity: Some(8 * PAGE as u64), ..Faults::default() });
    let backend = Backend(Arc::clone(&pages));
    let thread = WriteBehindThread::start(Arc::clone(&pages)).unwrap();
    // As much as the thread begins with by itself; what finds no room is less than that.
    for page in 0..=(EAGER / PAGE) {
        backend.write((page * PAGE) as u64, &vec![7; PAGE]).unwrap();
    }
    while pages.held().is_none() {
        std::thread::yield_now();
    }
    assert!(pages.state().queued_bytes < EAGER);
    disk.set_faults(Faults::default());
    while pages.held().is_some() {
        std::thread::yield_now();
    }
    backend.sync_data().unwrap();
    pages.wait_for(pages.barriers()).unwrap();
    drop(thread);
    assert_eq!(disk.contents("f").unwrap(), vec![7; EAGER + PAGE]);
}

#[test]
fn a_stopped_store_writes_nothing() {
    let disk = SimDisk::new(1);
    let signals = Arc::new(Signals::default());
    let file = disk.create("f").unwrap();
    let backend = Backend(Arc::new(WriteBehind::new(file, Applier::Caller, Arc::clone(&signals)).unwrap()));
    backend.write(0, &[1]).unwrap();
    signals.stop("a test says so");
    assert!(backend.write(0, &[2]).is_err() && backend.sync_data().is_err() && backend.set_len(9).is_err());
    assert!(backend.close().is_err() && !backend.0.step());
    assert!(disk.contents("f").unwrap().is_empty());
}
