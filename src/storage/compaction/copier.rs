//! The copy: rows in order, in slices, with what is written meanwhile; then a standby that takes the file's place.

use std::ops::Bound;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, WriteTransaction};

use super::feed::{Entry, Feed, View};
use super::{CompactionPhase, Ready, Standby};
use crate::clock::Millis;
use crate::storage::compact::TEMPORARY;
use crate::storage::db::{definition, table_rows};
use crate::storage::files::{Disk, DiskFile};
use crate::storage::log_sync::LogSync;
use crate::storage::meta::StoreMeta;
use crate::storage::signals::{Signals, StopOnDrop};
use crate::storage::space::needed_beside_a_copy;
use crate::storage::store_file::{self, DATA, commit_durably};
use crate::storage::write_behind::Applier;
use crate::storage::{Error, Options, Result, Rows, Snapshot, Table, plain_file};

/// Rows that the core may have to put into the copy itself, when it takes it over: well under a millisecond.
const FEW_ROWS: usize = 200;
/// A standby follows in rounds, each of them shorter where it is faster than the writers. After so many it is not.
const MOST_ROUNDS: u32 = 200;

/// What a copy is made of, and how.
pub(in crate::storage) struct Plan {
    pub(in crate::storage) disk: Arc<dyn Disk>,
    pub(in crate::storage) options: Options,
    pub(in crate::storage) applier: Applier,
    /// Whose copy it is.
    pub(in crate::storage) meta: StoreMeta,
    /// Bytes of rows that are copied in a second.
    pub(in crate::storage) rate: u64,
    /// The store's.
    pub(in crate::storage) signals: Arc<Signals>,
    /// The log, where an archive follows it.
    pub(in crate::storage) archived_log: Option<Arc<LogSync>>,
}

/// What has been copied: all rows of the tables before one, and that one's up to a key.
#[derive(Debug, Clone, Default)]
struct Position {
    table: usize,
    after: Option<Vec<u8>>,
}

impl Position {
    fn covers(&self, table: Table, key: &[u8]) -> bool {
        let number = table as usize;
        number < self.table || number == self.table && self.after.as_deref().is_some_and(|after| key <= after)
    }

    fn is_end(&self) -> bool {
        self.table == Table::COUNT
    }
}

enum Stage {
    /// Nothing has been done.
    Beginning,
    Copying {
        file: Arc<dyn DiskFile>,
        database: Database,
    },
    /// All rows are there.
    Copied {
        file: Arc<dyn DiskFile>,
        database: Database,
    },
    Following(Standby),
    /// It waits to be compared with the store at one moment.
    Comparing(Standby),
    Replacing(Standby),
}

/// What became of a step.
enum Step {
    /// There is more to do, after so many bytes of rows.
    Next(Stage, u64),
    /// The core has to do something first.
    Wait(Stage),
    Done(Box<Ready>),
}

/// Makes the copy.
pub(in crate::storage) struct Copier {
    stage: Stage,
    work: Work,
}

/// What all stages need.
struct Work {
    plan: Plan,
    feed: Arc<Feed>,
    at: Position,
    rows: u64,
    /// The last record whose rows it has, its time, and where the log ends with it.
    seq: u64,
    time: Millis,
    log_bytes: u64,
}

impl Copier {
    /// The log ends after `log_bytes` with the last record that was applied.
    pub(in crate::storage) fn new(plan: Plan, log_bytes: u64) -> Copier {
        let feed = Arc::new(Feed::new(Arc::clone(&plan.signals)));
        let (seq, time) = (plan.meta.seq, plan.meta.time);
        let work = Work { plan, feed, at: Position::default(), rows: 0, seq, time, log_bytes };
        Copier { stage: Stage::Beginning, work }
    }

    pub(super) fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.work.feed)
    }

    /// A thread's life.
    pub(super) fn run(self) {
        let (feed, rate) = (self.feed(), self.work.plan.rate);
        let mut next = Some((Box::new(self), true));
        let (began, mut bytes) = (Instant::now(), 0);
        while let Some((copier, goes_on)) = next {
            if !goes_on {
                feed.wait_for_view();
            }
            next = copier.go_on();
            let copied = feed.progress().copied_bytes;
            if copied > bytes {
                bytes = copied;
                let due = Duration::from_secs_f64(copied as f64 / rate as f64);
                feed.rest(due.saturating_sub(began.elapsed()));
            }
        }
    }

    /// Does one piece of the work: what is left to do, and whether it can go on at once. `None` once it has ended: the
    /// feed has the outcome.
    pub(super) fn go_on(self: Box<Self>) -> Option<(Box<Copier>, bool)> {
        let Copier { stage, mut work } = *self;
        let stepped = catch_unwind(AssertUnwindSafe(|| work.step(stage)));
        let error = match stepped {
            Ok(Ok(Step::Next(stage, bytes))) => {
                work.feed.tell(|progress| progress.copied_bytes += bytes);
                return Some((Box::new(Copier { stage, work }), true));
            }
            Ok(Ok(Step::Wait(stage))) => return Some((Box::new(Copier { stage, work }), false)),
            Ok(Ok(Step::Done(ready))) => {
                work.feed.finish(Ok(ready));
                return None;
            }
            Ok(Err(error)) => error,
            Err(_panic) => {
                let cause = std::io::Error::other("its thread panicked: please report it");
                Error::io("compacting", cause)
            }
        };
        work.fail(error);
        None
    }
}

impl Work {
    fn step(&mut self, stage: Stage) -> Result<Step> {
        self.feed.check()?;
        match stage {
            Stage::Beginning => self.begin(),
            Stage::Copying { file, database } => self.copy(file, database),
            Stage::Copied { file, database } => self.verify(file, database),
            Stage::Following(standby) => self.follow(standby),
            Stage::Comparing(standby) => self.compare(standby),
            Stage::Replacing(standby) => self.replace(standby),
        }
    }

    /// Ends without a result: the store is as it was, unless the copy has its name.
    fn fail(&self, error: Error) {
        if self.feed.progress().phase == CompactionPhase::Replacing {
            // Which of the two files has the name, after a crash too, is not known: nothing may be written to either.
            self.plan.signals.stop(format!("putting the compacted file in the place of {DATA}: {error}"));
        } else {
            // What failed is told; a file that is left is removed at the next start.
            let _ = self.plan.disk.remove(TEMPORARY);
        }
        self.feed.finish(Err(error));
    }

    fn begin(&mut self) -> Result<Step> {
        self.check_room()?;
        let file = self.plan.disk.create(TEMPORARY).map_err(|source| self.io("making")(source))?;
        let feed = Arc::clone(&self.feed);
        let database = plain_file::open_while(&file, move || feed.check())?;
        store_file::begin(&database)?.commit()?;
        Ok(Step::Next(Stage::Copying { file, database }, 0))
    }

    fn io(&self, what: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let what = format!("{what} {}", self.plan.disk.describe(TEMPORARY));
        move |source| Error::io(what, source)
    }

    /// # Errors
    /// When the copy would come near to what the store keeps free.
    fn check_room(&self) -> Result<()> {
        let found = self.plan.disk.space().map_err(|source| self.io("asking for the room beside")(source))?;
        let Some(found) = found else { return Ok(()) };
        let Some(needed) = needed_beside_a_copy(&found, self.plan.options.compact_slice) else { return Ok(()) };
        let cause = std::io::Error::new(
            std::io::ErrorKind::StorageFull,
            format!(
                "{} bytes are free, and {needed} have to stay so while a compaction runs: make room for a second file of \
                 the size that this one will have",
                found.available
            ),
        );
        Err(Error::Full { file: self.plan.disk.describe(TEMPORARY), cause })
    }

    /// One slice: what has changed in those before it, and the rows behind them, all as of one moment.
    fn copy(&mut self, file: Arc<dyn DiskFile>, database: Database) -> Result<Step> {
        let Some(view) = self.feed.take_view() else {
            self.feed.want_view();
            return Ok(Step::Wait(Stage::Copying { file, database }));
        };
        self.check_room()?;
        let txn = database.begin_write()?;
        self.catch_up(&txn, view.seq)?;
        self.count(&view.snapshot)?;
        let bytes = self.copy_slice(&txn, &view.snapshot)?;
        drop(view);
        txn.commit()?;
        self.feed.tell(|progress| progress.rows = self.rows);
        let stage = match self.at.is_end() {
            true => Stage::Copied { file, database },
            false => Stage::Copying { file, database },
        };
        Ok(Step::Next(stage, bytes))
    }

    /// Notes how many rows there are, the first time.
    fn count(&self, snapshot: &Snapshot) -> Result<()> {
        if self.rows == 0 && self.feed.progress().total_rows == 0 {
            let mut total = 0;
            for table in Table::ALL {
                total += snapshot.rows_in(table)?;
            }
            self.feed.tell(|progress| progress.total_rows = total);
        }
        Ok(())
    }

    /// Puts the rows of all records up to `upto` in that lie in what was copied. Returns how many.
    fn catch_up(&mut self, txn: &WriteTransaction, upto: u64) -> Result<usize> {
        let mut rows = 0;
        while let Some(entry) = self.feed.pop(upto) {
            rows += self.put(txn, &entry)?;
        }
        Ok(rows)
    }

    fn put(&mut self, txn: &WriteTransaction, entry: &Entry) -> Result<usize> {
        let mut rows = 0;
        for (table, changes) in entry.rows.iter().filter(|(table, _)| *table as usize <= self.at.table) {
            let mut open = txn.open_table(definition(table))?;
            for (key, value) in changes.iter().take_while(|(key, _)| self.at.covers(table, key)) {
                match value {
                    Some(value) => drop(open.insert(&key[..], &value[..])?),
                    None => drop(open.remove(&key[..])?),
                }
                rows += 1;
            }
        }
        (self.seq, self.time, self.log_bytes) = (entry.seq, entry.time, entry.log_bytes);
        Ok(rows)
    }

    /// Copies rows from the position on, until they are as many bytes as a slice has. Returns how many.
    fn copy_slice(&mut self, txn: &WriteTransaction, from: &Snapshot) -> Result<u64> {
        let (slice, mut bytes) = (self.plan.options.compact_slice, 0);
        while bytes < slice
            && let Some(table) = Table::ALL.get(self.at.table)
        {
            let mut open = txn.open_table(definition(*table))?;
            let mut cursor = open.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
            let first = self.at.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let (mut last, mut failed, mut rows) = (None, None, 0);
            from.scan(*table, first, Bound::Unbounded, false, &mut |key, value| {
                if let Err(error) = cursor.insert_before(key, value) {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
                rows += 1;
                bytes += (key.len() + value.len()) as u64;
                if bytes < slice {
                    return ControlFlow::Continue(());
                }
                last = Some(key.to_vec());
                ControlFlow::Break(())
            })?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            cursor.close()?;
            self.rows += rows;
            self.at = match last {
                Some(key) => Position { table: self.at.table, after: Some(key) },
                None => Position { table: self.at.table + 1, after: None },
            };
        }
        Ok(bytes)
    }

    /// What the copy says of itself.
    fn meta(&self) -> StoreMeta {
        StoreMeta { seq: self.seq, time: self.time, log_required: true, ..self.plan.meta }
    }

    /// Reads every page back, cuts the file to what is in it, and opens it as a store.
    fn verify(&mut self, file: Arc<dyn DiskFile>, mut database: Database) -> Result<Step> {
        self.feed.tell(|progress| progress.phase = CompactionPhase::Verifying);
        let txn = database.begin_write()?;
        self.catch_up(&txn, u64::MAX)?;
        commit_durably(txn, &self.meta())?;
        if !database.check_integrity()? {
            return Err(Error::corrupt(Table::Meta, "the copy that was made is not sound"));
        }
        // Closing cuts what the growing file took beyond its pages.
        database.close()?;
        file.sync_data().map_err(|source| self.io("writing")(source))?;
        self.feed.tell(|progress| progress.phase = CompactionPhase::Following);
        let signals = Arc::new(Signals::default());
        let guard = StopOnDrop::new(&signals);
        let name = self.plan.disk.describe(TEMPORARY);
        let opened = store_file::open_file(file, &name, &self.plan.options, self.plan.applier, signals)?;
        let store_file::Store { database, pages, thread, .. } = opened;
        let mut standby = Standby { guard, txn: None, database, pages, thread, rounds: 0 };
        standby.txn = Some(standby.database.begin_write()?);
        Ok(Step::Next(Stage::Following(standby), 0))
    }

    /// A round: what was written during the last one, durably.
    fn follow(&mut self, mut standby: Standby) -> Result<Step> {
        let rows = self.catch_up(standby.txn()?, u64::MAX)?;
        standby.commit(&self.meta())?;
        standby.rounds += 1;
        if standby.rounds > MOST_ROUNDS {
            let cause = std::io::Error::other("more is written than it can take: compact when less is written");
            return Err(Error::io("following the store with its copy", cause));
        }
        let stage = if rows > FEW_ROWS { Stage::Following(standby) } else { Stage::Comparing(standby) };
        Ok(Step::Next(stage, 0))
    }

    /// Compares how many rows each table has, with a view of the store at the same record.
    fn compare(&mut self, standby: Standby) -> Result<Step> {
        let Some(View { snapshot, seq }) = self.feed.take_view() else {
            self.feed.want_view();
            return Ok(Step::Wait(Stage::Comparing(standby)));
        };
        self.catch_up(standby.txn()?, seq)?;
        for table in Table::ALL {
            let (there, here) = (snapshot.rows_in(table)?, table_rows(standby.txn()?, table)?);
            if there != here || self.seq != seq {
                let what = format!(
                    "its copy has {here} rows at record {} where {there} are at record {seq}: please report it",
                    self.seq
                );
                return Err(Error::corrupt(table, what));
            }
        }
        Ok(Step::Next(Stage::Replacing(standby), 0))
    }

    /// As before a checkpoint: a record that is in the file and, after a power cut, not in the log could not be archived.
    fn sync_archived_log(&self) -> Result<()> {
        let Some(log) = &self.plan.archived_log else { return Ok(()) };
        log.sync().inspect_err(|error| self.plan.signals.stop(error.to_string()))
    }

    /// Gives the copy, with everything that was applied up to now, the file's name.
    fn replace(&mut self, mut standby: Standby) -> Result<Step> {
        // From here on the log keeps what the copy lacks. What it was freed of before, the feed has already.
        self.feed.keep_after(self.seq);
        self.catch_up(standby.txn()?, u64::MAX)?;
        let (meta, log_bytes) = (self.meta(), self.log_bytes);
        standby.commit(&meta)?;
        self.feed.keep_after(meta.seq);
        self.sync_archived_log()?;
        self.feed.begin_replacing()?;
        let disk = Arc::clone(&self.plan.disk);
        if let Err(error) = disk.rename(TEMPORARY, DATA) {
            self.feed.tell(|progress| progress.phase = CompactionPhase::Following);
            return Err(self.io("renaming")(error));
        }
        disk.sync_dir().map_err(self.io("renaming"))?;
        let mut window_rows = 0;
        loop {
            let rows = self.catch_up(standby.txn()?, u64::MAX)?;
            window_rows += rows as u64;
            if rows <= FEW_ROWS {
                break;
            }
        }
        Ok(Step::Done(Box::new(Ready { standby, meta, log_bytes, window_rows, rows: self.rows, seq: self.seq })))
    }
}
