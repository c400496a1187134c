//! `agq top`: queues, workers, running jobs and rates, as they change.

mod frame;
mod panes;
mod sample;
mod screen;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use agq_client::{Client, ConnectOptions};
use clap::Args;
use crossterm::event::Event;
use jiff::Timestamp;
use tokio::sync::watch;

use super::connect::ServerArgs;
use super::duration::parse_ms;
use super::exit;
use super::output::{self, wants_colours};
use super::signals::Signals;
use frame::{Size, Surroundings};
use sample::{Sample, Sampler};
use screen::Screen;
use view::{Asked, View};

/// Columns of what is printed where there is no screen.
const PRINTED_WIDTH: usize = 120;

/// `agq top`
#[derive(Debug, Args)]
#[command(
    after_help = "Keys: q quits, tab and ←→ choose a table, ↑↓ and PgUp PgDn scroll it, s sorts it by its next column, \
                        r turns the order round, p holds the picture. Rates come from the feed of events."
)]
pub(super) struct TopArgs {
    /// Time between two looks: 2 (seconds), 500ms
    #[arg(long, short = 'n', value_name = "TIME", default_value = "2s", value_parser = parse_interval)]
    interval: u64,
    /// Print one picture as text; so it does where standard output is no terminal
    #[arg(long)]
    once: bool,
    /// Print one picture as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

fn parse_interval(text: &str) -> Result<u64, String> {
    match parse_ms(text)? {
        ms @ 100..=3_600_000 => Ok(ms),
        _ => Err("expected 100ms to 1h".to_owned()),
    }
}

/// What there is to show.
#[derive(Debug, Clone)]
struct Shown {
    sample: Sample,
    at: Timestamp,
    /// Why there is nothing newer.
    trouble: Option<String>,
}

/// Shows it until it is told to stop, or once.
pub(super) async fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let (client, options) = args.server.connect().await?;
    let mut sampler = Sampler::new(client);
    let sample = sampler.take().await?;
    let shown = Shown { sample, at: Timestamp::now(), trouble: None };
    if args.json {
        output::json(&shown.sample.json())?;
        return Ok(exit::DONE);
    }
    let server = options.address.to_string();
    if args.once || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let size = Size { width: PRINTED_WIDTH, height: None };
        let lines = lines(&shown, &mut View::default(), &server, false, size);
        output::line(lines.join("\n"))?;
        return Ok(exit::DONE);
    }
    let (sender, receiver) = watch::channel(shown);
    tokio::spawn(keep_looking(sampler, options, sender, Duration::from_millis(args.interval)));
    live(receiver, &server).await
}

fn lines(shown: &Shown, view: &mut View, server: &str, keys: bool, size: Size) -> Vec<String> {
    let colours = wants_colours(&std::io::stdout());
    let around = Surroundings { server, trouble: shown.trouble.as_deref(), now: shown.at, colours, keys };
    frame::lines(&shown.sample, view, &around, size)
}

/// Takes samples for as long as somebody looks at them. A server that is away is looked for.
async fn keep_looking(mut sampler: Sampler, options: ConnectOptions, shown: watch::Sender<Shown>, interval: Duration) {
    let mut is_lost = false;
    while !shown.is_closed() {
        tokio::time::sleep(interval).await;
        if is_lost {
            match Client::connect(&options).await {
                Ok(client) => sampler = Sampler::new(client),
                Err(error) => {
                    shown.send_modify(|shown| shown.trouble = Some(error.to_string()));
                    continue;
                }
            }
        }
        let sample = sampler.take().await;
        is_lost = sample.is_err();
        match sample {
            Ok(sample) => shown.send_modify(|shown| *shown = Shown { sample, at: Timestamp::now(), trouble: None }),
            Err(error) => shown.send_modify(|shown| shown.trouble = Some(format!("{error:#}"))),
        }
    }
}

async fn live(mut samples: watch::Receiver<Shown>, server: &str) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::catch()?;
    let mut screen = Screen::take()?;
    let mut events = screen::events()?;
    let mut view = View::default();
    let mut shown = samples.borrow_and_update().clone();
    loop {
        screen.draw(&lines(&shown, &mut view, server, true, screen::current_size()))?;
        tokio::select! {
            _ = samples.changed() => {}
            event = events.recv() => match event {
                Some(Event::Key(key)) if view.key(key) == Asked::Quit => return Ok(exit::DONE),
                Some(_) => {}
                // Nobody can press a key any more.
                None => return Ok(exit::DONE),
            },
            _ = signals.next() => return Ok(exit::interrupted()),
        }
        if !view.paused {
            shown = samples.borrow_and_update().clone();
        }
    }
}
