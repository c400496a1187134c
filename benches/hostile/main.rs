//! What hostile and slow clients cost the others, and how much memory each attack takes.
//!
//! ```sh
//! cargo bench --bench hostile                            # some minutes; wants 11,000 open files (ulimit -n)
//! cargo bench --bench hostile -- --rounds 7 --seconds 5
//! ```
//!
//! Throughput: 64 clients that SET one after the other, alone and beside an attack, in turns; compared are medians.
//! Memory: each attack on a server of its own; the peak is the system's (`VmHWM`), so Linux is needed.
//! Prints Markdown tables: docs/operations.md has them.

mod attacks;
mod busy;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use attacks::{ATTACKS, Company};
use server::Server;

#[derive(Debug, Parser)]
#[command(about = "Measures what hostile clients cost")]
struct Options {
    /// Rounds of throughput, each alone and beside every attack
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Length of one measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    seconds: u64,
    /// Idle connections
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    idle: usize,
    /// Clients that are measured
    #[arg(long, value_name = "N", default_value_t = 64)]
    busy: usize,
    /// Folder on the disk to measure with
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Only the throughput, or only the memory
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Throughput,
    Memory,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.only != Some(Part::Memory) {
        throughput(&options)?;
    }
    if options.only != Some(Part::Throughput) {
        memory(&options)?;
    }
    Ok(())
}

fn throughput(options: &Options) -> anyhow::Result<()> {
    let server = Server::start(&options.dir)?;
    let time = Duration::from_secs(options.seconds);
    let all = [Company::Nobody, Company::Idle(options.idle), Company::DeafSubscriber, Company::ByteASecond];
    let mut rates = vec![Vec::new(); all.len()];
    // What is new about a store costs the first round something.
    busy::rate(server.address, options.busy, time)?;
    for round in 0..options.rounds {
        for turn in 0..all.len() {
            let which = (turn + round) % all.len();
            let company = all[which].join(server.address)?;
            rates[which].push(busy::rate(server.address, options.busy, time)?);
            drop(company);
        }
    }
    println!(
        "| beside {} clients that SET | commands a second | of those alone |\n| --- | ---: | ---: |",
        options.busy
    );
    let alone = median(&mut rates[0].clone());
    for (company, rates) in all.iter().zip(&mut rates) {
        let rate = median(rates);
        println!("| {} | {rate:.0} | {:.2} |", company.name(), rate / alone);
    }
    println!();
    Ok(())
}

fn memory(options: &Options) -> anyhow::Result<()> {
    println!("| attack | peak, MiB | more than idle, MiB | a connection, KiB | what became of it |");
    println!("| --- | ---: | ---: | ---: | --- |");
    for attack in ATTACKS {
        let server = Server::start(&options.dir)?;
        let before = server.memory_kib("VmHWM:")?;
        let (connections, outcome) = (attack.run)(&server, options.idle)?;
        let peak = server.memory_kib("VmHWM:")?;
        let more = peak.saturating_sub(before);
        let each = more as f64 / connections as f64;
        println!("| {} | {} | {} | {each:.1} | {outcome} |", attack.name, peak >> 10, more >> 10);
    }
    Ok(())
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
