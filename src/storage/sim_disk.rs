//! A folder in memory that fails and crashes on demand; for tests and the simulator.
//!
//! It keeps what was synced apart from what was only written. At a power cut every 512-byte sector written since the
//! last sync has one of the contents it has had since, chosen at random; so has every length, and of the names only
//! those are certain that a sync of the folder covered. A kill leaves everything that was written. A failed sync
//! marks what it did not write as clean, as kernels do: a later one will not write it either.

mod faults;
mod inode;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;

use crate::storage::files::{Disk, DiskFile, FileSystem};
use inode::{Inode, PAGE};

pub use faults::{Failing, Faults, Operation};

const BLOCK: u64 = PAGE as u64;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// How often a slow sync of a disk that several threads use gives way to them before it ends.
const YIELDS: u32 = 20;

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Clone)]
struct World {
    rng: Rng,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    pending: Vec<NameChange>,
    faults: Faults,
    ios: u64,
    reads: u64,
    /// How many writes there were, changes of length included.
    writes: u64,
    /// The next syncs began when there were so many.
    syncs_began: Option<u64>,
    /// It cannot make holes in files.
    gives_nothing_back: bool,
    powered: bool,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(String, usize),
    Rename(String, String, usize),
    Unlink(String),
}

impl SimDisk {
    /// An empty disk; what its crashes leave depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        let world = World {
            rng: Rng::with_seed(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            pending: Vec::new(),
            faults: Faults::default(),
            ios: 0,
            reads: 0,
            writes: 0,
            syncs_began: None,
            gives_nothing_back: false,
            powered: true,
        };
        SimDisk { world: Arc::new(Mutex::new(world)) }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn from_world(world: World) -> SimDisk {
        SimDisk { world: Arc::new(Mutex::new(world)) }
    }

    /// Sets what is to go wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        let mut world = self.world();
        world.faults = faults;
        world.ios = 0;
    }

    /// Sets how many bytes may be allocated from now on; everything else that is to go wrong stays.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.world().faults.capacity = capacity;
    }

    /// The I/Os since [`SimDisk::set_faults`].
    #[must_use]
    pub fn ios(&self) -> u64 {
        self.world().ios
    }

    /// A moment for [`SimDisk::sync_as_of`].
    #[must_use]
    pub fn moment(&self) -> u64 {
        self.world().writes
    }

    /// From now on syncs are such that began at that moment and end only when they are called: they cover nothing that
    /// was written since. `None`: they begin when they are called again.
    pub fn sync_as_of(&self, moment: Option<u64>) {
        self.world().syncs_began = moment;
    }

    /// From now on, and after crashes, it is one of the file systems that cannot make holes in files.
    pub fn give_nothing_back(&self) {
        self.world().gives_nothing_back = true;
    }

    /// Bytes that are allocated, in blocks.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.world().allocated()
    }

    /// How often a file was read so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.world().reads
    }

    /// Cuts the power: the disk as found at the next start. This one does nothing any more.
    #[must_use]
    pub fn crash(&self) -> SimDisk {
        let mut world = self.world();
        world.powered = false;
        SimDisk::from_world(world.after_power_cut())
    }

    /// Kills the process: the disk with all that was written. This one does nothing any more.
    #[must_use]
    pub fn kill(&self) -> SimDisk {
        let mut world = self.world();
        let survivor = world.of_the_next();
        world.powered = false;
        SimDisk::from_world(survivor)
    }

    /// A copy of the disk, to come back to.
    #[must_use]
    pub fn fork(&self) -> SimDisk {
        SimDisk::from_world(self.world().of_the_next())
    }

    /// The bytes of a file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(name).map(|inode| {
            let inode = &world.inodes[*inode];
            let mut bytes = vec![0; inode.len()];
            inode.read(0, &mut bytes);
            bytes
        })
    }

    /// Puts a file in place, synced, as somebody would who copies files about.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut world = self.world();
        world.inodes.push(Inode::with(bytes));
        let inode = world.inodes.len() - 1;
        world.names.insert(name.to_owned(), inode);
        world.synced_names.insert(name.to_owned(), inode);
    }

    /// Removes a file for good, as somebody would who tidies up.
    pub fn lose(&self, name: &str) {
        let mut world = self.world();
        world.names.remove(name);
        world.synced_names.remove(name);
    }
}

impl World {
    /// Counts an I/O. True when it is the one at which the power goes.
    fn count(&mut self) -> io::Result<bool> {
        self.check_power()?;
        let number = self.ios;
        self.ios += 1;
        if self.faults.power_off_at.is_some_and(|at| number >= at) {
            self.powered = false;
            return Ok(true);
        }
        Ok(false)
    }

    fn check_power(&self) -> io::Result<()> {
        if self.powered { Ok(()) } else { Err(io::Error::other("the power is off")) }
    }

    fn power_is_off(&self) -> io::Error {
        io::Error::other("the power went off")
    }

    /// As the next process finds it.
    fn of_the_next(&self) -> World {
        World { faults: Faults::default(), ios: 0, syncs_began: None, powered: true, ..self.clone() }
    }

    fn fails(&mut self, operation: Operation, inode: usize) -> bool {
        let World { faults, names, .. } = self;
        faults.fails(operation, |name| names.get(name) == Some(&inode))
    }

    fn allocated(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].blocks() as u64 * BLOCK).sum()
    }

    fn write(&mut self, inode: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let off = self.count()?;
        let failed = self.fails(Operation::Write, inode);
        self.writes += 1;
        if off || failed {
            let part = self.rng.usize(..=bytes.len());
            self.inodes[inode].write(self.writes, offset, &bytes[..part]);
            return Err(if off { self.power_is_off() } else { io::Error::from_raw_os_error(EIO) });
        }
        let mut fitting = bytes.len();
        if let Some(capacity) = self.faults.capacity {
            let free = capacity.saturating_sub(self.allocated()) / BLOCK;
            fitting = self.inodes[inode].fitting(offset, bytes.len(), usize::try_from(free).unwrap_or(usize::MAX));
        }
        self.inodes[inode].write(self.writes, offset, &bytes[..fitting]);
        if fitting < bytes.len() { Err(io::Error::from_raw_os_error(ENOSPC)) } else { Ok(()) }
    }

    /// Begins a sync: the write up to which it covers.
    fn begin_sync(&mut self, inode: usize) -> io::Result<u64> {
        if self.count()? {
            return Err(self.power_is_off());
        }
        if self.fails(Operation::Sync, inode) {
            let World { rng, inodes, .. } = self;
            // A length is metadata, which no failed write of data marks as clean.
            inodes[inode].settle(rng);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(self.syncs_began.unwrap_or(self.writes))
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        if self.count()? {
            if self.rng.bool() {
                apply_name(&mut self.names, &change);
                self.pending.push(change);
            }
            return Err(self.power_is_off());
        }
        apply_name(&mut self.names, &change);
        self.pending.push(change);
        Ok(())
    }

    fn after_power_cut(&self) -> World {
        let mut rng = self.rng.clone();
        let mut names = self.synced_names.clone();
        for change in &self.pending {
            if rng.bool() {
                apply_name(&mut names, change);
            }
        }
        let mut inodes = Vec::new();
        for inode in names.values_mut() {
            let mut survivor = self.inodes[*inode].clone();
            survivor.cut_power(&mut rng);
            inodes.push(survivor);
            *inode = inodes.len() - 1;
        }
        let synced_names = names.clone();
        World {
            rng,
            inodes,
            names,
            synced_names,
            pending: Vec::new(),
            faults: Faults::default(),
            ios: 0,
            reads: 0,
            writes: self.writes,
            syncs_began: None,
            gives_nothing_back: self.gives_nothing_back,
            powered: true,
        }
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Link(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Rename(from, to, inode) => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
        NameChange::Unlink(name) => {
            names.remove(name);
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let world = self.world();
        world.check_power()?;
        let file = world.names.get(name).map(|inode| SimFile { disk: self.clone(), inode: *inode });
        Ok(file.map(|file| Arc::new(file) as Arc<dyn DiskFile>))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        let inode = match world.names.get(name).copied() {
            Some(inode) => {
                if world.count()? {
                    return Err(world.power_is_off());
                }
                world.writes += 1;
                let write = world.writes;
                world.inodes[inode].set_len(write, 0);
                inode
            }
            None => {
                world.inodes.push(Inode::default());
                let inode = world.inodes.len() - 1;
                world.change_name(NameChange::Link(name.to_owned(), inode))?;
                inode
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let inode = world.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        world.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), inode))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        if !world.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.change_name(NameChange::Unlink(name.to_owned()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut world = self.world();
        let off = world.count()?;
        let failed = world.faults.fails(Operation::Sync, |_| false);
        if off || failed {
            return Err(if off { world.power_is_off() } else { io::Error::from_raw_os_error(EIO) });
        }
        world.synced_names = world.names.clone();
        world.pending.clear();
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let world = self.world();
        world.check_power()?;
        Ok(world.names.keys().cloned().collect())
    }

    fn space(&self) -> io::Result<Option<FileSystem>> {
        let world = self.world();
        let left = |total: u64| FileSystem { available: total.saturating_sub(world.allocated()), total };
        Ok(world.faults.capacity.map(left))
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut world = self.disk.world();
        world.check_power()?;
        world.reads += 1;
        if world.fails(Operation::Read, self.inode) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(world.inodes[self.inode].read(usize::try_from(offset).unwrap_or(usize::MAX), out))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.world().write(self.inode, usize::try_from(offset).map_err(io::Error::other)?, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        let off = world.count()?;
        if !off || world.rng.bool() {
            world.writes += 1;
            let write = world.writes;
            world.inodes[self.inode].set_len(write, usize::try_from(len).map_err(io::Error::other)?);
        }
        if off { Err(world.power_is_off()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        let world = self.disk.world();
        world.check_power()?;
        Ok(world.inodes[self.inode].len() as u64)
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.disk.world().inodes[self.inode].blocks() as u64 * BLOCK)
    }

    fn give_back(&self, offset: u64, len: u64) -> io::Result<bool> {
        let mut world = self.disk.world();
        let off = world.count()?;
        let failed = world.fails(Operation::Write, self.inode);
        if world.gives_nothing_back {
            return Ok(false);
        }
        if !off && !failed || world.rng.bool() {
            world.writes += 1;
            let write = world.writes;
            let [offset, len] = [offset, len].map(usize::try_from);
            world.inodes[self.inode].give_back(
                write,
                offset.map_err(io::Error::other)?,
                len.map_err(io::Error::other)?,
            );
        }
        match (off, failed) {
            (true, _) => Err(world.power_is_off()),
            (_, true) => Err(io::Error::from_raw_os_error(EIO)),
            _ => Ok(true),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        let covered = world.begin_sync(self.inode)?;
        if world.faults.slow_syncs {
            drop(world);
            (0..YIELDS).for_each(|_| std::thread::yield_now());
            world = self.disk.world();
            world.check_power()?;
        }
        world.inodes[self.inode].sync(covered);
        Ok(())
    }
}

#[cfg(test)]
#[path = "sim_disk_tests.rs"]
mod tests;
