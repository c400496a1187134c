//! Which pages of `data.redb` are free, as redb itself saved it with its last durable commit.
//!
//! redb tells how many pages are free only by walking every tree, and never which. But each durable commit of a store
//! saves the state of its allocator in a table of redb's own (`store_file::commit_durably` asks for that, so that an opening
//! need not walk the file), and the next opening allocates by it. Here that table is read, by the description of redb's
//! file format 3 ("File format", `docs/design.md` in its repository). Nothing is taken on trust: what does not look as
//! described is an error, and then nothing is known about free pages.

use std::io;
use std::ops::Range;

use crate::storage::files::DiskFile;

const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const HEADER_BYTES: usize = 320;
const SLOTS: usize = 64;
const SLOT_BYTES: usize = 128;
const FORMAT: u8 = 3;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
const CHECKSUM_BYTES: usize = 16;
/// The name of redb's own table, and its keys: a byte that says what, and the number of the region.
const TABLE: &[u8] = b"allocator_state";
const KEY_BYTES: usize = 5;
const REGION: u8 = 3;
const TRANSACTION: u8 = 5;
/// A tree is no higher, an allocator knows no larger pieces (2^20 pages), a node is no larger.
const MAX_HEIGHT: usize = 20;
const MAX_ORDER: u8 = 20;
/// Regions of a file, and pages of a region, at most.
const PARTS: u64 = 1 << 20;
/// Pieces that are listed, the largest of all.
const MAX_PIECES: usize = 1 << 16;

/// What is done with a key and its value; `None` where they are not as they should be.
type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Option<()> + 'a;

/// What was free when redb committed durably last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FreePages {
    /// Where the free pieces of the file are, the largest first, [`MAX_PIECES`] at most.
    pub(super) pieces: Vec<Range<u64>>,
    /// Bytes of all free pages.
    pub(super) free: u64,
    /// Bytes of the pages in use, the header's included.
    pub(super) used: u64,
}

/// Reads what is free in a file whose last commit is whole, and to which nobody writes meanwhile.
///
/// # Errors
/// When the file cannot be read, or is not as described.
pub(super) fn read(file: &dyn DiskFile) -> io::Result<FreePages> {
    let layout = Layout::read(file)?;
    let mut state = None;
    layout.walk(layout.system_root, None, &mut |key, value| {
        if key == TABLE {
            state = Some(table_root(value)?);
        }
        Some(())
    })?;
    let Some(Some(root)) = state else { return Err(odd("no state of its allocator")) };
    let (mut regions, mut transaction) = (Vec::new(), None);
    layout.walk(root, Some(KEY_BYTES), &mut |key, value| {
        match *key.first()? {
            REGION => regions.push((u32_at(key, 1)?, value.to_vec())),
            TRANSACTION => transaction = Some(u64_at(value, 0)?),
            _ => {}
        }
        Some(())
    })?;
    if transaction != Some(layout.transaction) {
        return Err(odd("the state of its allocator is not of its last commit"));
    }
    layout.collect(&regions).ok_or_else(|| odd("a state of its allocator that makes no sense"))
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("reading which pages are free: {what}"))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// An offset that stands in a page.
fn end_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

/// The root of a table, from its definition; `None` inside when it is empty.
fn table_root(definition: &[u8]) -> Option<Option<u64>> {
    // Its kind, its length, and whether there is a root.
    let root = u64_at(definition, 10)?;
    Some((*definition.get(9)? != 0).then_some(root))
}

/// How the file is laid out, and what its last commit left.
#[derive(Debug)]
struct Layout<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    page: u64,
    region_header_pages: u64,
    region_pages: u64,
    system_root: u64,
    transaction: u64,
}

impl Layout<'_> {
    fn read(file: &dyn DiskFile) -> io::Result<Layout<'_>> {
        let mut header = [0; HEADER_BYTES];
        if file.read_at(0, &mut header)? < HEADER_BYTES || !header.starts_with(MAGIC) {
            return Err(odd("no header of redb"));
        }
        let len = file.len()?;
        Layout::parse(file, len, &header).ok_or_else(|| odd("a header that makes no sense"))
    }

    fn parse<'a>(file: &'a dyn DiskFile, len: u64, header: &[u8]) -> Option<Layout<'a>> {
        let primary = SLOTS + SLOT_BYTES * usize::from(header.get(MAGIC.len())? & 1);
        let slot = header.get(primary..primary + SLOT_BYTES)?;
        let [page, region_header_pages, region_pages] = [12, 16, 20].map(|at| u32_at(header, at).map(u64::from));
        let (page, region_header_pages, region_pages) = (page?, region_header_pages?, region_pages?);
        // Format, and that there is a system root.
        let is_known = slot[0] == FORMAT && slot[2] != 0;
        let is_sound = page.is_power_of_two() && (HEADER_BYTES as u64..=1 << 16).contains(&page);
        let is_sound = is_sound && region_header_pages <= PARTS && (1..=PARTS).contains(&region_pages);
        (is_known && is_sound).then_some(())?;
        Some(Layout {
            file,
            len,
            page,
            region_header_pages,
            region_pages,
            system_root: u64_at(slot, 40)?,
            transaction: u64_at(slot, 104)?,
        })
    }

    /// Where a region's pages begin.
    fn region_start(&self, region: u64) -> u64 {
        self.page * (1 + region * (self.region_header_pages + self.region_pages) + self.region_header_pages)
    }

    /// The bytes of a page; `number` is its index (20 bits), its region (20 bits), and in the highest five bits how often
    /// it is doubled.
    fn page(&self, number: u64) -> io::Result<Vec<u8>> {
        let order = number >> 59;
        let (index, region) = (number & (PARTS - 1) >> order.min(u64::from(MAX_ORDER)), number >> 20 & (PARTS - 1));
        let len = self.page << order.min(u64::from(MAX_ORDER));
        let start = self.region_start(region) + index * len;
        if order > u64::from(MAX_ORDER) || start + len > self.len {
            return Err(odd("a page outside the file"));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        if self.file.read_at(start, &mut bytes)? < bytes.len() {
            return Err(odd("a page that the file does not have"));
        }
        Ok(bytes)
    }

    /// Calls `each` for every key and value of a tree.
    fn walk(&self, root: u64, key_bytes: Option<usize>, each: &mut Each<'_>) -> io::Result<()> {
        let mut open = vec![(root, 1)];
        let mut most = self.len / self.page;
        while let Some((number, height)) = open.pop() {
            let page = self.page(number)?;
            let strange = || odd("a page that makes no sense");
            most = most.checked_sub(1).ok_or_else(strange)?;
            match page[0] {
                LEAF => leaf(&page, key_bytes, each).ok_or_else(strange)?,
                BRANCH if height < MAX_HEIGHT => {
                    let below = children(&page).ok_or_else(strange)?;
                    open.extend(below.into_iter().map(|child| (child, height + 1)));
                }
                _ => return Err(strange()),
            }
        }
        Ok(())
    }

    /// Puts together what the allocators of all regions say.
    fn collect(&self, regions: &[(u32, Vec<u8>)]) -> Option<FreePages> {
        let mut found = FreePages { used: self.page, ..FreePages::default() };
        let mut allocators = Vec::new();
        for (region, state) in regions {
            let allocator = Allocator::parse(state, self.region_pages)?;
            (u64::from(*region) < PARTS).then_some(())?;
            found.used += allocator.pages * self.page;
            allocators.push((self.region_start(u64::from(*region)), allocator));
        }
        for order in (0..=MAX_ORDER).rev() {
            for (start, allocator) in &allocators {
                let piece = self.page << order;
                allocator.free(order, &mut |number| {
                    found.free += piece;
                    if found.pieces.len() < MAX_PIECES {
                        let from = start + number * piece;
                        found.pieces.push(from..from + piece);
                    }
                });
            }
        }
        found.used = found.used.checked_sub(found.free)?;
        Some(found)
    }
}

/// Calls `each` for the keys and values of a leaf. Values have any length, and keys without `key_bytes` too.
fn leaf(page: &[u8], key_bytes: Option<usize>, each: &mut Each<'_>) -> Option<()> {
    let pairs = usize::from(u16_at(page, 2)?);
    let key_ends = if key_bytes.is_none() { 4 * pairs } else { 0 };
    let keys = 4 + key_ends + 4 * pairs;
    let key_end = |n: usize| match key_bytes {
        Some(bytes) => Some(keys + bytes * (n + 1)),
        None => end_at(page, 4 + 4 * n),
    };
    let (mut key, mut value) = (keys, key_end(pairs.checked_sub(1)?)?);
    for n in 0..pairs {
        let (key_end, value_end) = (key_end(n)?, end_at(page, 4 + key_ends + 4 * n)?);
        each(page.get(key..key_end)?, page.get(value..value_end)?)?;
        (key, value) = (key_end, value_end);
    }
    Some(())
}

/// The pages below a branch.
fn children(page: &[u8]) -> Option<Vec<u64>> {
    let count = usize::from(u16_at(page, 2)?) + 1;
    (0..count).map(|n| u64_at(page, 8 + CHECKSUM_BYTES * count + 8 * n)).collect()
}

/// What a region's allocator saved: for each power of two which pieces of so many pages are free.
#[derive(Debug)]
struct Allocator<'a> {
    pages: u64,
    /// By the power of two, the words of a bitmap in which a free piece is a zero.
    orders: Vec<(u64, &'a [u8])>,
}

impl Allocator<'_> {
    fn parse(state: &[u8], most: u64) -> Option<Allocator<'_>> {
        let (max_order, pages) = (*state.first()?, u64::from(u32_at(state, 4)?));
        (max_order <= MAX_ORDER && (1..=most).contains(&pages)).then_some(())?;
        let count = usize::from(max_order) + 1;
        let (mut from, mut orders) = (8 + 4 * count, Vec::with_capacity(count));
        for order in 0..count {
            let end = end_at(state, 8 + 4 * order)?;
            let (bits, words) = bitmap(state.get(from..end)?)?;
            (bits == pages >> order).then_some(())?;
            orders.push((bits, words));
            from = end;
        }
        Some(Allocator { pages, orders })
    }

    /// Calls `each` with the number of every free piece of so many pages.
    fn free(&self, order: u8, each: &mut dyn FnMut(u64)) {
        let Some((bits, words)) = self.orders.get(usize::from(order)) else { return };
        for (word, first) in words.as_chunks::<8>().0.iter().zip((0..*bits).step_by(64)) {
            let mut free = !u64::from_le_bytes(*word);
            while free != 0 {
                let bit = u64::from(free.trailing_zeros());
                if first + bit < *bits {
                    each(first + bit);
                }
                free &= free - 1;
            }
        }
    }
}

/// The lowest level of a bitmap that stands with an index above it: how many bits, and its words.
fn bitmap(state: &[u8]) -> Option<(u64, &[u8])> {
    let height = end_at(state, 0)?;
    (1..=MAX_HEIGHT).contains(&height).then_some(())?;
    let from = match height {
        1 => 4 + 4,
        _ => end_at(state, 4 * (height - 1))?,
    };
    let level = state.get(from..end_at(state, 4 * height)?)?;
    let bits = u32_at(level, 0)?;
    let words = level.get(4..4 + 8 * usize::try_from(bits.div_ceil(64)).ok()?)?;
    Some((bits.into(), words))
}

#[cfg(test)]
#[path = "free_pages_tests.rs"]
mod tests;
