//! One simulated file: what the process sees, what is certain on the disk, and what may be there after a power cut.
//!
//! Contents stand in pages that copies share until one of them writes, so that a copy of a disk costs little.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

const SECTOR: usize = 512;
/// Bytes of a page, and of a block that takes up space.
pub(super) const PAGE: usize = 4096;
const SECTORS: usize = PAGE / SECTOR;
static ZEROS: [u8; PAGE] = [0; PAGE];

/// A page; `None` has never been written and reads as zeros.
type Page = Option<Arc<[u8; PAGE]>>;

fn bytes(page: &Page) -> &[u8; PAGE] {
    page.as_deref().unwrap_or(&ZEROS)
}

/// Bytes in pages; those behind the file's end are zeros.
#[derive(Debug, Clone, Default)]
struct Contents(Vec<Page>);

impl Contents {
    fn page(&self, number: usize) -> Page {
        self.0.get(number).cloned().flatten()
    }

    fn slot(&mut self, number: usize) -> &mut Page {
        if self.0.len() <= number {
            self.0.resize(number + 1, None);
        }
        &mut self.0[number]
    }

    fn put(&mut self, number: usize, page: Page) {
        *self.slot(number) = page;
    }

    fn write(&mut self, offset: usize, from: &[u8]) {
        let mut at = offset;
        let mut rest = from;
        while !rest.is_empty() {
            let (number, within) = (at / PAGE, at % PAGE);
            let (now, later) = rest.split_at(rest.len().min(PAGE - within));
            let page = self.slot(number).get_or_insert_with(|| Arc::new(ZEROS));
            Arc::make_mut(page)[within..within + now.len()].copy_from_slice(now);
            at += now.len();
            rest = later;
        }
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let (number, within) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let len = (out.len() - done).min(PAGE - within);
            let page = self.0.get(number).unwrap_or(&None);
            out[done..done + len].copy_from_slice(&bytes(page)[within..within + len]);
            done += len;
        }
    }

    /// Makes what stands behind `len` zeros.
    fn cut(&mut self, len: usize) {
        self.0.truncate(len.div_ceil(PAGE));
        if let Some(Some(last)) = self.0.get_mut(len / PAGE) {
            Arc::make_mut(last)[len % PAGE..].fill(0);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What the process sees.
    data: Contents,
    len: usize,
    /// What is certain to be there after a power cut, but for what follows.
    synced: Contents,
    synced_len: usize,
    /// The contents that each page has had since it was last synced, each with the number of its write.
    dirty: BTreeMap<usize, Vec<(u64, Page)>>,
    /// The lengths that the file has had since it was last synced.
    lengths: Vec<(u64, usize)>,
}

impl Inode {
    /// A file that is on the disk as it is.
    pub(super) fn with(bytes: &[u8]) -> Inode {
        let mut inode = Inode::default();
        inode.write(0, 0, bytes);
        inode.sync(0);
        inode
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Blocks that take up space.
    pub(super) fn blocks(&self) -> usize {
        self.data.0.iter().flatten().count()
    }

    /// How many of the bytes of a write at `offset` fit when `free` more blocks may be taken.
    pub(super) fn fitting(&self, offset: usize, len: usize, mut free: usize) -> usize {
        for number in offset / PAGE..(offset + len).div_ceil(PAGE) {
            if self.data.0.get(number).is_none_or(Option::is_none) {
                match free.checked_sub(1) {
                    Some(left) => free = left,
                    None => return (number * PAGE).saturating_sub(offset),
                }
            }
        }
        len
    }

    /// Reads up to the end of the file: how many bytes.
    pub(super) fn read(&self, offset: usize, out: &mut [u8]) -> usize {
        let from = offset.min(self.len);
        let len = out.len().min(self.len - from);
        self.data.read(from, &mut out[..len]);
        len
    }

    /// Writes; `write` is a number that rises.
    pub(super) fn write(&mut self, write: u64, offset: usize, from: &[u8]) {
        if from.is_empty() {
            return;
        }
        let end = offset + from.len();
        if end > self.len {
            self.len = end;
            self.lengths.push((write, end));
        }
        self.data.write(offset, from);
        self.note_pages(write, offset / PAGE, end.div_ceil(PAGE));
    }

    /// Cuts or extends; `write` is a number that rises.
    pub(super) fn set_len(&mut self, write: u64, len: usize) {
        let old = std::mem::replace(&mut self.len, len);
        self.lengths.push((write, len));
        if len < old {
            self.data.cut(len);
            self.note_pages(write, len / PAGE, old.div_ceil(PAGE));
        }
    }

    /// Gives the pages of a range back: they are zeros, and take no space.
    pub(super) fn give_back(&mut self, write: u64, offset: usize, len: usize) {
        let pages = offset.div_ceil(PAGE)..((offset + len) / PAGE).min(self.data.0.len());
        for number in pages.clone() {
            self.data.put(number, None);
        }
        self.note_pages(write, pages.start, pages.end);
    }

    /// Notes the pages as they are now among the contents that they have had.
    fn note_pages(&mut self, write: u64, from: usize, to: usize) {
        for number in from..to {
            self.dirty.entry(number).or_default().push((write, self.data.page(number)));
        }
    }

    /// Makes certain what was written up to the write of this number; what came later stays as uncertain as it was.
    pub(super) fn sync(&mut self, upto: u64) {
        let Inode { synced, dirty, .. } = self;
        dirty.retain(|number, versions| {
            let covered = versions.partition_point(|(write, _)| *write <= upto);
            if let Some((_, page)) = versions.drain(..covered).next_back() {
                synced.put(*number, page);
            }
            !versions.is_empty()
        });
        let covered = self.lengths.partition_point(|(write, _)| *write <= upto);
        if let Some((_, len)) = self.lengths.drain(..covered).next_back() {
            self.synced_len = len;
        }
        self.synced.cut(self.synced_len);
    }

    /// Every sector of a dirty page reaches the disk in one of its versions, or not, and is clean.
    pub(super) fn settle(&mut self, rng: &mut Rng) {
        // Now and then all of it is lost, or all of it kept.
        let fate = rng.u8(..4);
        for (number, versions) in std::mem::take(&mut self.dirty) {
            let old = self.synced.page(number);
            let mut settled = *bytes(&old);
            for sector in 0..SECTORS {
                let chosen = match fate {
                    0 => 0,
                    1 => versions.len(),
                    _ => rng.usize(..=versions.len()),
                };
                if let Some((_, version)) = chosen.checked_sub(1).and_then(|chosen| versions.get(chosen)) {
                    let range = sector * SECTOR..(sector + 1) * SECTOR;
                    settled[range.clone()].copy_from_slice(&bytes(version)[range]);
                }
            }
            self.synced.put(number, Some(Arc::new(settled)));
        }
    }

    /// Leaves what a power cut leaves.
    pub(super) fn cut_power(&mut self, rng: &mut Rng) {
        self.settle(rng);
        let len = match rng.usize(..=self.lengths.len()) {
            0 => self.synced_len,
            chosen => self.lengths[chosen - 1].1,
        };
        self.synced.cut(len);
        (self.synced_len, self.len) = (len, len);
        self.lengths.clear();
        self.data = self.synced.clone();
    }
}
