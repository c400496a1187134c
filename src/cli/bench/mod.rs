//! `agq bench`: a load generator for any server that speaks the Redis protocol. It measures every request, and the
//! gaps in which no connection got an answer at all.

mod histogram;
mod load;
mod scan;
mod workload;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::connect::ServerArgs;
use super::number::number;
use super::output;
use super::table::{Align, Table};
use load::{Outcome, Plan};
use workload::{TESTS, Workload};

/// Requests of a pipeline that fills the keyspace.
const FILL_PIPELINE: usize = 64;

/// The load generator's flags.
#[derive(Debug, Args)]
#[command(after_help = "Tests: ping set get incr lpush rpush lrange_100 lpop rpop hset zadd zpopmin mset. They write \
                        keys named bench:*. A command after -- is run instead; __rand_int__ in it becomes a number.\n\n\
                        Example: agq bench --clients 50 --seconds 10 --keyspace 1000000 set get")]
pub(super) struct BenchArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Connections open at a time
    #[arg(long, short, value_name = "N", default_value_t = 50, value_parser = number("connections", 1..=10_000_usize))]
    clients: usize,
    /// Requests sent on a connection before their replies are awaited
    #[arg(long, short = 'P', value_name = "N", default_value_t = 1, value_parser = number("requests", 1..=100_000_usize))]
    pipeline: usize,
    /// Requests of each test
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100_000, conflicts_with = "seconds",
          value_parser = number("requests", 1..=u64::MAX))]
    requests: u64,
    /// Run each test for so long instead
    #[arg(long, value_name = "S", value_parser = number("seconds", 1..=86_400_u64))]
    seconds: Option<u64>,
    /// Different keys, fields and members, chosen at random
    #[arg(long, short = 'r', value_name = "N", default_value_t = 100_000,
          value_parser = number("", 1..=999_999_999_999_u64))]
    keyspace: u64,
    /// Bytes of a value
    #[arg(long, short = 'd', value_name = "BYTES", default_value_t = 3, value_parser = number("bytes", 0..=64_usize << 20))]
    size: usize,
    /// Set every key of the keyspace once before the tests
    #[arg(long)]
    fill: bool,
    /// Print one JSON array with a member for each test
    #[arg(long)]
    json: bool,
    /// Tests to run, in this order [default: all]
    #[arg(value_name = "TEST", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(TESTS))]
    tests: Vec<String>,
    /// A command to run instead of the tests
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "tests")]
    command: Vec<String>,
}

/// Runs the tests one after the other.
pub(super) async fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let (client, options) = args.server.connect().await?;
    drop(client);
    let plan = Plan {
        clients: args.clients,
        pipeline: args.pipeline,
        requests: if args.seconds.is_some() { u64::MAX } else { args.requests },
        duration: args.seconds.map(Duration::from_secs),
        keyspace: args.keyspace,
        in_order: false,
    };
    if args.fill {
        let fill =
            Plan { pipeline: FILL_PIPELINE, requests: args.keyspace, duration: None, in_order: true, ..plan.clone() };
        if let Some(load) = Workload::named("set", args.size) {
            succeed("fill", load::run(&options, &fill, load).await?)?;
        }
    }
    let mut results = Vec::new();
    for load in workloads(args) {
        let name = load.name.clone();
        let outcome = succeed(&name, load::run(&options, &plan, load).await?)?;
        results.push((name, outcome));
    }
    if args.json {
        output::json(&results.iter().map(|(name, outcome)| to_json(name, &plan, outcome)).collect())?;
    } else {
        print(&results)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn workloads(args: &BenchArgs) -> Vec<Workload> {
    if let Some(name) = args.command.first() {
        return vec![Workload::new(&name.to_lowercase(), &args.command)];
    }
    let names = args.tests.iter().map(String::as_str);
    let names: Vec<&str> = if args.tests.is_empty() { TESTS.to_vec() } else { names.collect() };
    names.into_iter().filter_map(|name| Workload::named(name, args.size)).collect()
}

/// A rate of errors is no measurement.
fn succeed(name: &str, outcome: Outcome) -> anyhow::Result<Outcome> {
    match &outcome.first_error {
        Some(error) => bail!("{name}: {} of {} requests failed: {error}", outcome.errors, outcome.latency.count()),
        None => Ok(outcome),
    }
}

fn rate(outcome: &Outcome) -> f64 {
    outcome.latency.count() as f64 / outcome.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn to_json(name: &str, plan: &Plan, outcome: &Outcome) -> serde_json::Value {
    let latency = &outcome.latency;
    json!({
        "test": name,
        "clients": plan.clients,
        "pipeline": plan.pipeline,
        "keyspace": plan.keyspace,
        "requests": latency.count(),
        "seconds": outcome.elapsed.as_secs_f64(),
        "requests_per_second": rate(outcome).round(),
        "mean_ms": millis(latency.mean()),
        "p50_ms": millis(latency.percentile(0.5)),
        "p99_ms": millis(latency.percentile(0.99)),
        "p999_ms": millis(latency.percentile(0.999)),
        "max_ms": millis(latency.max()),
        "stalls_over_1ms": outcome.stalls.count(),
        "stall_p99_ms": millis(outcome.stalls.percentile(0.99)),
        "longest_stall_ms": millis(outcome.stalls.max()),
    })
}

fn print(results: &[(String, Outcome)]) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("test", Align::Left),
        ("requests/s", Align::Right),
        ("mean ms", Align::Right),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("p99.9", Align::Right),
        ("max", Align::Right),
        ("stalls", Align::Right),
        ("their p99", Align::Right),
        ("longest", Align::Right),
    ]);
    for (name, outcome) in results {
        let latency = &outcome.latency;
        let ms = |duration| format!("{:.3}", millis(duration));
        table.row([
            name.clone(),
            format!("{:.0}", rate(outcome)),
            ms(latency.mean()),
            ms(latency.percentile(0.5)),
            ms(latency.percentile(0.99)),
            ms(latency.percentile(0.999)),
            ms(latency.max()),
            outcome.stalls.count().to_string(),
            ms(outcome.stalls.percentile(0.99)),
            ms(outcome.stalls.max()),
        ]);
    }
    table.print()?;
    output::line("A stall is a time of over 1 ms in which no connection got a reply.")
}
