//! INFO: what the server says of itself, in Redis's sections and syntax.

use std::fmt::Write as _;

use agq_resp::{Reply, Request};

use crate::command::backups::Backups;
use crate::command::compactions::Compactions;
use crate::command::warnings::Warning;
use crate::command::{Command, Context, Flags, Group, Halt, Outcome, Run, args};
use crate::data::{View, keyspaces::DATABASES};
use crate::storage::Stats;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command::new("INFO", -1, Group::Server, Flags::NONE, Run::Write(info))
    .doc("1.0.0", "[section [section ...]]", "What the server says of itself, in sections of name:value lines.")
    .differs("Names only what AGQ knows; avg_ttl is not estimated; commandstats and latencystats count a command with all its \
        subcommands.")];

type Section = fn(&Context<'_, '_>, &mut String) -> Result<(), Halt>;

/// The sections in Redis's order.
const SECTIONS: [(&str, Section); 14] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Warnings", warnings),
    ("Modules", |_, _| Ok(())),
    ("Commandstats", command_stats),
    ("Errorstats", error_stats),
    ("Latencystats", latency_stats),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

fn info(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let asked: Vec<&[u8]> = request.iter().skip(1).collect();
    let asks = |word: &str| asked.iter().any(|asked| args::is(asked, word));
    let (all, default) = (asks("all") || asks("everything"), asked.is_empty() || asks("default"));
    let mut text = String::new();
    for (name, section) in SECTIONS {
        let usual = !["Commandstats", "Latencystats"].contains(&name);
        if all || (default && usual) || asks(name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            line(&mut text, format_args!("# {name}"));
            section(ctx, &mut text)?;
        }
    }
    Ok(Reply::Verbatim { format: *b"txt", text: text.into() })
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    let _ = write!(out, "{text}\r\n");
}

fn pair(out: &mut String, name: &str, value: impl std::fmt::Display) {
    line(out, format_args!("{name}:{value}"));
}

fn parameter<'a>(ctx: &'a Context<'_, '_>, name: &str) -> &'a str {
    let found = ctx.server.config.parameters.iter().find(|(parameter, _)| parameter == name);
    found.map_or("", |(_, value)| value)
}

fn server(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    let uptime = ctx.now.since(ctx.server.facts.started) / 1000;
    pair(out, "redis_version", super::REDIS_VERSION);
    pair(out, "redis_mode", "standalone");
    pair(out, "agq_version", env!("CARGO_PKG_VERSION"));
    pair(out, "os", format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    pair(out, "arch_bits", usize::BITS);
    if let Some(process) = &ctx.server.facts.process {
        pair(out, "process_id", process.id);
    }
    pair(out, "server_time_usec", ctx.now.0.saturating_mul(1000));
    pair(out, "uptime_in_seconds", uptime);
    pair(out, "uptime_in_days", uptime / 86_400);
    let drain = ctx.server.shutdown.drain();
    pair(out, "draining", u8::from(drain.is_some()));
    if let Some(drain) = drain {
        pair(out, "draining_jobs", ctx.server.facts.drain_waits_for);
        if let Some(deadline) = drain.deadline {
            // As in Redis while it waits for replicas.
            pair(out, "shutdown_in_milliseconds", deadline.since(ctx.now));
        }
    }
    Ok(())
}

fn clients(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    pair(out, "connected_clients", ctx.server.facts.clients);
    pair(out, "maxclients", parameter(ctx, "maxclients"));
    pair(out, "blocked_clients", ctx.server.facts.blocked);
    pair(out, "clients_memory", ctx.server.facts.endings.memory);
    Ok(())
}

fn memory(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    if let Some(process) = &ctx.server.facts.process {
        // Memory that redb caches is memory in use: there is no second figure.
        for name in ["used_memory", "used_memory_rss"] {
            pair(out, name, process.resident_bytes);
            pair(out, &format!("{name}_human"), human(process.resident_bytes));
        }
    }
    pair(out, "maxmemory", parameter(ctx, "maxmemory"));
    pair(out, "maxmemory_human", "0B");
    pair(out, "maxmemory_policy", parameter(ctx, "maxmemory-policy"));
    pair(out, "cache_size", parameter(ctx, "cache-size"));
    Ok(())
}

/// Bytes as Redis writes them for people: `1.77M`.
fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M", "G", "T"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes}B") } else { format!("{value:.2}{unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.2}P")
}

fn persistence(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    let refused = ctx.server.refusal.is_some();
    let status = if refused { "err" } else { "ok" };
    let backups = &ctx.server.backups;
    let saved = !refused && backups.last.as_ref().is_none_or(|last| last.outcome.is_ok());
    pair(out, "loading", 0);
    pair(out, "durability", parameter(ctx, "durability"));
    pair(out, "rdb_bgsave_in_progress", u8::from(backups.in_progress()));
    pair(out, "rdb_last_save_time", ctx.server.facts.last_save.0 / 1000);
    pair(out, "rdb_last_bgsave_status", if saved { "ok" } else { "err" });
    let seconds = |ms: Option<u64>| ms.map_or(-1, |ms| (ms / 1000).cast_signed());
    pair(out, "rdb_last_bgsave_time_sec", seconds(backups.last.as_ref().map(|last| last.took_ms)));
    let current = backups.running.map(|running| ctx.now.since(running.since));
    pair(out, "rdb_current_bgsave_time_sec", seconds(current));
    pair(out, "rdb_saves", backups.made);
    pair(out, "aof_enabled", u8::from(parameter(ctx, "appendonly") == "yes"));
    pair(out, "aof_rewrite_in_progress", 0);
    pair(out, "aof_last_bgrewrite_status", status);
    pair(out, "aof_last_write_status", status);
    self::backups(backups, out);
    compactions(&ctx.server.compactions, out);
    if let Some(stats) = &ctx.server.facts.storage {
        store(stats, out);
        disk(ctx, stats, out);
    }
    Ok(())
}

/// The figures of backups that Redis does not have.
fn backups(backups: &Backups, out: &mut String) {
    pair(out, "backups_begun", backups.begun);
    pair(out, "backups_failed", backups.failed);
    if let Some(running) = &backups.running {
        pair(out, "backup_progress_percent", running.percent);
    }
    if let Some(next) = backups.next {
        pair(out, "backup_next_time", next.0 / 1000);
    }
    let Some(last) = &backups.last else { return };
    pair(out, "backup_last_number", last.number);
    match &last.outcome {
        Ok(file) => pair(out, "backup_last_file", file),
        Err(error) => pair(out, "backup_last_error", error.replace(['\r', '\n'], " ")),
    }
    pair(out, "backup_last_bytes", last.file_bytes);
    pair(out, "backup_last_rows", last.rows);
    pair(out, "backup_last_snapshot_ms", last.snapshot_ms);
    pair(out, "backup_last_growth_bytes", last.growth_bytes);
}

/// The figures of compactions; Redis has none of them.
fn compactions(compactions: &Compactions, out: &mut String) {
    pair(out, "compaction_in_progress", u8::from(compactions.in_progress()));
    pair(out, "compactions_begun", compactions.begun);
    pair(out, "compactions_failed", compactions.failed);
    if let Some(running) = &compactions.running {
        pair(out, "compaction_phase", running.progress.phase.name());
        pair(out, "compaction_progress_percent", running.percent());
    }
    let Some(last) = &compactions.last else { return };
    pair(out, "compaction_last_number", last.number);
    pair(out, "compaction_last_ms", last.took_ms);
    match &last.outcome {
        Ok(done) => {
            pair(out, "compaction_last_rows", done.rows);
            pair(out, "compaction_last_bytes_before", done.before);
            pair(out, "compaction_last_bytes_after", done.after);
        }
        Err(error) => pair(out, "compaction_last_error", error.replace(['\r', '\n'], " ")),
    }
}

/// The store's own figures; Redis has none of them.
fn store(stats: &Stats, out: &mut String) {
    pair(out, "store_id", format_args!("{:032x}", stats.store_id));
    pair(out, "store_generation", stats.generation);
    pair(out, "store_file_bytes", stats.file_bytes);
    pair(out, "store_replayed_records", stats.replayed);
    pair(out, "store_repaired", u8::from(stats.repaired));
    pair(out, "log_bytes", stats.log_bytes);
    pair(out, "log_last_record", stats.seq);
    pair(out, "log_synced_record", stats.synced_seq);
    pair(out, "checkpoints", stats.checkpoints);
    pair(out, "checkpoint_last_record", stats.checkpoint_seq);
    pair(out, "checkpoint_draining", u8::from(stats.checkpoint_draining));
    pair(out, "checkpoint_last_stall_usec", stats.last_stall_us);
    pair(out, "checkpoint_window_rows", stats.window_rows);
    pair(out, "checkpoint_window_rows_allowed", stats.window_rows_allowed);
    let Some(archive) = &stats.archive else { return };
    pair(out, "archive_status", if archive.error.is_none() { "ok" } else { "err" });
    if let Some(error) = &archive.error {
        pair(out, "archive_error", error.replace(['\r', '\n'], " "));
    }
    pair(out, "archive_last_record", archive.seq);
    pair(out, "archive_lag_bytes", archive.lag_bytes);
    pair(out, "archive_gaps", archive.gaps);
}

/// How much room there is: `ok`, `low`, `full` (nothing that adds data is taken) or `exhausted` (nothing that writes).
fn disk(ctx: &Context<'_, '_>, stats: &Stats, out: &mut String) {
    let state = match &ctx.server.refusal {
        Some(refusal) if refusal.everything => "exhausted",
        Some(_) => "full",
        None if ctx.server.facts.disk_is_full => "full",
        None if ctx.server.facts.disk_is_low => "low",
        None => "ok",
    };
    pair(out, "disk_state", state);
    if let Some(file_system) = stats.file_system {
        pair(out, "disk_free_bytes", file_system.available);
        pair(out, "disk_total_bytes", file_system.total);
    }
    pair(out, "store_allocated_bytes", stats.allocated_bytes);
    pair(out, "max_file_size", stats.max_file_size.unwrap_or(0));
}

fn stats(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    pair(out, "total_connections_received", ctx.server.facts.connections_received);
    pair(out, "total_commands_processed", ctx.server.facts.commands_processed);
    pair(out, "expired_keys", ctx.touched.expired);
    pair(out, "evicted_keys", 0);
    let endings = &ctx.server.facts.endings;
    pair(out, "evicted_clients", endings.evicted);
    pair(out, "rejected_connections", endings.refused);
    pair(out, "client_output_buffer_limit_disconnections", endings.output);
    pair(out, "auth_timeout_disconnections", endings.auth_timeouts);
    pair(out, "request_timeout_disconnections", endings.request_timeouts);
    pair(out, "idle_timeout_disconnections", endings.idle_timeouts);
    pair(out, "write_timeout_disconnections", endings.write_timeouts);
    pair(out, "wrong_keys", endings.wrong_keys);
    let [channels, patterns, shards] = ctx.server.channels.totals();
    pair(out, "pubsub_channels", channels);
    pair(out, "pubsub_patterns", patterns);
    pair(out, "pubsubshard_channels", shards);
    pair(out, "total_error_replies", ctx.server.statistics.error_replies);
    Ok(())
}

fn command_stats(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    for (command, usage) in ctx.server.statistics.used() {
        let micros = usage.nanos / 1000;
        let each = micros as f64 / usage.calls.max(1) as f64;
        let (calls, rejected, failed) = (usage.calls, usage.rejected, usage.failed);
        let text = format_args!(
            "calls={calls},usec={micros},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
        );
        line(out, format_args!("cmdstat_{}:{text}", command.name.to_ascii_lowercase()));
    }
    Ok(())
}

fn error_stats(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    for (code, count) in ctx.server.statistics.errors() {
        line(out, format_args!("errorstat_{code}:count={count}"));
    }
    Ok(())
}

fn latency_stats(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    for (command, usage) in ctx.server.statistics.used().filter(|(_, usage)| usage.calls > 0) {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| usage.times.percentile(part) as f64 / 1000.0);
        let name = command.name.to_ascii_lowercase();
        line(out, format_args!("latency_percentiles_usec_{name}:p50={p50:.3},p99={p99:.3},p99.9={p999:.3}"));
    }
    Ok(())
}

fn replication(_: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    pair(out, "role", "master");
    pair(out, "connected_slaves", 0);
    pair(out, "master_repl_offset", 0);
    Ok(())
}

fn cpu(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    if let Some(process) = &ctx.server.facts.process {
        pair(out, "used_cpu_sys", format_args!("{:.6}", process.cpu_system_ms as f64 / 1000.0));
        pair(out, "used_cpu_user", format_args!("{:.6}", process.cpu_user_ms as f64 / 1000.0));
    }
    Ok(())
}

/// What an operator should see to; Redis has no such section.
fn warnings(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    let warnings = &ctx.server.facts.warnings;
    pair(out, "warnings", warnings.len());
    for Warning { name, since, text } in warnings {
        line(out, format_args!("warning_{name}:since={},text={text}", since.0 / 1000));
    }
    Ok(())
}

fn cluster(_: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    pair(out, "cluster_enabled", 0);
    Ok(())
}

fn keyspace(ctx: &Context<'_, '_>, out: &mut String) -> Result<(), Halt> {
    for database in 0..DATABASES {
        let keyspace = ctx.server.keyspaces[database];
        let view = View { keyspace, ..ctx.view() };
        let keys = view.count()?;
        if keys > 0 {
            let expires = view.count_expiring()?;
            pair(out, &format!("db{database}"), format_args!("keys={keys},expires={expires},avg_ttl=0"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_written_as_redis_writes_them() {
        for (bytes, text) in [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1_853_040, "1.77M"), (1 << 33, "8.00G")] {
            assert_eq!(human(bytes), text);
        }
    }
}
