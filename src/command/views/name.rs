//! Which names are views: parsing them, and whether what they show exists.

use crate::data::View;
use crate::jobs::{Id, JobsView, Result, plan_store};

/// What a domain name shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) enum Name {
    /// `job:<id>` and its parts.
    Job(Id, JobPart),
    /// `plan:<id>`.
    Plan(Id),
    /// `worker:<id>:` and a part.
    Worker(Id, WorkerPart),
    /// `queue:<name>`: the pending jobs of a queue; the last is claimed next.
    Queue(Id),
    /// `queue:processing`: the running jobs, the newest claim first.
    Processing,
    /// `queue:scheduled`: the scheduled jobs by due time.
    Scheduled,
}

/// What of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum JobPart {
    /// Its JSON.
    Whole,
    /// What its submitter wanted to remember.
    Metadata,
    /// The word for where it stands.
    Status,
    /// Who runs it, or ran it last.
    Worker,
    /// What it wrote.
    Stdout,
    /// What it wrote of errors.
    Stderr,
}

/// What of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum WorkerPart {
    /// Its JSON.
    Metadata,
    /// What it can run, comma-separated.
    Tools,
    /// Its tags, comma-separated.
    Tags,
    /// When it was last heard, for as long as that makes it alive.
    Alive,
}

/// True when a name begins as domain names do: the only cost for all others.
pub(in crate::command) fn has_prefix(name: &[u8]) -> bool {
    match name.first() {
        Some(b'j') => name.starts_with(b"job:"),
        Some(b'p') => name.starts_with(b"plan:"),
        Some(b'w') => name.starts_with(b"worker:"),
        Some(b'q') => name.starts_with(b"queue:"),
        _ => false,
    }
}

impl Name {
    /// What a name would show if that existed; `None` for a name that is always an ordinary key's.
    pub(in crate::command) fn parse(name: &[u8]) -> Option<Name> {
        let colon = name.iter().position(|&byte| byte == b':')?;
        let (domain, rest) = (&name[..colon], &name[colon + 1..]);
        match domain {
            b"plan" => Id::sound(rest).map(Name::Plan),
            b"queue" if rest == b"processing" => Some(Name::Processing),
            b"queue" if rest == b"scheduled" => Some(Name::Scheduled),
            b"queue" => Id::sound(rest).map(Name::Queue),
            b"job" => {
                let (id, part) = split(rest);
                Some(Name::Job(Id::sound(id)?, JobPart::of(part)?))
            }
            b"worker" => {
                let (id, part) = split(rest);
                Some(Name::Worker(Id::sound(id)?, WorkerPart::of(part?)?))
            }
            _ => None,
        }
    }

    /// What a name of database 0 shows now; `None` when it is an ordinary key's.
    pub(in crate::command) fn resolve(view: &View<'_>, name: &[u8]) -> Result<Option<Name>> {
        if !has_prefix(name) {
            return Ok(None);
        }
        let Some(parsed) = Name::parse(name) else { return Ok(None) };
        Ok(parsed.exists(&JobsView { rows: view.rows, now: view.now })?.then_some(parsed))
    }

    fn exists(&self, jobs: &JobsView<'_>) -> Result<bool> {
        Ok(match self {
            Name::Processing | Name::Scheduled | Name::Worker(_, WorkerPart::Tools | WorkerPart::Tags) => true,
            Name::Queue(id) => &**id == "ready" || jobs.queue(id.as_bytes())?.is_some(),
            Name::Job(id, _) => jobs.has_job(id)?,
            Name::Plan(id) => plan_store::exists(jobs.rows, id.as_bytes())?,
            Name::Worker(id, _) => jobs.worker(id.as_bytes())?.is_some(),
        })
    }
}

/// An id and the part behind its colon.
fn split(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    match rest.iter().position(|&byte| byte == b':') {
        Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
        None => (rest, None),
    }
}

impl JobPart {
    fn of(part: Option<&[u8]>) -> Option<JobPart> {
        match part {
            None => Some(JobPart::Whole),
            Some(b"metadata") => Some(JobPart::Metadata),
            Some(b"status") => Some(JobPart::Status),
            Some(b"worker") => Some(JobPart::Worker),
            Some(b"stdout") => Some(JobPart::Stdout),
            Some(b"stderr") => Some(JobPart::Stderr),
            Some(_) => None,
        }
    }
}

impl WorkerPart {
    fn of(part: &[u8]) -> Option<WorkerPart> {
        match part {
            b"metadata" => Some(WorkerPart::Metadata),
            b"tools" => Some(WorkerPart::Tools),
            b"tags" => Some(WorkerPart::Tags),
            b"alive" => Some(WorkerPart::Alive),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::sound(text.as_bytes()).unwrap()
    }

    #[test]
    fn domain_names_are_parsed() {
        let names = [
            ("job:j1", Name::Job(id("j1"), JobPart::Whole)),
            ("job:j1:stdout", Name::Job(id("j1"), JobPart::Stdout)),
            ("plan:p", Name::Plan(id("p"))),
            ("worker:w:alive", Name::Worker(id("w"), WorkerPart::Alive)),
            ("queue:ready", Name::Queue(id("ready"))),
            ("queue:processing", Name::Processing),
            ("queue:scheduled", Name::Scheduled),
        ];
        for (text, name) in names {
            assert!(has_prefix(text.as_bytes()));
            assert_eq!(Name::parse(text.as_bytes()), Some(name));
        }
    }

    #[test]
    fn other_names_are_ordinary() {
        for text in ["job:", "job:a b", "job:a:other", "job:a:", "worker:w", "worker:w:x", "plan:a:b", "queue:a:b"] {
            assert_eq!(Name::parse(text.as_bytes()), None, "{text}");
        }
        for text in ["", "j", "jobs:1", "Job:1", "workers", "x"] {
            assert!(!has_prefix(text.as_bytes()), "{text}");
        }
    }
}
