//! LATENCY: what held up other clients, and how long commands take.

use std::collections::{BTreeMap, VecDeque};

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::statistics::Usage;
use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, args, subcommand};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] =
    &[Command::new("LATENCY", -2, Group::Server, Flags::ADMIN.and(Flags::CONTAINER), Run::Write(latency))
        .doc(
            "2.8.13",
            "DOCTOR | HISTOGRAM [command [command ...]] | HISTORY event | LATEST | RESET [event [event ...]]",
            "What held up other clients for latency-monitor-threshold milliseconds, and how long each command takes.",
        )
        .differs(
            "The events are 'command' and 'fast-command'. HISTOGRAM counts a command with all its subcommands. \
             DOCTOR speaks plainly, and GRAPH is refused.",
        )];

/// Samples that are kept of an event, as in Redis.
const SAMPLES: usize = 160;

/// What held up other clients, by event.
#[derive(Debug, Default)]
pub struct Events {
    by_name: BTreeMap<&'static str, Event>,
    /// What took so many milliseconds is kept; 0: nothing is.
    pub threshold_ms: u64,
}

/// An event's samples: the longest of each second that had one.
#[derive(Debug, Default)]
struct Event {
    longest_ms: u64,
    samples: VecDeque<(u64, u64)>,
}

impl Events {
    /// Keeps what took long.
    pub fn add(&mut self, name: &'static str, now: Millis, nanos: u64) {
        let ms = nanos / 1_000_000;
        if self.threshold_ms == 0 || ms < self.threshold_ms {
            return;
        }
        let event = self.by_name.entry(name).or_default();
        event.longest_ms = event.longest_ms.max(ms);
        let second = now.0 / 1000;
        match event.samples.back_mut() {
            Some((last, longest)) if *last == second => *longest = ms.max(*longest),
            _ => event.samples.push_back((second, ms)),
        }
        if event.samples.len() > SAMPLES {
            event.samples.pop_front();
        }
    }
}

fn number(number: u64) -> Reply {
    Reply::int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn latency(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let is = |name| args::is(request.arg(1), name);
    match () {
        () if is("LATEST") => {
            subcommand::takes(request, 2..=2)?;
            let events = ctx.server.statistics.events.by_name.iter();
            let latest = events.filter_map(|(name, event)| {
                let (second, ms) = event.samples.back()?;
                Some(Reply::array([Reply::bulk(*name), number(*second), number(*ms), number(event.longest_ms)]))
            });
            Ok(Reply::array(latest))
        }
        () if is("HISTORY") => {
            subcommand::takes(request, 3..=3)?;
            let name = String::from_utf8_lossy(request.arg(2));
            let samples = ctx.server.statistics.events.by_name.get(&*name).map(|event| &event.samples);
            let pair = |(second, ms): &(u64, u64)| Reply::array([number(*second), number(*ms)]);
            Ok(Reply::array(samples.into_iter().flatten().map(pair)))
        }
        () if is("RESET") => {
            let events = &mut ctx.server.statistics.events.by_name;
            let before = events.len();
            let chosen: Vec<&[u8]> = request.iter().skip(2).collect();
            events.retain(|name, _| !chosen.is_empty() && !chosen.iter().any(|chosen| args::is(chosen, name)));
            Ok(Reply::int((before - events.len()) as i64))
        }
        () if is("HISTOGRAM") => Ok(histogram(ctx, request)),
        () if is("DOCTOR") => {
            subcommand::takes(request, 2..=2)?;
            Ok(Reply::Verbatim { format: *b"txt", text: report(&ctx.server.statistics.events).into() })
        }
        () if is("GRAPH") => {
            subcommand::takes(request, 3..=3)?;
            Err(CommandError::new("ERR AGQ draws no graphs: LATENCY HISTORY has the samples").into())
        }
        () => Err(subcommand::unknown(request).into()),
    }
}

/// How long commands took: all, or those that are named.
fn histogram(ctx: &Context<'_, '_>, request: &Request) -> Reply {
    let chosen: Vec<&[u8]> = request.iter().skip(2).collect();
    let fits = |command: &Command| chosen.is_empty() || chosen.iter().any(|name| args::is(name, command.name));
    let used = ctx.server.statistics.used().filter(|(command, usage)| usage.calls > 0 && fits(command));
    Reply::map(used.map(|(command, usage)| (Reply::bulk(command.name.to_ascii_lowercase()), distribution(usage))))
}

fn distribution(usage: &Usage) -> Reply {
    let powers = usage.times.powers().into_iter().map(|(nanos, count)| (number(nanos / 1000), number(count)));
    let fields = [("calls", number(usage.calls)), ("histogram_usec", Reply::map(powers))];
    Reply::map(fields.map(|(name, value)| (Reply::bulk(name), value)))
}

/// What there is to say of the events.
fn report(events: &Events) -> String {
    if events.threshold_ms == 0 {
        return "Latency monitoring is off: turn it on with CONFIG SET latency-monitor-threshold <milliseconds>.\n"
            .to_owned();
    }
    let threshold = events.threshold_ms;
    if events.by_name.is_empty() {
        return format!("Nothing took {threshold} ms or longer.\n");
    }
    let mut text = String::new();
    for (name, event) in &events.by_name {
        let (count, longest) = (event.samples.len(), event.longest_ms);
        let sum: u64 = event.samples.iter().map(|(_, ms)| ms).sum();
        let mean = sum / (count as u64).max(1);
        text.push_str(&format!(
            "{name}: in {count} seconds one took {threshold} ms or longer, {mean} ms on average, {longest} ms at most.\n"
        ));
    }
    text.push_str("SLOWLOG GET names the commands that took longest.\n");
    text
}
