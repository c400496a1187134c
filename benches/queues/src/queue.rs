//! What is asked of every queue.

/// What a job carries.
pub(crate) const PAYLOAD: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A connection to a queue; each step returns once the queue says that it is done.
pub(crate) trait Queue {
    /// What a job is known by between its claim and its end.
    type Held;

    /// Puts a job into the queue.
    async fn submit(&mut self) -> anyhow::Result<()>;

    /// Takes a job, waiting for one if need be.
    async fn claim(&mut self) -> anyhow::Result<Self::Held>;

    /// A job is done: the queue is to forget it.
    async fn complete(&mut self, held: Self::Held) -> anyhow::Result<()>;
}
