//! What a command costs on collections of a thousand to ten million elements: round trips to a server that runs beside
//! it, AGQ and, where there is one, Redis with the same promise (`appendfsync always`), in turns.
//!
//! ```sh
//! cargo bench --bench costs                          # up to a million elements
//! cargo bench --bench costs -- --up-to 10000000      # up to ten million: takes a quarter of an hour
//! ```
//!
//! A round fills a list, a hash, a sorted set and a set of a size, calls every command at random places, and gets rid
//! of the collections. Small sizes go through more rounds, so that what a round does once has several samples too.
//! Prints Markdown tables: docs/performance.md has them.

mod commands;
mod probe;
mod server;
mod times;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;

use commands::{Bed, COLLECTIONS, Collection, FLOORS, Operation};
use server::Server;
use times::Times;

/// The longest that one command is called again and again in a round, where a call takes long.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Parser)]
#[command(about = "Measures what commands cost on small and large collections")]
struct Options {
    /// Elements of the largest collections; the others have a tenth, a hundredth and so on, down to a thousand
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    up_to: u64,
    /// Calls of each command at each size
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    calls: u64,
    /// Do not measure Redis
    #[arg(long)]
    without_redis: bool,
    /// Folder on the disk to measure with
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A server and what was measured on it: a row an operation, a column a size.
struct Measured {
    server: Server,
    rows: Vec<(&'static str, Vec<Times>)>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::tempdir_in(&options.dir).with_context(|| options.dir.display().to_string())?;
    let mut all = vec![Measured::of(Server::agq(&folder.path().join("agq"))?)];
    if !options.without_redis {
        match Server::redis(&folder.path().join("redis"))? {
            Some(redis) => all.push(Measured::of(redis)),
            None => eprintln!("there is no redis-server here: AGQ is measured alone"),
        }
    }
    let sizes: Vec<u64> =
        std::iter::successors(Some(1000), |size| Some(size * 10)).take_while(|size| *size <= options.up_to).collect();
    for (column, &size) in sizes.iter().enumerate() {
        let rounds = (2_000_000 / size).clamp(1, 20);
        // Few enough that no command empties what it is called on.
        let calls = options.calls.div_ceil(rounds).min(size / 4);
        for round in 0..rounds {
            for measured in &mut all {
                eprintln!("{} elements, round {} of {rounds}: {}", size, round + 1, measured.server.name);
                measured.round(size, calls, column).with_context(|| measured.server.name)?;
            }
        }
    }
    for measured in &all {
        measured.print(&sizes);
    }
    let largest = sizes.last().copied().unwrap_or_default();
    let mut disturbances = Vec::new();
    for measured in &mut all {
        eprintln!("a sorted set of {largest} deleted under load: {}", measured.server.name);
        disturbances.extend(probe::deletion(&mut measured.server, largest).with_context(|| measured.server.name)?);
    }
    probe::print(largest, &disturbances);
    Ok(())
}

impl Measured {
    fn of(server: Server) -> Measured {
        let collections = COLLECTIONS.iter().flat_map(|collection| collection.operations);
        let rows = FLOORS.iter().chain(collections).map(|operation| (operation.name, Vec::new())).collect();
        Measured { server, rows }
    }

    /// Fills every collection, calls every operation and so gets rid of the collections again.
    fn round(&mut self, size: u64, calls: u64, column: usize) -> anyhow::Result<()> {
        let mut bed = Bed::new(size);
        for operation in FLOORS {
            self.operate(&mut bed, operation, calls, column)?;
        }
        for collection in COLLECTIONS {
            fill(&mut self.server, collection, size)?;
            for operation in collection.operations {
                if operation.once {
                    self.rest_awake()?;
                }
                self.operate(&mut bed, operation, calls, column).with_context(|| operation.name)?;
            }
            self.server.call(&["DEL", collection.key])?;
            self.server.settle()?;
        }
        Ok(())
    }

    /// Waits for the server to have nothing left to do, and rouses processor and disk from the wait.
    fn rest_awake(&mut self) -> anyhow::Result<()> {
        self.server.settle()?;
        (0..20).try_for_each(|_| self.server.call(&["SET", "string", "awake"]).map(|_| ()))
    }

    fn operate(&mut self, bed: &mut Bed, operation: &Operation, calls: u64, column: usize) -> anyhow::Result<()> {
        if operation.near_head {
            bed.look_at_head(&mut self.server, calls)?;
        }
        let cells = self.rows.iter_mut().find(|(name, _)| *name == operation.name).map(|(_, cells)| cells);
        let cells = cells.context("an operation without a row")?;
        cells.resize_with(cells.len().max(column + 1), Times::default);
        let begun = Instant::now();
        for _ in 0..if operation.once { 1 } else { calls } {
            let request = (operation.request)(bed);
            let sent = Instant::now();
            self.server.call(&request)?;
            cells[column].push(sent.elapsed());
            if begun.elapsed() > PATIENCE {
                break;
            }
        }
        Ok(())
    }

    fn print(&self, sizes: &[u64]) {
        println!("\n{}, median / 99th percentile in µs:\n\n| command |{}", self.server.name, times::head(sizes));
        println!("| --- |{}", " ---: |".repeat(sizes.len()));
        for (name, cells) in &self.rows {
            let cells: String = cells.iter().map(|cell| format!(" {cell} |")).collect();
            println!("| {name} |{cells}");
        }
    }
}

/// Fills a collection with the elements from 0 up to `size`, and waits until the server has nothing left to do.
fn fill(server: &mut Server, collection: &Collection, size: u64) -> anyhow::Result<()> {
    /// Elements of a command.
    const ELEMENTS: u64 = 250;
    /// Commands of a pipeline.
    const COMMANDS: u64 = 8;
    let mut next = 0;
    while next < size {
        let mut pipeline = Vec::new();
        for _ in 0..COMMANDS {
            let end = (next + ELEMENTS).min(size);
            if next < end {
                let mut request = vec![collection.fill.to_owned(), collection.key.to_owned()];
                (next..end).for_each(|number| request.extend((collection.element)(number)));
                pipeline.push(request);
            }
            next = end;
        }
        server.pipeline(&pipeline)?;
    }
    server.settle()
}
