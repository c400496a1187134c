//! A sample as lines of text, so many wide and so many of them: what the screen shows, and what `--once` prints.

use jiff::Timestamp;

use super::panes::{self, Cell, Column, Pane};
use super::sample::{Rates, STATUSES, Sample};
use super::view::View;
use crate::cli::fields::short;
use crate::cli::output::{Colour, paint};
use crate::cli::table::Align;

/// What stands at the top and the bottom of a frame.
pub(super) struct Surroundings<'a> {
    /// Which server it is.
    pub(super) server: &'a str,
    /// Why there is no newer sample, if there is none.
    pub(super) trouble: Option<&'a str>,
    /// The time of the sample.
    pub(super) now: Timestamp,
    /// Whether colours are wanted.
    pub(super) colours: bool,
    /// Whether somebody can press keys.
    pub(super) keys: bool,
}

/// Columns, and lines: `None` for as many as there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: Option<usize>,
}

const KEYS: &str = "q quit  tab pane  ↑↓ PgUp PgDn scroll  s sort  r reverse  p pause";
/// Warnings that are shown, of more their number.
const WARNINGS: usize = 3;
/// What stands between two columns.
const GAP: usize = 2;
/// How much of an id is shown at least.
const LEAST_ID: usize = 12;

/// The lines of a frame.
pub(super) fn lines(sample: &Sample, view: &mut View, around: &Surroundings<'_>, size: Size) -> Vec<String> {
    let mut lines = head(sample, view, around, size.width);
    let mut panes = panes::of(sample, around.now);
    for (pane, sorted) in panes.iter_mut().zip(&view.panes) {
        if let Some(column) = sorted.sort {
            pane.sort(column, sorted.reversed);
        }
    }
    let room = size.height.map(|height| {
        // An empty line and a heading for each pane, and the keys.
        height.saturating_sub(lines.len() + 2 * panes.len() + usize::from(around.keys))
    });
    let rows = share(room, &panes.each_ref().map(|pane| pane.rows.len()));
    for (at, (pane, rows)) in panes.iter().zip(rows).enumerate() {
        lines.push(String::new());
        let from = view.scroll_to_fit(at, pane.rows.len(), rows);
        let focused = around.keys && view.focus == at;
        lines.extend(pane_lines(pane, view, at, from..from + rows, focused, around.colours, size.width));
    }
    if let Some(height) = size.height {
        lines.resize(height.saturating_sub(usize::from(around.keys)), String::new());
        if around.keys {
            lines.push(paint(&short(KEYS, size.width), Colour::Dim, around.colours));
        }
        lines.truncate(height);
    }
    lines
}

fn head(sample: &Sample, view: &View, around: &Surroundings<'_>, width: usize) -> Vec<String> {
    let time = around.now.strftime("%H:%M:%SZ").to_string();
    let state = match around.trouble {
        Some(trouble) => (format!("  {trouble}"), Colour::Red),
        None if view.paused => ("  paused: p goes on".to_owned(), Colour::Yellow),
        None => (String::new(), Colour::Plain),
    };
    let title = short(&format!("agq top  {}  {time}", around.server), width);
    let left = width.saturating_sub(title.chars().count());
    let title = paint(&title, Colour::Bold, around.colours) + &paint(&short(&state.0, left), state.1, around.colours);
    let counts = STATUSES.iter().map(|status| (*status, sample.count(status)));
    // What is always of interest, and what there is.
    let counts = counts.filter(|(status, count)| *count > 0 || matches!(*status, "pending" | "running" | "failed"));
    let counts: Vec<String> = counts.map(|(status, count)| format!("{count} {status}")).collect();
    let jobs = short(&format!("jobs   {}", counts.join("  ")), width);
    let rates = match sample.rates {
        None => "rates  not known yet".to_owned(),
        Some(Rates { submitted, completed, failed, at_least }) => {
            let more = if at_least { ", or more" } else { "" };
            format!("rates  {submitted:.1}/s submitted  {completed:.1}/s completed  {failed:.1}/s failed{more}")
        }
    };
    let mut lines = vec![title, jobs, short(&rates, width)];
    let told = |text: String| paint(&short(&text, width), Colour::Yellow, around.colours);
    lines.extend(sample.drains_for.map(|jobs| told(format!("draining: no job is granted, {jobs} still running"))));
    let Some(warnings) = &sample.warnings else {
        lines.push(told("warnings  not for this key: INFO is for keys with ADMIN".to_owned()));
        return lines;
    };
    let shown = warnings.iter().take(WARNINGS);
    lines.extend(shown.map(|warning| told(format!("warning  {}: {}", warning.name, warning.text))));
    if let Some(more @ 1..) = warnings.len().checked_sub(WARNINGS) {
        lines.push(told(format!("warning  and {more} more: agq top --json has all")));
    }
    lines
}

/// How many rows each pane gets: what it has, as long as there is room, and else no less than its share.
fn share(room: Option<usize>, wanted: &[usize; 3]) -> [usize; 3] {
    let Some(mut room) = room else { return *wanted };
    let mut rows = [0; 3];
    while room > 0 && rows != *wanted {
        for (rows, wanted) in rows.iter_mut().zip(wanted) {
            if room > 0 && *rows < *wanted {
                *rows += 1;
                room -= 1;
            }
        }
    }
    rows
}

fn pane_lines(
    pane: &Pane,
    view: &View,
    at: usize,
    shown: std::ops::Range<usize>,
    focused: bool,
    colours: bool,
    width: usize,
) -> Vec<String> {
    let widths = widths(pane, width);
    let sorted = view.panes[at];
    let mark = |column: usize| match (sorted.sort == Some(column), sorted.reversed) {
        (false, _) => "",
        (true, false) => "*",
        (true, true) => "^",
    };
    let names =
        pane.columns.iter().enumerate().map(|(at, column)| format!("{}{}", column.name.to_uppercase(), mark(at)));
    let heading: Vec<Cell> = names.map(Cell::heading).collect();
    let total = pane.rows.len();
    let place = match shown.len() {
        rows if rows == total => String::new(),
        0 => format!(" {total}"),
        _ => format!(" {}-{} of {total}", shown.start + 1, shown.end),
    };
    let mut heading = row(&heading, &pane.columns, &widths, false);
    let title = format!("{}{place}", pane.title);
    let left = width.saturating_sub(title.chars().count() + GAP);
    if heading.chars().count() <= left {
        heading = format!("{heading:left$}{}{title}", " ".repeat(GAP));
    } else if !place.is_empty() {
        let left = width.saturating_sub(place.chars().count());
        heading = short(&format!("{:left$}{place}", short(&heading, left)), width);
    }
    let colour = if focused { Colour::Bold } else { Colour::Dim };
    let mut lines = vec![paint(&heading, colour, colours)];
    let rows = pane.rows.iter().skip(shown.start).take(shown.len());
    lines.extend(rows.map(|cells| row(cells, &pane.columns, &widths, colours)));
    lines
}

/// The columns' widths: what stands in them, up to what each may have; 0 for one that there is no room for.
fn widths(pane: &Pane, width: usize) -> Vec<usize> {
    let last = pane.columns.len().saturating_sub(1);
    let widest = |at: usize, column: &Column| {
        let cells = pane.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.chars().count());
        // A heading has room for the mark of the sorted column.
        cells.max().unwrap_or(0).max(column.name.chars().count() + 1)
    };
    let mut left = width;
    let mut widths = Vec::new();
    for (at, column) in pane.columns.iter().enumerate() {
        let widest_here = widest(at, column);
        let most = match (at == last, column.gives_way) {
            (true, _) => left,
            (false, false) => column.most.min(left),
            (false, true) => {
                let kept = pane.columns.get(last).map_or(0, |column| widest(last, column) + GAP);
                column.most.min(left.saturating_sub(kept)).max(LEAST_ID).min(left)
            }
        };
        let own = widest_here.min(most);
        // A number that is cut says something else.
        let own = if own < widest_here && column.align == Align::Right { 0 } else { own };
        widths.push(own);
        left = left.saturating_sub(own + if own > 0 { GAP } else { 0 });
    }
    widths
}

fn row(cells: &[Cell], columns: &[Column], widths: &[usize], colours: bool) -> String {
    let mut line = String::new();
    for ((cell, column), width) in cells.iter().zip(columns).zip(widths).filter(|(_, width)| **width > 0) {
        let text = if column.gives_way { tail(&cell.text, *width) } else { short(&cell.text, *width) };
        let pad = " ".repeat(width.saturating_sub(text.chars().count()));
        let text = paint(&text, cell.colour, colours);
        if !line.is_empty() {
            line += &" ".repeat(GAP);
        }
        line += &match column.align {
            Align::Left => text + &pad,
            Align::Right => pad + &text,
        };
    }
    line.trim_end().to_owned()
}

/// The end of an id: ids that are made one after the other begin alike.
fn tail(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(count - most.saturating_sub(1)).collect();
    format!("…{kept}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::sample::Warning;
    use serde_json::json;

    fn sample() -> Sample {
        let queue = |name: &str, pending: u64| {
            json!({"queue": name, "paused": name == "mail", "pending": pending, "scheduled": 0, "running": 1,
                   "waiting": 0, "completed": 12, "failed": 2, "cancelled": 0})
        };
        let job = |n: u64| {
            json!({"job_id": format!("job_{n:032}"), "queue": "ready", "worker_id": "host-0001", "work": "sh -c 'make all'",
                   "started_at": "2026-01-02T03:04:05.678Z"})
        };
        Sample {
            queues: vec![queue("mail", 3), queue("ready", 1200)],
            workers: vec![json!({"worker_id": "host-0001", "status": "busy", "running_jobs": 2, "slots": 4,
                                 "last_seen": "2026-01-02T03:05:00Z", "tags": ["gpu"]})],
            running: (0..40).map(job).collect(),
            rates: Some(Rates { submitted: 2.5, completed: 1.0, failed: 0.0, at_least: false }),
            warnings: Some(Vec::new()),
            drains_for: None,
        }
    }

    fn frame(view: &mut View, width: usize, height: Option<usize>) -> Vec<String> {
        let now = "2026-01-02T03:05:06Z".parse().unwrap();
        let around = Surroundings { server: "unix:/s", trouble: None, now, colours: false, keys: height.is_some() };
        lines(&sample(), view, &around, Size { width, height })
    }

    #[test]
    fn a_frame_fits_its_screen() {
        for (width, height) in [(80, 24), (200, 60), (40, 12), (10, 5), (1, 1)] {
            let lines = frame(&mut View::default(), width, Some(height));
            assert_eq!(lines.len(), height);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:#?}");
        }
    }

    #[test]
    fn a_screen_of_80_by_24_shows_what_matters() {
        let lines = frame(&mut View::default(), 80, Some(24));
        assert_eq!(lines[0], "agq top  unix:/s  03:05:06Z");
        assert!(lines[1].starts_with("jobs   1203 pending  2 running  24 completed  4 failed"), "{}", lines[1]);
        assert_eq!(lines[2], "rates  2.5/s submitted  1.0/s completed  0.0/s failed");
        let text = lines.join("\n");
        for word in ["paused", "1200", "busy", "2/4", "gpu", "1m01s", "sh -c 'make all'", "of 40", "q quit"] {
            assert!(text.contains(word), "{word}:\n{text}");
        }
    }

    #[test]
    fn a_drain_and_warnings_stand_above_the_tables() {
        let warning = |name: &str| Warning { name: name.to_owned(), since: 1, text: "see to it".to_owned() };
        let warnings = ["a", "b", "c", "d", "e"].map(warning).to_vec();
        let sample = Sample { warnings: Some(warnings), drains_for: Some(2), ..sample() };
        let now = "2026-01-02T03:05:06Z".parse().unwrap();
        let around = Surroundings { server: "unix:/s", trouble: None, now, colours: false, keys: true };
        let found = lines(&sample, &mut View::default(), &around, Size { width: 80, height: Some(24) });
        assert_eq!(found.len(), 24);
        assert_eq!(
            found[3..8],
            [
                "draining: no job is granted, 2 still running",
                "warning  a: see to it",
                "warning  b: see to it",
                "warning  c: see to it",
                "warning  and 2 more: agq top --json has all",
            ]
        );
    }

    #[test]
    fn panes_scroll_and_sort() {
        let mut view = View::default();
        view.panes[0].sort = Some(1);
        let lines = frame(&mut view, 80, Some(24)).join("\n");
        assert!(lines.find("1200") < lines.find("mail"), "{lines}");
        view.focus = 2;
        view.panes[2].offset = 1_000;
        let lines = frame(&mut view, 80, Some(24)).join("\n");
        assert!(lines.contains("-40 of 40") && view.panes[2].offset < 40, "{lines}");
    }

    #[test]
    fn room_is_shared_and_none_is_wasted() {
        assert_eq!(share(Some(12), &[2, 1, 40]), [2, 1, 9]);
        assert_eq!(share(Some(9), &[20, 20, 20]), [3, 3, 3]);
        assert_eq!(share(Some(0), &[1, 1, 1]), [0, 0, 0]);
        assert_eq!(share(None, &[1, 0, 5]), [1, 0, 5]);
    }
}
