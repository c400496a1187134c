//! Panics outside of commands. What the whole server needs is not gone on without: the process ends, with a message, as
//! after an error of the store. What serves one client takes that client along, and nobody else.
//!
//! Commands and what runs in the background are taken back by the engine.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// The exit code when a part that the server needs has ended.
pub(super) const EXIT_PANICKED: i32 = 70;

/// Ends the process because a part of it cannot go on. What was acknowledged is in the log.
pub(super) fn exit(part: &str, why: &str) -> ! {
    tracing::error!(
        part,
        "{part} has ended: {why}. Everything acknowledged so far is in the log; start again, and please report it"
    );
    std::process::exit(EXIT_PANICKED)
}

/// Runs a thread's life; a panic ends the process.
pub(super) fn or_exit(part: &str, life: impl FnOnce()) {
    let life = || {
        #[cfg(test)]
        crate::storage::injected::point(part);
        life();
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(life)) {
        exit(part, text(&*panic));
    }
}

/// A task that the server needs; a panic ends the process, before anything else runs on its thread.
pub(super) async fn task_or_exit<F: Future>(part: &str, task: F) -> F::Output {
    #[cfg(test)]
    let task = panicking(part, task);
    match caught(task).await {
        Ok(output) => output,
        Err(panic) => exit(part, text(&*panic)),
    }
}

/// The same task, which panics when a test wants it to.
#[cfg(test)]
async fn panicking<F: Future>(part: &str, task: F) -> F::Output {
    let mut task = pin!(task);
    std::future::poll_fn(|context| {
        crate::storage::injected::point(part);
        task.as_mut().poll(context)
    })
    .await
}

/// A task whose panic its caller sees to.
pub(super) async fn caught<F: Future>(task: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut task = pin!(task);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// What a panic says.
#[must_use]
pub fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_where_it_happens_and_says_what_it_said() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let task = async {
            tokio::task::yield_now().await;
            panic!("number {}", 7);
        };
        let panic = runtime.block_on(caught(task)).unwrap_err();
        assert_eq!(text(&*panic), "number 7");
        assert_eq!(runtime.block_on(caught(async { 7 })).unwrap(), 7);
    }
}
