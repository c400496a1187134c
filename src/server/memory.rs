//! What the allocator does with memory that a checkpoint frees.

use std::hint::black_box;

/// Freed memory that the process keeps for the next checkpoint, in bytes: half of what glibc's allocator then allows.
const KEPT_BYTES: usize = 16 << 20;

/// Lets glibc's allocator keep what is freed, up to twice [`KEPT_BYTES`], instead of 128 KiB.
///
/// A checkpoint frees some megabytes of pages, the next one needs them again. Giving them back to the system in
/// between costs a page fault for each: half of the processor's time under pipelined ZADDs. glibc raises its limits
/// when a large block is freed (`mallopt(3)`, M_MMAP_THRESHOLD); the block is never touched, so it takes no memory.
/// Other allocators take no notice.
pub(super) fn keep_freed() {
    drop(black_box(Vec::<u8>::with_capacity(KEPT_BYTES)));
}
