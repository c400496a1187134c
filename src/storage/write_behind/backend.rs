//! What redb sees of it: a file in which every write is done at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{BEHIND, Op, WriteBehind};

/// What redb holds.
#[derive(Debug)]
pub(in crate::storage) struct Backend(pub(in crate::storage) Arc<WriteBehind>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (patches, cut) = {
            let state = self.0.state();
            let end = offset.saturating_add(out.len() as u64);
            if end > state.len {
                let message = format!("reading {offset}..{end} of a file of {} bytes", state.len);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            let cut = state.cuts.iter().map(|(_, len)| *len).min().unwrap_or(u64::MAX);
            (state.overlay.patches(offset, out.len()), cut)
        };
        if !patches.cover(offset, out.len()) {
            let read = self.0.file.read_at(offset, out)?;
            // What the file does not have yet, or still has though it was cut, reads as zeros.
            let valid = usize::try_from(cut.saturating_sub(offset)).unwrap_or(usize::MAX).min(read);
            out[valid..].fill(0);
        }
        patches.apply(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.signals.check_io()?;
        let mut state = self.0.state();
        let number = self.0.push(&mut state, Op::SetLen(len));
        if len < state.len {
            state.overlay.cut(len);
            state.cuts.push_back((number, len));
        }
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.signals.check_io()?;
        let mut state = self.0.state();
        self.0.push(&mut state, Op::Barrier);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let data: Arc<[u8]> = data.into();
        let mut state = self.0.state();
        // However many wait already: redb writes pages even when it only reads, and who reads waits for no sync.
        self.0.signals.check_io()?;
        state.queued_bytes += data.len();
        if state.queued_bytes > BEHIND {
            self.0.is_behind.store(true, Ordering::Release);
        }
        if offset == 0 {
            let [before, since] = &mut state.uncommitted;
            *before = std::mem::take(since);
        } else {
            state.uncommitted[1].push(offset..offset + data.len() as u64);
        }
        let number = self.0.push(&mut state, Op::Write { offset, data: Arc::clone(&data) });
        state.overlay.put(offset, &data, number);
        state.len = state.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.wait_until(|state| state.queue.is_empty()).map_err(io::Error::other)
    }
}
