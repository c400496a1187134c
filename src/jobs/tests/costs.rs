//! What a claim costs in rows and pages: as much on a long queue as on a short one, whatever stands before it.

use std::sync::Arc;

use super::*;
use crate::storage::files::Disk;
use crate::storage::sim_disk::SimDisk;

/// What a claim and its completion looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    rows: u64,
    /// Pages read from the file, with no cache to speak of.
    pages: u64,
}

fn open(disk: &SimDisk, cache_size: usize) -> Db {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = Options { cache_size, ..Options::new(std::path::Path::new("simulated")) };
    Db::open_stepped(&disk, &options).unwrap()
}

/// Runs something as a batch of its own.
fn batch(db: &mut Db, run: impl FnOnce(&mut Bench<'_>)) {
    let rows = {
        let mut bench = Bench::new(db);
        run(&mut bench);
        bench.batch.finish()
    };
    db.append(&rows, START).unwrap();
    db.flush().unwrap();
    db.apply(&rows).unwrap();
}

/// Fills a queue with so many jobs: of every four, one that nobody there can run stands before one of a low priority, one
/// of a tenant that has most of them, and one of a tenant of its own.
fn fill(disk: &SimDisk, jobs: u64) {
    let mut db = open(disk, 1 << 30);
    batch(&mut db, |bench| {
        let worker = Profile::parse(br#"{"worker_id":"w","tools":["sh"]}"#).unwrap();
        bench.command(|jobs| jobs.register(&worker)).unwrap();
    });
    for first in (0..jobs).step_by(4_000) {
        batch(&mut db, |bench| {
            for n in first..jobs.min(first + 4_000) {
                let of_its_own = format!(r#"{{"kind":"a","key":"t{n}"}}"#);
                let json = match n % 4 {
                    0 => r#"{"kind":"a","priority":9,"requires":["gpu"]}"#,
                    1 => r#"{"kind":"a","priority":3}"#,
                    2 => r#"{"kind":"a","key":"large"}"#,
                    _ => &of_its_own,
                };
                bench.submit(json);
            }
        });
        db.checkpoint().unwrap();
        while db.step().unwrap() {}
    }
    db.close().unwrap();
}

/// The costs of the claims behind the first few, which find tables closed and the worker unheard.
fn costs(jobs: u64) -> Vec<Cost> {
    let disk = SimDisk::new(1);
    fill(&disk, jobs);
    let mut db = open(&disk, 0);
    let mut costs = Vec::new();
    batch(&mut db, |bench| {
        for _ in 0..12 {
            let (rows, pages) = (bench.batch.looks.get(), disk.reads());
            let job = bench.claim("w").unwrap();
            bench.command(|jobs| jobs.complete(job.id.as_bytes(), job.epoch, OK)).unwrap();
            costs.push(Cost { rows: bench.batch.looks.get() - rows, pages: disk.reads() - pages });
        }
    });
    costs.split_off(4)
}

#[test]
fn a_claim_looks_at_as_much_of_a_long_queue_as_of_a_short_one() {
    let (short, long) = (costs(1_000), costs(200_000));
    for (short, long) in short.iter().zip(&long) {
        assert_eq!(short.rows, long.rows, "{short:?} of 1,000 jobs, {long:?} of 200,000");
        // The trees are one level higher: a page more for a descent, and no row is further away.
        assert!(long.pages <= short.pages + short.rows, "{short:?} of 1,000 jobs, {long:?} of 200,000");
    }
}
