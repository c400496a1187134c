//! What connections hold together, however fast their clients send.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use tokio::runtime::LocalOptions;

use super::*;
use crate::command::Session;
use crate::server::inbox::Limits;
use crate::server::limits::ClientLimits;
use crate::server::rules::Rules;
use crate::server::throttle::Source;

const CLIENTS: usize = 64;
const MAX_MEMORY: usize = 16 << 20;
const BEGIN: &[u8] = b"*2\r\n$4\r\nECHO\r\n$536870912\r\n";

/// What all streams have given out and their connections still have: now, and at most.
#[derive(Default)]
struct Given {
    now: Cell<usize>,
    most: Cell<usize>,
}

/// A client whose argument never comes to its end, and who always has more of it.
struct Endless {
    given: Rc<Given>,
    own: usize,
}

impl AsyncRead for Endless {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // As a socket does: now and then the others have their turn.
        let turn = std::task::ready!(tokio::task::coop::poll_proceed(task));
        turn.made_progress();
        let before = buffer.filled().len();
        let begin = &BEGIN[self.own.min(BEGIN.len())..];
        buffer.put_slice(begin);
        while buffer.remaining() > 0 {
            buffer.put_slice(&[b'x'; 4096][..buffer.remaining().min(4096)]);
        }
        let count = buffer.filled().len() - before;
        self.own += count;
        self.given.now.set(self.given.now.get() + count);
        self.given.most.set(self.given.most.get().max(self.given.now.get()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.given.now.set(self.given.now.get() - self.own);
    }
}

#[test]
fn others_read_no_further_while_those_who_were_ended_still_hold_what_they_sent() {
    let inbox = Inbox::new(Limits { max_memory: MAX_MEMORY, ..Limits::default() });
    let rules = Rc::new(Rules::new(ClientLimits { max_memory: MAX_MEMORY, ..ClientLimits::default() }, false));
    let given = Rc::new(Given::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.unwrap().block_on(async {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let conn = inbox.open(|conn| Session::new(conn, "test:0".to_owned(), true));
                let peer = Peer { conn, source: Source::Local, is_vouched_for: false, rules: Rc::clone(&rules) };
                let stream = Endless { given: Rc::clone(&given), own: 0 };
                tokio::task::spawn_local(serve(stream, inbox.clone(), peer))
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    });
    assert_eq!((inbox.endings().evicted, inbox.endings().memory, given.now.get()), (CLIENTS as u64, 0, 0));
    let most = MAX_MEMORY + CLIENTS * (wire::READ_BYTES + UNCOUNTED_BYTES);
    assert!((MAX_MEMORY..most).contains(&given.most.get()), "{} bytes held at once, {most} expected", given.most.get());
}
