//! The server's flags that say when backups begin by themselves.

use clap::Args;

use super::serve_backups::parse_time;
use crate::jobs::cron::Cron;
use crate::jobs::ticks::Ticks;
use crate::server::When;

#[derive(Debug, Clone, Args)]
pub(super) struct BackupTimeArgs {
    /// A backup begins by itself so long after the last: 6h, 1d [default: none does]
    #[arg(long, env = "AGQ_BACKUP_EVERY", value_name = "TIME", value_parser = parse_time)]
    backup_every: Option<u64>,
    /// Backups begin by themselves at the times of a cron line, UTC: '15 3 * * *' [default: none does]
    #[arg(long, env = "AGQ_BACKUP_AT", value_name = "CRON", value_parser = parse_line, conflicts_with = "backup_every")]
    backup_at: Option<Line>,
}

/// A cron line, and its words.
#[derive(Debug, Clone)]
struct Line {
    text: String,
    cron: Cron,
}

fn parse_line(text: &str) -> Result<Line, String> {
    let cron =
        Cron::parse("the line", text).map_err(|error| error.to_string().trim_start_matches("ERR ").to_owned())?;
    Ok(Line { text: text.to_owned(), cron })
}

impl BackupTimeArgs {
    /// When backups begin; `None` when none does by itself.
    pub(super) fn when(&self) -> Option<When> {
        let at = self.backup_at.as_ref();
        let at = at.map(|line| When::At(Ticks::new(line.cron.clone(), jiff::tz::TimeZone::UTC)));
        at.or(self.backup_every.map(When::Every))
    }

    /// The flags as CONFIG GET shows them: seconds, and the line.
    pub(super) fn parameters(&self) -> [(&'static str, String); 2] {
        [
            ("backup-every", self.backup_every.map_or(String::new(), |ms| (ms / 1000).to_string())),
            ("backup-at", self.backup_at.as_ref().map_or(String::new(), |line| line.text.clone())),
        ]
    }
}
