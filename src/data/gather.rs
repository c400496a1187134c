//! Many short texts in one buffer: reading a range allocates twice, not once for each of its elements.

use bytes::{Bytes, BytesMut};

/// Texts, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Gather {
    bytes: BytesMut,
    ends: Vec<usize>,
}

impl Gather {
    /// Room for so many texts.
    pub(super) fn with_capacity(texts: u64) -> Gather {
        // No more than one turn reads at once; what is longer grows.
        Gather { bytes: BytesMut::new(), ends: Vec::with_capacity(usize::try_from(texts).unwrap_or(0).min(1 << 16)) }
    }

    /// Adds a text.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The texts in order; each keeps the buffer of all alive.
    pub(super) fn texts(self) -> impl ExactSizeIterator<Item = Bytes> {
        let (bytes, mut start) = (self.bytes.freeze(), 0);
        self.ends.into_iter().map(move |end| bytes.slice(std::mem::replace(&mut start, end)..end))
    }
}
