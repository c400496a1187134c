//! A drain: no job is granted any more, everything else goes on, and the server stops when no job runs or the drain's time
//! is over. It lives in memory alone: a start grants jobs again.

use crate::clock::Millis;
use crate::command::{Drain, Shutdown};
use crate::data::Touch;
use crate::engine::Engine;
use crate::jobs::{JobsView, Status};
use crate::storage::{self, Batch};

impl Engine {
    /// A signal asks for a drain of so many milliseconds at most. One that goes on already is not lengthened by it.
    pub fn drain(&mut self, time_ms: u64, now: Millis) {
        let asked = now.plus(time_ms);
        let deadline = match self.server.shutdown {
            Shutdown::Now => return,
            Shutdown::No => asked,
            Shutdown::Draining(drain) => drain.deadline.map_or(asked, |deadline| deadline.min(asked)),
        };
        self.server.shutdown = Shutdown::Draining(Drain { deadline: Some(deadline), by_signal: true });
    }

    /// Ends a drain when it is over: those who wait for jobs are answered as when their time is over.
    pub(super) fn end_drain_if_due(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        let Some(drain) = self.server.shutdown.drain() else { return Ok(()) };
        let running = running(batch, now)?;
        if running == 0 {
            tracing::info!("drained: no job runs, stopping");
        } else if drain.deadline.is_some_and(|deadline| deadline <= now) {
            tracing::warn!(
                running,
                "the drain's time is over, stopping: the jobs that run keep their leases, and their workers can report them \
                 to the next server on this store"
            );
        } else {
            self.server.facts.drain_waits_for = running;
            return Ok(());
        }
        self.server.shutdown = Shutdown::Now;
        for parked in self.waiters.take_all(|thing| matches!(thing, Touch::Queue(_))) {
            self.unpark(parked);
        }
        self.run_ready(batch, now)
    }

    /// When a drain's time is over.
    pub(super) fn drain_deadline(&self) -> Option<Millis> {
        self.server.shutdown.drain().and_then(|drain| drain.deadline)
    }
}

/// How many jobs run.
fn running(batch: &Batch<'_>, now: Millis) -> storage::Result<u64> {
    let totals = JobsView { rows: batch, now }.totals();
    totals.map(|counts| counts.of(Status::Running)).map_err(super::background::job_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{Bench, with_engine};
    use crate::engine::{ConnId, Output};

    const SUBMIT: &str = r#"JOB.SUBMIT {"kind":"k","payload":1}"#;

    /// A worker's claim that waits; the id of a job and its epoch in the answer to one that was served.
    fn claim(bench: &mut Bench<'_>, conn: ConnId) -> Option<(String, String)> {
        bench.send(conn, &["JOB.CLAIM w QUEUES ready"]);
        let (_, answer) = bench.finished().pop().unwrap();
        let after = |name: &str| Some(answer.split(name).nth(1)?.trim_matches('"').to_owned());
        let id = after(r#""job_id":"#)?.split('"').next()?.to_owned();
        Some((id, after(r#""epoch":"#)?.split([',', '}']).next()?.to_owned()))
    }

    fn tick(bench: &mut Bench<'_>) {
        let Bench { engine, batch, now } = bench;
        engine.tick(batch, *now, true).unwrap();
    }

    fn told(bench: &mut Bench<'_>, conn: ConnId) -> Vec<String> {
        bench.finished().into_iter().filter(|(to, _)| *to == conn).map(|(_, text)| text).collect()
    }

    #[test]
    fn a_drain_grants_nothing_takes_submits_and_reports_and_ends_with_the_last_job() {
        with_engine(|bench| {
            (1..=6).for_each(|conn| bench.open(conn));
            bench.send(1, &[SUBMIT, SUBMIT]);
            let (job, epoch) = claim(bench, 2).unwrap();
            // These wait: a queue without work, and below one with work.
            bench.send(3, &["JOB.CLAIM v BLOCK 0 QUEUES idle"]);
            bench.send(4, &["SHUTDOWN DRAIN"]);
            tick(bench);
            assert!(bench.engine.server().shutdown.drain().is_some() && bench.engine.drain_deadline().is_none());
            assert_eq!(claim(bench, 2), None, "the second job stays");
            bench.send(5, &["BRPOPLPUSH queue:ready queue:processing 0"]);
            bench.send(6, &["JOB.CLAIM u BLOCK 0 QUEUES ready"]);
            bench.send(1, &[SUBMIT, r#"JOB.SUBMIT {"kind":"k","payload":1,"queue":"idle"}"#]);
            tick(bench);
            assert!(bench.finished().iter().all(|(conn, _)| ![4, 5, 6].contains(conn)), "they wait on");
            let report = format!("JOB.COMPLETE {job} {epoch} 1");
            bench.send(2, &[&report]);
            tick(bench);
            assert_eq!(bench.engine.server().shutdown, Shutdown::Now);
            let finished = bench.finished();
            let of =
                |conn| finished.iter().filter(|(to, _)| *to == conn).map(|(_, text)| text.as_str()).collect::<Vec<_>>();
            assert_eq!(of(2), ["+OK|"]);
            assert_eq!((of(3), of(5), of(6)), (vec!["*0|"], vec!["*-1|"], vec!["*0|"]), "as when their time is over");
            assert!(of(4).is_empty(), "the connection is closed");
            assert_eq!(claim(bench, 2), None, "nor in what the batch still brings");
        });
    }

    #[test]
    fn a_drain_ends_with_its_time_and_with_a_lease() {
        with_engine(|bench| {
            (1..=3).for_each(|conn| bench.open(conn));
            bench.send(1, &[SUBMIT]);
            claim(bench, 1).unwrap();
            bench.send(2, &["SHUTDOWN DRAIN TIMEOUT 5"]);
            tick(bench);
            let begun = bench.now;
            assert_eq!(bench.engine.next_deadline(), Some(begun.plus(5000)));
            bench.now = begun.plus(4999);
            tick(bench);
            assert!(bench.engine.server().shutdown.drain().is_some());
            bench.now = begun.plus(5000);
            tick(bench);
            assert_eq!(bench.engine.server().shutdown, Shutdown::Now);
        });
        with_engine(|bench| {
            bench.open(1);
            bench.send(1, &[SUBMIT]);
            // The grace that leases have after the start is over.
            bench.now = bench.now.plus(60_000);
            claim(bench, 1).unwrap();
            bench.send(1, &["SHUTDOWN DRAIN"]);
            tick(bench);
            bench.now = bench.now.plus(29_999);
            tick(bench);
            assert!(bench.engine.server().shutdown.drain().is_some(), "its worker may still report");
            bench.now = bench.now.plus(1);
            tick(bench);
            assert_eq!(bench.engine.server().shutdown, Shutdown::Now, "nobody holds it any more");
        });
    }

    #[test]
    fn a_drain_is_taken_back_and_those_who_waited_are_served() {
        with_engine(|bench| {
            (1..=5).for_each(|conn| bench.open(conn));
            bench.send(1, &["SHUTDOWN ABORT"]);
            assert_eq!(told(bench, 1), ["-ERR No shutdown in progress.|"]);
            bench.send(1, &[SUBMIT, SUBMIT]);
            claim(bench, 1).unwrap();
            bench.send(2, &["SHUTDOWN DRAIN TIMEOUT 9", "PING"]);
            tick(bench);
            bench.send(3, &["JOB.CLAIM v BLOCK 0 QUEUES ready"]);
            tick(bench);
            assert!(bench.finished().iter().all(|(conn, _)| ![2, 3].contains(conn)));
            bench.send(1, &["SHUTDOWN ABORT"]);
            tick(bench);
            assert_eq!(bench.engine.server().shutdown, Shutdown::No);
            let outputs: Vec<(ConnId, String)> = bench.finished();
            let of =
                |conn| outputs.iter().filter(|(to, _)| *to == conn).map(|(_, text)| text.as_str()).collect::<String>();
            assert_eq!(of(1), "+OK|");
            assert!(of(2).starts_with("-ERR the drain was taken back") && of(2).ends_with("+PONG|"), "{}", of(2));
            assert!(of(3).contains("job_id"), "{}", of(3));
            assert_eq!(bench.engine.drain_deadline(), None);
        });
    }

    #[test]
    fn a_signals_drain_is_not_taken_back_and_is_no_longer_than_a_clients() {
        with_engine(|bench| {
            (1..=3).for_each(|conn| bench.open(conn));
            bench.send(1, &[SUBMIT]);
            claim(bench, 1).unwrap();
            bench.send(2, &["SHUTDOWN DRAIN TIMEOUT 5"]);
            let now = bench.now;
            bench.engine.drain(60_000, now);
            assert_eq!(bench.engine.drain_deadline(), Some(now.plus(5_000)));
            bench.engine.drain(1_000, now);
            assert_eq!(bench.engine.drain_deadline(), Some(now.plus(1_000)));
            tick(bench);
            bench.send(3, &["SHUTDOWN ABORT"]);
            assert!(told(bench, 3)[0].contains("begun by a signal"));
            assert!(bench.engine.server().shutdown.drain().is_some_and(|drain| drain.by_signal));
            bench.send(3, &["SHUTDOWN"]);
            assert_eq!(bench.engine.server().shutdown, Shutdown::Now, "at once, for whoever may");
            assert!(!bench.engine.take_outputs().iter().any(|output| matches!(output, Output::Finished(_))));
        });
    }

    #[test]
    fn words_that_make_no_sense_change_nothing() {
        with_engine(|bench| {
            bench.open(1);
            for words in
                ["DRAIN NOW", "TIMEOUT 5", "DRAIN DRAIN", "DRAIN ABORT", "DRAIN TIMEOUT", "DRAIN TIMEOUT 1 TIMEOUT 2"]
            {
                bench.send(1, &[&format!("SHUTDOWN {words}")]);
                assert_eq!(told(bench, 1), ["-ERR syntax error|"], "{words}");
            }
            for seconds in ["0", "-1", "x", "604801"] {
                bench.send(1, &[&format!("SHUTDOWN DRAIN TIMEOUT {seconds}")]);
                assert!(told(bench, 1)[0].contains("TIMEOUT must be an integer from 1 to 604800"), "{seconds}");
            }
            assert_eq!(bench.engine.server().shutdown, Shutdown::No);
        });
    }
}
