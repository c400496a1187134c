//! How many syncs a read waits for beside writers: counted on a slow disk in memory, by the core loop itself.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use agq_resp::Request;
use bytes::BytesMut;
use tokio::runtime::LocalOptions;
use tokio::sync::Notify as Signal;
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::command::{Session, System, WebhookRules};
use crate::engine::Unit;
use crate::jobs::Settings;
use crate::server::inbox::Told;
use crate::server::limits::ClientLimits;
use crate::storage::Options;
use crate::storage::files::{Disk, DiskFile, FileSystem};
use crate::storage::sim_disk::SimDisk;

const WRITERS: usize = 200;
const READERS: usize = 4;
/// Long enough that the core waits for clients who were just answered.
const SYNC: Duration = Duration::from_micros(1100);

/// What the syncs of a disk tell.
#[derive(Debug, Default)]
struct Syncs {
    /// Those that have ended while the core waited for them.
    ended: AtomicU64,
    /// The core runs: whatever is synced now it waits for. Otherwise it is a thread of its own that does it.
    of_core: AtomicBool,
    files: Mutex<Vec<String>>,
    /// Told when a sync begins.
    began: Signal,
}

/// A disk whose syncs take long.
#[derive(Debug)]
struct SlowDisk(SimDisk, Arc<Syncs>);

#[derive(Debug)]
struct SlowFile(Arc<dyn DiskFile>, String, Arc<Syncs>);

impl Syncs {
    fn slowly<T>(&self, name: &str, sync: impl FnOnce() -> T) -> T {
        if !self.of_core.load(Ordering::Relaxed) {
            return sync();
        }
        // Requests come in while it is under way.
        self.began.notify_waiters();
        std::thread::sleep(SYNC);
        let synced = sync();
        self.files.lock().unwrap().push(name.to_owned());
        self.ended.fetch_add(1, Ordering::Relaxed);
        synced
    }

    fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

impl SlowDisk {
    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SlowFile(file, name.to_owned(), Arc::clone(&self.1)))
    }
}

impl Disk for SlowDisk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        Ok(self.0.open(name)?.map(|file| self.file(name, file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.0.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.1.slowly("the folder", || self.0.sync_dir())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn space(&self) -> io::Result<Option<FileSystem>> {
        self.0.space()
    }

    fn describe(&self, name: &str) -> String {
        self.0.describe(name)
    }
}

impl DiskFile for SlowFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.0.allocated()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.2.slowly(&self.1, || self.0.sync_data())
    }
}

/// A core on a slow disk, and the connections to it.
struct Bench {
    core: Core,
    inbox: Inbox,
    rules: Rules,
    syncs: Arc<Syncs>,
}

/// Sends one command, and waits for its reply.
async fn ask(inbox: &Inbox, conn: u64, words: &[&str]) {
    let unit = Unit { conn, requests: [Request::from_args(words)].into(), protocol_error: None, out: BytesMut::new() };
    inbox.submit(unit, 0);
    let Told::Finished(finished) = inbox.told(conn).await else { panic!("{words:?} was not answered") };
    assert!(!finished.out.starts_with(b"-"), "{:?}", finished.out);
    inbox.rests(conn, 0);
}

impl Bench {
    fn new() -> Bench {
        let syncs = Arc::new(Syncs::default());
        let disk: Arc<dyn Disk> = Arc::new(SlowDisk(SimDisk::new(1), Arc::clone(&syncs)));
        let options = Options { cache_size: 1 << 20, checkpoint_size: 1 << 18, ..Options::new("simulated".as_ref()) };
        let db = Db::open_stepped(&disk, &options).unwrap();
        let clock = WallClock::start(db.last_time()).unwrap();
        let config = Config {
            key: None,
            parameters: Vec::new(),
            sweep_interval_ms: 1_000,
            jobs: Settings::default(),
            system: System::NONE,
            webhooks: WebhookRules::default(),
        };
        let server = crate::server::panic_tests::options("nowhere".as_ref(), options.durability);
        let watches = (DiskWatch::new(0), Watch::new(0));
        let changes = Changes::new(Vec::new(), unbounded_channel().0);
        let core = Core::new(db, config, clock, watches, &server, changes, &Notify::default()).unwrap();
        let core = Core { batch_time: Duration::MAX, ..core };
        let rules = Rules::new(ClientLimits::own(), false);
        Bench { core, inbox: Inbox::default(), rules, syncs }
    }

    /// A turn of the core, and some of what threads do beside it.
    async fn turn(&mut self, steps: usize) {
        self.syncs.of_core.store(true, Ordering::Relaxed);
        assert!(self.core.turn(&self.inbox, &self.rules).await);
        self.syncs.of_core.store(false, Ordering::Relaxed);
        for _ in 0..steps {
            if !self.core.db.step().unwrap() {
                break;
            }
        }
    }

    /// A reader whose requests come in when a sync has just begun: the syncs that end before each reply.
    fn read(&self, waits: &Rc<RefCell<Vec<u64>>>) {
        let (inbox, syncs, waits) = (self.inbox.clone(), Arc::clone(&self.syncs), Rc::clone(waits));
        tokio::task::spawn_local(async move {
            let conn = inbox.open(|conn| Session::new(conn, "reader".to_owned(), true));
            loop {
                syncs.began.notified().await;
                // It is over by the time that anything else runs; that one counts.
                let before = syncs.ended() - 1;
                ask(&inbox, conn, &["GET", "k1"]).await;
                waits.borrow_mut().push(syncs.ended() - before);
            }
        });
    }

    /// A writer of so many values.
    fn write(&self, writer: usize, times: usize, left: &Rc<Cell<usize>>) {
        let (inbox, left) = (self.inbox.clone(), Rc::clone(left));
        left.set(left.get() + 1);
        tokio::task::spawn_local(async move {
            let conn = inbox.open(|conn| Session::new(conn, "writer".to_owned(), true));
            let (key, value) = (format!("k{writer}"), "v".repeat(64));
            for _ in 0..times {
                ask(&inbox, conn, &["SET", &key, &value]).await;
            }
            left.set(left.get() - 1);
        });
    }
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build_local(LocalOptions::default()).unwrap().block_on(test);
}

#[test]
fn a_read_beside_writers_waits_for_two_syncs_at_most() {
    run(async {
        let mut bench = Bench::new();
        let (waits, left) = (Rc::default(), Rc::default());
        (0..READERS).for_each(|_| bench.read(&waits));
        (0..WRITERS).for_each(|writer| bench.write(writer, 60, &left));
        let mut turns = 0;
        while left.get() > 0 {
            turns += 1;
            // A checkpoint takes several batches to reach the disk.
            bench.turn(if turns % 4 == 0 { usize::MAX } else { 1 }).await;
        }
        let waits = waits.borrow();
        assert!(waits.len() > 100, "{} reads", waits.len());
        assert!(waits.iter().all(|syncs| (1..=2).contains(syncs)), "{waits:?}");
        let stats = bench.core.db.stats();
        let files = bench.syncs.files.lock().unwrap();
        let changes = files.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(stats.checkpoints >= 3 && changes >= 3, "{} checkpoints, {changes} changes", stats.checkpoints);
        assert!(files.iter().all(|file| file.starts_with("data.redb-log-")), "{files:?}");
    });
}

#[test]
fn a_read_after_an_idle_spell_waits_for_no_sync() {
    run(async {
        let mut bench = Bench::new();
        let left = Rc::default();
        bench.write(1, 1, &left);
        while left.get() > 0 {
            bench.turn(0).await;
        }
        let (before, made) = (bench.syncs.ended(), bench.core.db.stats().checkpoints);
        let reader = bench.inbox.open(|conn| Session::new(conn, "reader".to_owned(), true));
        let (inbox, done) = (bench.inbox.clone(), Rc::new(Cell::new(0)));
        let count = Rc::clone(&done);
        bench.turn(0).await;
        bench.core.last_busy = Instant::now().checked_sub(2 * IDLE).unwrap();
        tokio::task::spawn_local(async move {
            // The checkpoint of the idle spell comes between the two.
            for _ in 0..2 {
                ask(&inbox, reader, &["GET", "k1"]).await;
                count.set(count.get() + 1);
            }
        });
        bench.core.run_batch(&bench.inbox, &bench.rules).await.unwrap();
        assert_eq!(bench.core.db.stats().checkpoints, made + 1);
        while done.get() < 2 {
            bench.turn(0).await;
        }
        assert_eq!(bench.syncs.ended(), before, "{:?}", bench.syncs.files);
    });
}
