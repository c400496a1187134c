//! Reads and writes of a connection's stream that keep nothing when they are over.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes asked of a stream at a time.
pub(super) const READ_BYTES: usize = 16 << 10;

/// Bytes of a request past which it gets a buffer of its own.
const LONG_BYTES: usize = 256 << 10;
/// The room of that buffer, to begin with. The system gives memory for it only as it is filled. glibc takes no block of more
/// than 32 MiB from its heap, where the growing buffers of many clients would leave holes that nobody can use.
const LONG_ROOM: usize = (32 << 20) + (64 << 10);

thread_local! {
    /// Where every connection of the thread reads to, so that one which waits for its client needs no room for what
    /// may come.
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Reads what there is onto the end of `input`; 0 when the other end has closed. Nothing is lost when the future is
/// dropped before it is ready.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> io::Result<usize> {
    if input.len() >= READ_BYTES {
        // A long request: what comes is not moved once more.
        input.reserve(READ_BYTES);
        return stream.read_buf(&mut input.limit(READ_BYTES)).await;
    }
    std::future::poll_fn(|task| {
        SHARED.with_borrow_mut(|shared| {
            let mut buffer = ReadBuf::new(shared);
            ready!(Pin::new(&mut *stream).poll_read(task, &mut buffer))?;
            input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    })
    .await
}

/// Moves the beginning of a long request into a buffer of its own, whose memory is what was filled of it and no more; true
/// when it did. What comes behind that request should be put elsewhere.
pub(super) fn make_long(input: &mut BytesMut) -> bool {
    if input.len() < LONG_BYTES || input.capacity() >= LONG_ROOM {
        return false;
    }
    let mut long = Vec::new();
    // Where the system gives no address space for it, the buffer grows as it can.
    if long.try_reserve_exact(LONG_ROOM).is_err() {
        return false;
    }
    long.extend_from_slice(input);
    *input = BytesMut::from(Bytes::from(long));
    true
}

/// Writes as much as the stream takes at once, which may be nothing.
pub(super) async fn write_now(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    std::future::poll_fn(|task| match Pin::new(&mut *stream).poll_write(task, bytes) {
        Poll::Ready(written) => Poll::Ready(written),
        Poll::Pending => Poll::Ready(Ok(0)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_request_fills_one_buffer_that_does_not_move() {
        let mut input = BytesMut::from(&vec![b'a'; LONG_BYTES - 1][..]);
        assert!(!make_long(&mut input), "it may be over with the next byte");
        input.extend_from_slice(b"z");
        assert!(make_long(&mut input) && input.len() == LONG_BYTES && input.ends_with(b"az"));
        let place = input.as_ptr();
        while input.len() + READ_BYTES <= LONG_ROOM {
            input.reserve(READ_BYTES);
            input.extend_from_slice(&[b'b'; READ_BYTES]);
            assert!(!make_long(&mut input));
        }
        assert_eq!((input.as_ptr(), input[0]), (place, b'a'));
    }
}
