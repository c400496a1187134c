//! Whose output lies where in a job's two streams. Of a stream that is longer than what the server keeps, the head and
//! the tail stay: a task that wrote of the rest is told that its output is not whole, however outputs interleave.

use std::collections::HashMap;

use super::message::Stream;

/// The places of all tasks' output.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Bytes that are kept of a stream.
    max_output: u64,
    streams: [Places; 2],
}

#[derive(Debug, Default)]
struct Places {
    total: u64,
    /// Of each task that wrote behind the head, where it first did.
    behind_head: HashMap<u32, u64>,
}

impl Ledger {
    pub(super) fn new(max_output: u64) -> Ledger {
        Ledger { max_output, streams: Default::default() }
    }

    /// A task wrote so much, behind all that was written before.
    pub(super) fn add(&mut self, task: u32, stream: Stream, bytes: u64) {
        let head_end = self.max_output / 2;
        let places = &mut self.streams[stream as usize];
        let start = places.total;
        places.total += bytes;
        if bytes > 0 && places.total > head_end {
            places.behind_head.entry(task).or_insert(start.max(head_end));
        }
    }

    /// True when some of what a task wrote is not kept, as far as all have written.
    pub(super) fn is_truncated(&self, task: u32) -> bool {
        self.streams.iter().any(|places| {
            let tail_start = places.total.saturating_sub(self.max_output / 2);
            let first = places.behind_head.get(&task);
            places.total > self.max_output && first.is_some_and(|first| *first < tail_start)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truncated(writes: &[(u32, u64)]) -> Vec<u32> {
        let mut ledger = Ledger::new(100);
        writes.iter().for_each(|(task, bytes)| ledger.add(*task, Stream::Stdout, *bytes));
        (1..=4).filter(|task| ledger.is_truncated(*task)).collect()
    }

    #[test]
    fn a_task_whose_output_lay_in_the_middle_is_truncated() {
        // Of 120 bytes the first and the last 50 are kept.
        assert_eq!(truncated(&[(1, 40), (2, 30), (3, 20), (4, 30)]), [2]);
        assert_eq!(truncated(&[(1, 50), (2, 20), (3, 50)]), [2], "to the byte");
        assert_eq!(truncated(&[(1, 60), (2, 0), (3, 60)]), [1, 3], "who wrote nothing lost nothing");
        assert_eq!(truncated(&[(1, 100)]), [0; 0]);
        assert_eq!(truncated(&[(1, 101)]), [1]);
    }

    #[test]
    fn outputs_that_interleave_are_told_apart() {
        let turns: Vec<(u32, u64)> = (0..10).flat_map(|_| [(1, 10), (2, 2)]).collect();
        assert_eq!(truncated(&turns), [1, 2]);
        // The second wrote in the head and in the tail alone.
        assert_eq!(truncated(&[(2, 10), (1, 40), (3, 20), (2, 10), (1, 40)]), [3]);
    }

    #[test]
    fn each_stream_is_for_itself() {
        let mut ledger = Ledger::new(100);
        ledger.add(1, Stream::Stdout, 60);
        ledger.add(1, Stream::Stderr, 60);
        assert!(!ledger.is_truncated(1));
        ledger.add(2, Stream::Stderr, 60);
        assert!(ledger.is_truncated(1) && ledger.is_truncated(2));
    }
}
