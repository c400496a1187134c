//! A folder that is read and never changed: whatever is written to it stays in memory. A store that a crash left is
//! opened in it exactly as a start would open it, and is as it was afterwards.
//!
//! Memory is taken for what an opening writes: the pages that the log's records change.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::files::{Disk, DiskFile, FileSystem};
use crate::storage::log_segment::NAMES;
use crate::storage::store_file::{DATA, RESTORING};

const BLOCK: usize = 4096;

/// The folder. What it shows of the real files is read where nobody has written.
#[derive(Debug)]
pub struct ShadowDisk {
    /// The real files, by the names that they have here.
    paths: BTreeMap<String, PathBuf>,
    /// What was opened or made; `None` is a file that was removed.
    files: Mutex<BTreeMap<String, Option<Arc<ShadowFile>>>>,
}

impl ShadowDisk {
    /// The store in a folder.
    #[must_use]
    pub fn of_folder(dir: &Path) -> ShadowDisk {
        let names = [DATA, NAMES[0], NAMES[1], RESTORING];
        ShadowDisk::of(names.into_iter().map(|name| (name.to_owned(), dir.join(name))).collect())
    }

    /// One file that is a whole store, a backup say.
    #[must_use]
    pub fn of_file(file: &Path) -> ShadowDisk {
        ShadowDisk::of(BTreeMap::from([(DATA.to_owned(), file.to_owned())]))
    }

    fn of(paths: BTreeMap<String, PathBuf>) -> ShadowDisk {
        ShadowDisk { paths, files: Mutex::default() }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Option<Arc<ShadowFile>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for ShadowDisk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let mut files = self.files();
        if let Some(known) = files.get(name) {
            return Ok(known.clone().map(|file| file as Arc<dyn DiskFile>));
        }
        let Some(path) = self.paths.get(name) else { return Ok(None) };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.metadata()?.len();
        let file = Arc::new(ShadowFile { real: Some(file), state: Mutex::new(State::real(len)) });
        files.insert(name.to_owned(), Some(Arc::clone(&file)));
        Ok(Some(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(ShadowFile { real: None, state: Mutex::default() });
        self.files().insert(name.to_owned(), Some(Arc::clone(&file)));
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.open(from)?;
        let mut files = self.files();
        let file = files.insert(from.to_owned(), None).flatten().ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.open(name)?;
        self.files().insert(name.to_owned(), None).flatten().ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        for name in self.paths.keys() {
            self.open(name)?;
        }
        Ok(self.files().iter().filter(|(_, file)| file.is_some()).map(|(name, _)| name.clone()).collect())
    }

    fn space(&self) -> io::Result<Option<FileSystem>> {
        // What is written stays in memory.
        Ok(None)
    }

    fn describe(&self, name: &str) -> String {
        self.paths.get(name).map_or_else(|| name.to_owned(), |path| path.display().to_string())
    }
}

#[derive(Debug)]
struct ShadowFile {
    real: Option<File>,
    state: Mutex<State>,
}

/// A file as it would be.
#[derive(Debug, Default)]
struct State {
    len: u64,
    /// Up to here the real file is still there, but for the blocks below.
    real_len: u64,
    /// What was written, by the number of the block.
    blocks: HashMap<u64, Box<[u8]>>,
}

impl State {
    fn real(len: u64) -> State {
        State { len, real_len: len, blocks: HashMap::new() }
    }

    /// Fills `out` with what the real file has at `offset`, and with zeros behind its end.
    fn read_real(&self, real: Option<&File>, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(self.real_len.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        if let Some(real) = real {
            real.read_exact_at(&mut out[..there], offset)?;
        }
        out[there..].fill(0);
        Ok(())
    }
}

impl ShadowFile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blocks that a range touches: the block, where the part begins in it, and which bytes of the range these are.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % BLOCK as u64) as usize;
        let part = (BLOCK - within).min(len - done);
        let range = done..done + part;
        done += part;
        (part > 0).then_some((at / BLOCK as u64, within, range))
    })
}

impl DiskFile for ShadowFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let state = self.state();
        let len = usize::try_from(state.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let out = &mut out[..len];
        state.read_real(self.real.as_ref(), offset, out)?;
        if !state.blocks.is_empty() {
            for (block, within, range) in parts(offset, len) {
                if let Some(written) = state.blocks.get(&block) {
                    let part = range.len();
                    out[range].copy_from_slice(&written[within..within + part]);
                }
            }
        }
        Ok(len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        for (block, within, range) in parts(offset, bytes.len()) {
            let mut changed = match state.blocks.remove(&block) {
                Some(changed) => changed,
                None => {
                    let mut read = vec![0; BLOCK];
                    state.read_real(self.real.as_ref(), block * BLOCK as u64, &mut read)?;
                    read.into_boxed_slice()
                }
            };
            changed[within..within + range.len()].copy_from_slice(&bytes[range]);
            state.blocks.insert(block, changed);
        }
        state.len = state.len.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        let kept = len.div_ceil(BLOCK as u64);
        state.blocks.retain(|block, _| *block < kept);
        let within = (len % BLOCK as u64) as usize;
        if within > 0
            && let Some(last) = state.blocks.get_mut(&(len / BLOCK as u64))
        {
            last[within..].fill(0);
        }
        state.real_len = state.real_len.min(len);
        state.len = len;
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn allocated(&self) -> io::Result<u64> {
        // As far as anybody could tell without having written it: a block beyond the real file takes its place.
        let state = self.state();
        let real = self.real.as_ref().map_or(Ok(0), |file| file.metadata().map(|found| found.blocks() * 512))?;
        let beyond = state.blocks.keys().filter(|block| **block * BLOCK as u64 >= state.real_len).count();
        Ok(real + (beyond * BLOCK) as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..30_000_u64, prop::collection::vec(any::<u8>(), 1..9000)).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            1 => (0..40_000_u64).prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_shadow_reads_as_the_file_would_and_leaves_it_alone(
            real in prop::collection::vec(any::<u8>(), 0..20_000),
            steps in prop::collection::vec(step(), 0..12),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(DATA);
            std::fs::write(&path, &real).unwrap();
            let file = ShadowDisk::of_folder(dir.path()).open(DATA).unwrap().unwrap();
            let mut expected = real.clone();
            for step in steps {
                match step {
                    Step::Write(at, bytes) => {
                        let (at, end) = (at as usize, at as usize + bytes.len());
                        expected.resize(expected.len().max(end), 0);
                        expected[at..end].copy_from_slice(&bytes);
                        file.write_at(at as u64, &bytes).unwrap();
                    }
                    Step::SetLen(len) => {
                        expected.resize(len as usize, 0);
                        file.set_len(len).unwrap();
                    }
                }
                let mut found = vec![1; expected.len() + 10];
                let read = file.read_at(0, &mut found).unwrap();
                prop_assert_eq!(&found[..read], &expected[..]);
            }
            prop_assert_eq!(std::fs::read(&path).unwrap(), real);
        }
    }
}
