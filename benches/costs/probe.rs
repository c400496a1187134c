//! What another client notices while a large collection is deleted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::commands::SORTED_SET;
use crate::server::{Connection, Server};
use crate::times::{self, Times};

/// How long a server without anything to do is watched, and at least how long one that deletes.
const WATCH: Duration = Duration::from_secs(3);
/// Calls of each kind between two looks at whether the server is done.
const CALLS: u64 = 50;

/// What another client saw.
pub(crate) struct Disturbance {
    what: String,
    /// Of the deletion itself; there is none for comparison.
    deletion: Option<Duration>,
    /// From the deletion's reply until its last row was gone; within [`WATCH`] it is not known.
    lasted: Duration,
    ping: Times,
    set: Times,
}

/// Watches a server that has nothing else to do, then one that deletes a sorted set with so many members.
pub(crate) fn deletion(server: &mut Server, size: u64) -> anyhow::Result<[Disturbance; 2]> {
    crate::fill(server, &SORTED_SET, size)?;
    let idle = watch(server, format!("{}, nothing", server.name), None)?;
    let deleting = watch(server, format!("{}, DEL", server.name), Some(&["DEL", SORTED_SET.key]))?;
    Ok([idle, deleting])
}

fn watch(server: &mut Server, what: String, command: Option<&[&str]>) -> anyhow::Result<Disturbance> {
    let connection = server.connect()?;
    let answered = AtomicBool::new(command.is_none());
    thread::scope(|scope| {
        let watcher = scope.spawn(|| ask(connection, &answered));
        let mut deletion = None;
        if let Some(command) = command {
            thread::sleep(Duration::from_millis(100));
            let sent = Instant::now();
            let reply = server.call(command);
            answered.store(true, Ordering::Release);
            deletion = Some(sent.elapsed());
            reply?;
        }
        let (ping, set, lasted) = watcher.join().map_err(|_| anyhow!("the watcher panicked"))??;
        Ok(Disturbance { what, deletion, lasted, ping, set })
    })
}

/// Calls PING and SET in turns until the deletion was answered and the server's log no longer grows by itself.
fn ask(mut connection: Connection, answered: &AtomicBool) -> anyhow::Result<(Times, Times, Duration)> {
    let (mut ping, mut set) = (Times::default(), Times::default());
    let begun = Instant::now();
    let mut since = None;
    let mut records = connection.work()?.records;
    loop {
        let was_answered = answered.load(Ordering::Acquire);
        if was_answered {
            since.get_or_insert_with(Instant::now);
        }
        for number in 0..CALLS {
            for (times, request) in [(&mut ping, vec!["PING"]), (&mut set, vec!["SET", "other", &number.to_string()])] {
                let sent = Instant::now();
                connection.call(&request)?;
                times.push(sent.elapsed());
            }
        }
        let work = connection.work()?;
        let grows_by_itself = work.records.saturating_sub(records) > CALLS;
        records = work.records;
        if was_answered && !grows_by_itself && work.is_done && begun.elapsed() > WATCH {
            return Ok((ping, set, since.map(|since| since.elapsed()).unwrap_or_default()));
        }
    }
}

/// Prints a row for each.
pub(crate) fn print(size: u64, disturbances: &[Disturbance]) {
    println!("\nWhat another client sees while a sorted set of {} is deleted:\n", times::commas(u128::from(size)));
    println!(
        "| server, meanwhile | it takes µs | rows gone after s | PING µs: median / p99 / longest | SET µs: median / p99 / longest |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    for seen in disturbances {
        let took = seen.deletion.map(times::micros).unwrap_or_default();
        let lasted = match seen.deletion {
            Some(_) if seen.lasted > WATCH => format!("{:.0}", seen.lasted.as_secs_f64()),
            Some(_) => format!("< {}", WATCH.as_secs()),
            None => String::new(),
        };
        let [ping, set] =
            [&seen.ping, &seen.set].map(|times| format!("{times} / {}", times::micros(times.percentile(1.0))));
        println!("| {} | {took} | {lasted} | {ping} | {set} |", seen.what);
    }
}
