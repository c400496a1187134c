//! A sample as three tables: queues, workers, running jobs.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use super::sample::{STATUSES, Sample};
use crate::cli::duration;
use crate::cli::fields::{cell, first};
use crate::cli::output::Colour;
use crate::cli::table::{Align, one_line};

/// How a column stands, and how many characters of it are shown at most; the last one takes what is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) align: Align,
    pub(super) most: usize,
    /// Its texts are ids, whose ends are shown where the last column needs the room.
    pub(super) gives_way: bool,
}

/// A cell: what is shown, and what it is sorted by.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) colour: Colour,
    number: Option<f64>,
}

impl Cell {
    /// A column's name.
    pub(super) fn heading(text: String) -> Cell {
        Cell { text, colour: Colour::Plain, number: None }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Pane {
    pub(super) title: &'static str,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
}

fn left(name: &'static str, most: usize) -> Column {
    Column { name, align: Align::Left, most, gives_way: false }
}

fn right(name: &'static str) -> Column {
    Column { name, align: Align::Right, most: 12, gives_way: false }
}

fn text(text: String) -> Cell {
    Cell { text: one_line(text), colour: Colour::Plain, number: None }
}

fn number(value: u64, colour: Colour) -> Cell {
    // Numbers are compared, and these are no larger than what a float holds exactly by far.
    Cell { text: value.to_string(), colour: if value > 0 { colour } else { Colour::Dim }, number: Some(value as f64) }
}

/// How long ago something was.
fn age(json: &Value, field: &str, now: Timestamp) -> Cell {
    let since = cell(json, field).parse::<Timestamp>().ok();
    match since.map(|since| u64::try_from(now.as_second() - since.as_second()).unwrap_or(0)) {
        None => text(String::new()),
        Some(seconds) => Cell { number: Some(seconds as f64), ..text(duration::show(seconds)) },
    }
}

fn status(json: &Value) -> Cell {
    let status = cell(json, "status");
    Cell { colour: Colour::of_status(&status), ..text(status) }
}

/// The tables of a sample.
pub(super) fn of(sample: &Sample, now: Timestamp) -> [Pane; 3] {
    let queue = |queue: &Value| {
        let name = cell(queue, "queue");
        let paused = if queue["paused"] == true { "paused" } else { "" };
        let counts = STATUSES.map(|status| number(queue[status].as_u64().unwrap_or(0), Colour::of_status(status)));
        let paused = Cell { text: paused.to_owned(), colour: Colour::Yellow, number: None };
        [text(name)].into_iter().chain(counts).chain([paused]).collect()
    };
    let names = ["pending", "sched", "running", "waiting", "done", "failed", "cancel"];
    let queues = Pane {
        title: "queues",
        columns: [left("queue", 24)].into_iter().chain(names.map(right)).chain([left("", 6)]).collect(),
        rows: sample.queues.iter().map(queue).collect(),
    };
    let worker = |worker: &Value| {
        let (used, slots) = (worker["running_jobs"].as_u64().unwrap_or(0), cell(worker, "slots"));
        let slots = if slots.is_empty() { "?".to_owned() } else { slots };
        let used = Cell { text: format!("{used}/{slots}"), ..number(used, Colour::Plain) };
        let (seen, tags) = (age(worker, "last_seen", now), text(cell(worker, "tags")));
        vec![text(cell(worker, "worker_id")), status(worker), used, seen, tags]
    };
    let workers = Pane {
        title: "workers",
        columns: vec![left("worker", 36), left("status", 9), right("slots"), right("seen"), left("tags", 20)],
        rows: sample.workers.iter().map(worker).collect(),
    };
    let job = |job: &Value| {
        let since = age(job, "started_at", now);
        let worker = text(first(job, &["worker_id", "worker"]));
        vec![since, worker, text(cell(job, "queue")), text(cell(job, "job_id")), text(cell(job, "work"))]
    };
    let running = Pane {
        title: "running",
        columns: vec![
            right("for"),
            left("worker", 16),
            left("queue", 12),
            Column { gives_way: true, ..left("job", 37) },
            left("work", 20),
        ],
        rows: sample.running.iter().map(job).collect(),
    };
    [queues, workers, running]
}

impl Pane {
    /// Puts the rows in the order of a column: numbers falling, texts rising, or the other way round.
    pub(super) fn sort(&mut self, column: usize, reversed: bool) {
        let order = |one: &Cell, other: &Cell| match (one.number, other.number) {
            (Some(one), Some(other)) => other.total_cmp(&one),
            _ => one.text.cmp(&other.text),
        };
        self.rows.sort_by(|one, other| {
            let found =
                one.get(column).zip(other.get(column)).map_or(Ordering::Equal, |(one, other)| order(one, other));
            if reversed { found.reverse() } else { found }
        });
    }
}
