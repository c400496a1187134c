//! Many short texts in one buffer: reading a range allocates twice, not once for each of its elements.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};

use crate::storage::{self, Rows};

/// Texts, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Gather {
    bytes: BytesMut,
    ends: Vec<usize>,
    /// Why there is no more.
    refused: Option<storage::Error>,
}

impl Gather {
    /// Room for so many texts.
    pub(super) fn with_capacity(texts: u64) -> Gather {
        // No more than one turn reads at once; what is longer grows.
        let ends = Vec::with_capacity(usize::try_from(texts).unwrap_or(0).min(1 << 16));
        Gather { ends, ..Gather::default() }
    }

    /// Adds a text of these rows; breaks when that is more than may be collected, and [`Gather::texts`] fails.
    pub(super) fn push(&mut self, rows: &dyn Rows, text: &[u8]) -> ControlFlow<()> {
        if let Err(refused) = rows.collect(text.len()) {
            self.refused = Some(refused);
            return ControlFlow::Break(());
        }
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
        ControlFlow::Continue(())
    }

    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The texts in order; each keeps the buffer of all alive.
    ///
    /// # Errors
    /// [`ReplyTooLarge`](storage::Error::ReplyTooLarge) when one was more than may be collected.
    pub(super) fn texts(self) -> storage::Result<impl ExactSizeIterator<Item = Bytes>> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let (bytes, mut start) = (self.bytes.freeze(), 0);
        Ok(self.ends.into_iter().map(move |end| bytes.slice(std::mem::replace(&mut start, end)..end)))
    }
}
