//! A folder in memory that fails and crashes on demand; for tests and the simulator.
//!
//! It keeps what was synced apart from what was only written. At a power cut every 512-byte sector written since the
//! last sync has one of the contents it has had since, chosen at random; so has every length, and of the names only
//! those are certain that a sync of the folder covered. A kill leaves everything that was written. A failed sync
//! marks what it did not write as clean, as kernels do: a later one will not write it either.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;

use crate::storage::files::{Disk, DiskFile, FileSystem};

const SECTOR: usize = 512;
const BLOCK: u64 = 4096;

/// What is to go wrong. An I/O is anything but a read; the first after [`SimDisk::set_faults`] has number 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// At this I/O the power goes: it may still happen, in part or whole, and everything after it fails.
    pub power_off_at: Option<u64>,
    /// The first write at or after this I/O fails with EIO, having been done in part or not at all.
    pub fail_write_at: Option<u64>,
    /// The first sync at or after this I/O fails with EIO.
    pub fail_sync_at: Option<u64>,
    /// Reads of the file of this name fail with EIO.
    pub fail_reads_of: Option<String>,
    /// Bytes that may be allocated in all, in blocks of 4 KiB; a write past them fails with ENOSPC.
    pub capacity: Option<u64>,
}

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
    powered: bool,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(String, usize),
    Rename(String, String, usize),
    Unlink(String),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// What the process sees.
    data: Vec<u8>,
    /// What is certain to be there after a power cut, but for what follows.
    synced: Vec<u8>,
    synced_len: usize,
    /// The contents each sector has had since it was last synced.
    dirty: BTreeMap<usize, Vec<[u8; SECTOR]>>,
    /// The lengths the file has had since it was last synced.
    lengths: Vec<usize>,
    /// Blocks that take up space.
    blocks: HashSet<u64>,
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
        let survivor = World { faults: Faults::default(), ios: 0, powered: true, ..world.clone() };
        world.powered = false;
        SimDisk::from_world(survivor)
    }

    /// A copy of the disk, to come back to.
    #[must_use]
    pub fn fork(&self) -> SimDisk {
        SimDisk::from_world(World { faults: Faults::default(), ios: 0, powered: true, ..self.world().clone() })
    }

    /// The bytes of a file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(name).map(|inode| world.inodes[*inode].data.clone())
    }

    /// Puts a file in place, synced, as somebody would who copies files about.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut world = self.world();
        let blocks = (0..(bytes.len() as u64).div_ceil(BLOCK)).collect();
        let (data, synced, synced_len) = (bytes.to_vec(), bytes.to_vec(), bytes.len());
        let inode = Inode { data, synced, synced_len, blocks, ..Inode::default() };
        world.inodes.push(inode);
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

    /// Takes the fault at `at`, when its I/O has come.
    fn due(at: &mut Option<u64>, ios: u64) -> bool {
        let due = at.is_some_and(|at| ios > at);
        if due {
            *at = None;
        }
        due
    }

    fn allocated(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].blocks.len() as u64 * BLOCK).sum()
    }

    fn write(&mut self, inode: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let off = self.count()?;
        let failed = Self::due(&mut self.faults.fail_write_at, self.ios);
        if off || failed {
            let part = self.rng.usize(..=bytes.len());
            self.inodes[inode].write(offset, &bytes[..part]);
            return Err(if off { self.power_is_off() } else { io::Error::from_raw_os_error(5) });
        }
        if let Some(capacity) = self.faults.capacity {
            let blocks = offset as u64 / BLOCK..(offset as u64 + bytes.len() as u64).div_ceil(BLOCK);
            let missing = blocks.filter(|block| !self.inodes[inode].blocks.contains(block)).count() as u64;
            if missing > 0 && self.allocated() + missing * BLOCK > capacity {
                return Err(io::Error::from_raw_os_error(28));
            }
        }
        self.inodes[inode].write(offset, bytes);
        Ok(())
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        let off = self.count()?;
        let failed = Self::due(&mut self.faults.fail_sync_at, self.ios);
        let World { rng, inodes, .. } = self;
        let inode = &mut inodes[inode];
        if off || failed {
            inode.settle_sectors(rng);
            // A length is metadata, which no failed write of data marks as clean.
            if off { Err(self.power_is_off()) } else { Err(io::Error::from_raw_os_error(5)) }
        } else {
            inode.sync();
            Ok(())
        }
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

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.data.len() {
            self.data.resize(end, 0);
            self.lengths.push(end);
        }
        self.data[offset..end].copy_from_slice(bytes);
        self.blocks.extend(offset as u64 / BLOCK..(end as u64).div_ceil(BLOCK));
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let version = self.sector(sector);
            self.dirty.entry(sector).or_default().push(version);
        }
    }

    fn sector(&self, sector: usize) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.data.len());
        if from < to {
            bytes[..to - from].copy_from_slice(&self.data[from..to]);
        }
        bytes
    }

    fn set_len(&mut self, len: usize) {
        let old = self.data.len();
        self.data.resize(len, 0);
        self.lengths.push(len);
        if len < old {
            self.blocks.retain(|block| block * BLOCK < len as u64);
            for sector in len / SECTOR..old.div_ceil(SECTOR) {
                let version = self.sector(sector);
                self.dirty.entry(sector).or_default().push(version);
            }
        }
    }

    fn sync(&mut self) {
        self.synced.resize(self.data.len(), 0);
        self.synced_len = self.data.len();
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(self.data.len());
            if from < to {
                self.synced[from..to].copy_from_slice(&self.data[from..to]);
            }
        }
        self.lengths.clear();
    }

    /// Every dirty sector reaches the disk in one of its versions, or not, and is clean.
    fn settle_sectors(&mut self, rng: &mut Rng) {
        // Now and then all of it is lost, or all of it kept.
        let fate = rng.u8(..4);
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            let chosen = match fate {
                0 => 0,
                1 => versions.len(),
                _ => rng.usize(..=versions.len()),
            };
            if chosen > 0 {
                let from = sector * SECTOR;
                if self.synced.len() < from + SECTOR {
                    self.synced.resize(from + SECTOR, 0);
                }
                self.synced[from..from + SECTOR].copy_from_slice(&versions[chosen - 1]);
            }
        }
    }

    fn cut_power(&mut self, rng: &mut Rng) {
        self.settle_sectors(rng);
        let len = match rng.usize(..=self.lengths.len()) {
            0 => self.synced_len,
            chosen => self.lengths[chosen - 1],
        };
        self.synced.resize(len, 0);
        self.synced_len = len;
        self.lengths.clear();
        self.data.clone_from(&self.synced);
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
                world.count()?;
                world.inodes[inode].set_len(0);
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
        let ios = world.ios;
        let failed = World::due(&mut world.faults.fail_sync_at, ios);
        if off || failed {
            return Err(if off { world.power_is_off() } else { io::Error::from_raw_os_error(5) });
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
        let failing = world.faults.fail_reads_of.as_ref().and_then(|name| world.names.get(name));
        if failing == Some(&self.inode) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let data = &world.inodes[self.inode].data;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let len = out.len().min(data.len() - from);
        out[..len].copy_from_slice(&data[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.world().write(self.inode, usize::try_from(offset).map_err(io::Error::other)?, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        let off = world.count()?;
        if !off || world.rng.bool() {
            world.inodes[self.inode].set_len(usize::try_from(len).map_err(io::Error::other)?);
        }
        if off { Err(world.power_is_off()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        let world = self.disk.world();
        world.check_power()?;
        Ok(world.inodes[self.inode].data.len() as u64)
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.disk.world().inodes[self.inode].blocks.len() as u64 * BLOCK)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.world().sync(self.inode)
    }
}

#[cfg(test)]
#[path = "sim_disk_tests.rs"]
mod tests;
