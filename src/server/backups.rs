//! Backups while the server serves: one at a time, on a thread of its own, at a bounded rate; by themselves too, with the
//! oldest removed.
//!
//! What a client can do is ask for one. Where it is written the operator alone says: no name comes over the wire.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Millis;
use crate::command::backups::{Backups as Facts, Ended, Running};
use crate::server::backup_times::When;
use crate::server::inbox::Inbox;
use crate::storage::files::{Disk, RealDisk};
use crate::storage::{self, Backup, Db, Error, Phase, Progress, Source};

/// What an operator chooses of backups.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The store's own folder.
    pub store: PathBuf,
    /// Where they are written.
    pub dir: PathBuf,
    /// Bytes of rows that may be copied, or read back, in a second.
    pub rate: u64,
    /// How long a snapshot may live, in milliseconds: the store's file grows meanwhile.
    pub max_snapshot_ms: u64,
    /// When one begins by itself.
    pub when: Option<When>,
    /// So many are kept, the newest.
    pub keep: usize,
    /// The archive, of which no more is kept than they need.
    pub archive: Option<PathBuf>,
}

/// What a backup's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    /// UTC, as `20261128T051716.123Z`: sorts by time.
    time: String,
    seq: u64,
    store: String,
}

/// About as many bytes as are written of a backup before the room is looked at again.
const STEP: u64 = 8 << 20;

const TIME: &str = "%Y%m%dT%H%M%S.%3fZ";

impl Name {
    fn new(now: Millis, seq: u64, store_id: u128) -> Name {
        let at = i64::try_from(now.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        Name { time: at.unwrap_or_default().strftime(TIME).to_string(), seq, store: short(store_id) }
    }

    fn parse(text: &str) -> Option<Name> {
        let mut parts = text.strip_prefix("agq-")?.strip_suffix(".redb")?.split('-');
        let (time, seq, store) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let name = Name { time: time.to_owned(), seq, store: store.to_owned() };
        (parts.next().is_none() && name.time().is_some() && name.file() == text).then_some(name)
    }

    fn time(&self) -> Option<Millis> {
        let at = jiff::civil::DateTime::strptime(TIME, &self.time).ok()?;
        let at = jiff::tz::TimeZone::UTC.to_timestamp(at).ok()?.as_millisecond();
        u64::try_from(at).ok().map(Millis)
    }

    fn file(&self) -> String {
        format!("agq-{}-{}-{}.redb", self.time, self.seq, self.store)
    }
}

/// The part of a store's number that names its backups.
fn short(store_id: u128) -> String {
    format!("{store_id:032x}")[..8].to_owned()
}

/// The backups of a running server.
pub(super) struct Backups {
    options: BackupOptions,
    work: Option<Arc<Work>>,
    ended: Rc<RefCell<Option<Outcome>>>,
    began: Millis,
    file_bytes: u64,
}

/// What the thread that writes shares with the core loop.
struct Work {
    source: Arc<Source>,
    done: AtomicU64,
    total: AtomicU64,
    /// When the phase began that is under way; locked while the thread sleeps or is woken.
    pacing: Mutex<Option<(Phase, Instant)>>,
    wake: Condvar,
}

struct Outcome {
    result: Result<(PathBuf, Backup), String>,
    took: Duration,
}

impl Backups {
    pub(super) fn new(options: BackupOptions, store_id: u128, now: Millis, facts: &mut Facts) -> Backups {
        facts.newest = newest(&options.dir, store_id, now);
        facts.next = options.when.as_ref().and_then(|when| when.first(facts.newest, now));
        Backups { options, work: None, ended: Rc::default(), began: now, file_bytes: 0 }
    }

    /// Between two batches: notes how far one has come, ends and begins them.
    pub(super) fn turn(
        &mut self,
        facts: &mut Facts,
        last_save: &mut Millis,
        db: &mut Db,
        now: Millis,
        inbox: &Inbox,
    ) -> storage::Result<()> {
        if let Some(outcome) = self.ended.borrow_mut().take() {
            self.work = None;
            note(facts, last_save, outcome, db.stats().file_bytes.saturating_sub(self.file_bytes), now);
            let failed = facts.last.as_ref().is_some_and(|last| last.outcome.is_err());
            if !failed {
                facts.newest = Some(self.began);
            }
            facts.next = self.options.when.as_ref().and_then(|when| match failed {
                true => when.again(now),
                false => when.after(self.began).map(|next| next.max(now)),
            });
        }
        if !facts.in_progress() && facts.next.is_some_and(|next| next <= now) {
            facts.ask();
        }
        if std::mem::take(&mut facts.cancelled) {
            if std::mem::take(&mut facts.asked) {
                let result = Err(Error::Cancelled.to_string());
                note(facts, last_save, Outcome { result, took: Duration::ZERO }, 0, now);
            }
            self.cancel();
        }
        if let Some(running) = &mut facts.running
            && let Some(work) = &self.work
        {
            running.percent = work.percent();
        }
        if facts.asked && self.work.is_none() {
            facts.asked = false;
            facts.running = Some(Running { since: now, percent: 0 });
            self.begin(db, now, inbox)?;
        }
        Ok(())
    }

    /// When a second one should have begun by itself since a moment.
    pub(super) fn overdue(&self, since: Millis) -> Option<Millis> {
        self.options.when.as_ref()?.second(since)
    }

    /// When the core loop should look again at the latest.
    pub(super) fn next(&self, facts: &Facts) -> Option<Millis> {
        facts.next.filter(|_| self.work.is_none())
    }

    /// Asks the one that is being written to end.
    pub(super) fn cancel(&self) {
        if let Some(work) = &self.work {
            work.cancel();
        }
    }

    /// True while a snapshot lives: the store cannot be closed. What else is left to do of a backup holds up nobody.
    pub(super) fn hold_snapshot(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.source.is_held()) && self.ended.borrow().is_none()
    }

    /// The server ends: one that is being written is given up, and nobody waits for its disk.
    pub(super) fn abandon(&self) {
        self.cancel();
        if self.work.is_some() && self.ended.borrow().is_none() {
            tracing::warn!("the backup that was being written is given up: the next one removes what is left of it");
        }
    }

    fn begin(&mut self, db: &mut Db, now: Millis, inbox: &Inbox) -> storage::Result<()> {
        let snapshot = db.durable_snapshot()?;
        let stats = db.stats();
        let name = Name::new(now, stats.seq, stats.store_id);
        tracing::info!(file = %self.options.dir.join(name.file()).display(), "a backup begins");
        let work = Arc::new(Work::new(Source::new(snapshot, inbox.waker())));
        (self.began, self.file_bytes, self.work) = (now, stats.file_bytes, Some(Arc::clone(&work)));
        let options = self.options.clone();
        let began = Instant::now();
        let writing = tokio::task::spawn_blocking(move || write(&options, &name, &work));
        let (ended, wake) = (Rc::clone(&self.ended), inbox.waker());
        tokio::task::spawn_local(async move {
            let result = writing.await.unwrap_or_else(|error| Err(format!("its thread ended: {error}")));
            *ended.borrow_mut() = Some(Outcome { result, took: began.elapsed() });
            wake();
        });
        Ok(())
    }
}

/// Writes down how one ended.
fn note(facts: &mut Facts, last_save: &mut Millis, outcome: Outcome, growth_bytes: u64, now: Millis) {
    facts.running = None;
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let took_ms = ms(outcome.took);
    let mut ended = Ended {
        number: facts.begun,
        outcome: Err(String::new()),
        took_ms,
        snapshot_ms: 0,
        growth_bytes,
        file_bytes: 0,
        rows: 0,
    };
    match outcome.result {
        Ok((path, backup)) => {
            tracing::info!(
                file = %path.display(), rows = backup.rows, file_bytes = backup.file_bytes, took_ms,
                snapshot_ms = ms(backup.snapshot_lived), store_growth_bytes = growth_bytes, "a backup is done"
            );
            ended.snapshot_ms = ms(backup.snapshot_lived);
            (ended.file_bytes, ended.rows) = (backup.file_bytes, backup.rows);
            ended.outcome = Ok(path.display().to_string());
            facts.made += 1;
            *last_save = now;
        }
        Err(error) => {
            tracing::error!(%error, took_ms, "a backup failed");
            ended.outcome = Err(error);
            facts.failed += 1;
        }
    }
    facts.last = Some(ended);
}

/// The thread's work: write, then remove what is too old.
fn write(options: &BackupOptions, name: &Name, work: &Work) -> Result<(PathBuf, Backup), String> {
    let disk = RealDisk::open(&options.dir)
        .map_err(|error| format!("cannot make the folder of backups {}: {error}", options.dir.display()))?;
    // One at a time, in a folder of this server's: what is unfinished was cut short.
    let unfinished = |file: &String| storage::is_unfinished(file) && own(file.trim_end_matches(".tmp"), name);
    for left in disk.list().map_err(|error| error.to_string())?.iter().filter(|file| unfinished(file)) {
        disk.remove(left).map_err(|error| format!("cannot remove {}: {error}", disk.describe(left)))?;
    }
    let (began, limit) = (Instant::now(), Duration::from_millis(options.max_snapshot_ms));
    let path = disk.describe(&name.file());
    let room = Room::new(options, &disk);
    let mut why = room.refusal(&path);
    let backup = match why {
        Some(_) => Err(Error::Cancelled),
        None => storage::write_backup(&work.source, &disk, &name.file(), &mut |progress| {
            if progress.phase == Phase::Copying {
                why = room.refusal(&path).or_else(|| (began.elapsed() > limit).then(|| too_late(limit)));
            }
            if why.is_some() { ControlFlow::Break(()) } else { work.go_on(progress, options.rate) }
        }),
    };
    let backup = backup.map_err(|error| match why {
        Some(why) => why,
        None if error.is_no_space() => {
            format!("there is no room for {path}: make room there, or name another folder with --backup-dir ({error})")
        }
        None => error.to_string(),
    })?;
    let oldest = rotate(&disk, name, options.keep)
        .map_err(|error| format!("{path} is written, but older ones cannot be removed: {error}"))?;
    if let Some(archive) = &options.archive {
        prune(archive, backup.store_id, oldest)
            .map_err(|error| format!("{path} is written, but the archive cannot be shortened: {error}"))?;
    }
    Ok((options.dir.join(name.file()), backup))
}

fn too_late(limit: Duration) -> String {
    format!(
        "its snapshot lived for longer than {} s, during which the store's file grows: raise --backup-rate or \
         --backup-max-time",
        limit.as_secs()
    )
}

/// The room that a backup leaves to the store whose disk it is written to.
struct Room<'a> {
    /// That disk; `None` where the folder is on another.
    shared: Option<&'a dyn Disk>,
}

impl Room<'_> {
    fn new<'a>(options: &BackupOptions, disk: &'a dyn Disk) -> Room<'a> {
        let device = |dir: &Path| std::fs::metadata(dir).ok().map(|found| found.dev());
        Room { shared: (device(&options.dir) == device(&options.store)).then_some(disk) }
    }

    /// Why no more may be written to it.
    fn refusal(&self, path: &str) -> Option<String> {
        let found = self.shared?.space().ok()??;
        let needed = storage::needed_beside_a_copy(&found, STEP)?;
        Some(format!(
            "there is no room for {path}: {} bytes are free, and {needed} have to stay so for the store, which is on the same \
             disk. Make room, or name a folder on another one with --backup-dir",
            found.available
        ))
    }
}

impl Work {
    fn new(source: Arc<Source>) -> Work {
        let (done, total) = (AtomicU64::new(0), AtomicU64::new(0));
        Work { source, done, total, pacing: Mutex::new(None), wake: Condvar::new() }
    }

    fn cancel(&self) {
        self.source.cancel();
        let _asleep = self.pacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.wake.notify_all();
    }

    fn percent(&self) -> u64 {
        let total = self.total.load(Ordering::Relaxed).max(1);
        (self.done.load(Ordering::Relaxed) * 100 / total).min(99)
    }

    /// Notes the progress, and sleeps where it is ahead of the rate.
    fn go_on(&self, progress: &Progress, rate: u64) -> ControlFlow<()> {
        let copied = if progress.phase == Phase::Verifying { progress.total } else { 0 };
        self.total.store(progress.total.saturating_mul(2), Ordering::Relaxed);
        self.done.store(progress.done + copied, Ordering::Relaxed);
        let mut asleep = self.pacing.lock().unwrap_or_else(PoisonError::into_inner);
        if asleep.as_ref().is_none_or(|(phase, _)| *phase != progress.phase) {
            *asleep = Some((progress.phase, Instant::now()));
        }
        let began = asleep.as_ref().map_or_else(Instant::now, |(_, began)| *began);
        let due = Duration::from_secs_f64(progress.bytes as f64 / rate as f64);
        loop {
            if self.source.is_cancelled() {
                return ControlFlow::Break(());
            }
            let ahead = due.saturating_sub(began.elapsed());
            if ahead.is_zero() {
                return ControlFlow::Continue(());
            }
            asleep = self.wake.wait_timeout(asleep, ahead).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// True for a backup of the same store.
fn own(file: &str, name: &Name) -> bool {
    Name::parse(file).is_some_and(|other| other.store == name.store)
}

/// Removes from the archive what lies before the oldest backup that is kept.
fn prune(archive: &Path, store_id: u128, oldest_seq: u64) -> Result<(), String> {
    let disk = RealDisk::open(archive).map_err(|error| error.to_string())?;
    let removed = storage::prune_archive(&disk, store_id, oldest_seq).map_err(|error| error.to_string())?;
    if !removed.is_empty() {
        tracing::info!(files = removed.len(), oldest_seq, "the archive is shortened: every backup has these records");
    }
    Ok(())
}

/// Removes all backups of this store but the newest, of which the one just made is always one; what AGQ did not name is not
/// touched. Returns the last record of the oldest that is kept.
fn rotate(disk: &dyn Disk, made: &Name, keep: usize) -> std::io::Result<u64> {
    let mut names: Vec<Name> =
        disk.list()?.iter().filter(|file| own(file, made)).filter_map(|file| Name::parse(file)).collect();
    // What is dated later than the one just made is of a clock that was ahead. Numbers of records tell less: they begin
    // again lower where an older copy of the store was put back.
    let age = |name: &Name| (name == made, name.time <= made.time, name.time.clone(), name.seq);
    names.sort_by_cached_key(age);
    let old = names.len().saturating_sub(keep);
    for old in &names[..old] {
        disk.remove(&old.file())?;
        tracing::info!(file = disk.describe(&old.file()), "a backup is removed: there are newer ones");
    }
    if old > 0 {
        disk.sync_dir()?;
    }
    Ok(names[old..].iter().map(|name| name.seq).min().unwrap_or(made.seq))
}

/// When the newest backup of a store was begun. One that was dated by a clock that was ahead says nothing of it.
fn newest(dir: &Path, store_id: u128, now: Millis) -> Option<Millis> {
    let entries = std::fs::read_dir(dir).ok()?;
    let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names = files.filter_map(|file| Name::parse(&file)).filter(|name| name.store == short(store_id));
    names.filter_map(|name| name.time()).filter(|time| *time <= now).max()
}

#[cfg(test)]
mod tests;
