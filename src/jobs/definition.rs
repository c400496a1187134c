//! Definitions of schedules: what a client may ask for, checked whole before anything is written.

use serde_json::value::RawValue;

use crate::jobs::body::check_length;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::json::Object;
use crate::jobs::schedules::{Course, Misfire, Overlap};
use crate::jobs::ticks::Ticks;
use crate::jobs::{Submit, time};

/// Fields of a job that make no sense for all jobs of a schedule, and why.
const NOT_FOR_SCHEDULES: [(&str, &str); 7] = [
    ("job_id", "each tick makes a job with an id of its own"),
    ("delay_ms", "the cron line says when jobs run"),
    ("run_at", "the cron line says when jobs run"),
    ("expires_at", "it is one moment for all ticks; end_at ends a schedule"),
    ("idempotency_key", "each tick is a submission of its own"),
    ("after", "it names jobs that end once"),
    ("after_policy", "it belongs to after, which names jobs that end once"),
];

/// A schedule that a client wants, checked but for what is in the store.
#[derive(Debug, Clone)]
pub struct Definition<'a> {
    pub(super) course: Course,
    pub(super) ticks: Ticks,
    pub(super) misfire: Misfire,
    pub(super) overlap: Overlap,
    pub(super) job: &'a RawValue,
    pub(super) submit: Submit<'a>,
}

impl<'a> Definition<'a> {
    /// What its jobs are submitted as.
    #[must_use]
    pub fn submit(&self) -> &Submit<'a> {
        &self.submit
    }

    /// Reads a definition.
    ///
    /// # Errors
    /// When a field is unknown, missing, of the wrong type or makes no sense; the error names it.
    pub fn parse(text: &'a [u8]) -> Result<Definition<'a>> {
        check_length("schedule", text.len())?;
        let mut from = Object::parse(text, "schedule")?;
        let job = from.take("job");
        let definition = Definition::take(&mut from, job)?;
        from.finish()?;
        Ok(definition)
    }

    /// Takes the fields of a definition but its job, which is `job`.
    pub(super) fn take(from: &mut Object<'_>, job: Option<&'a RawValue>) -> Result<Definition<'a>> {
        let missing = |field: &str| Error::refused(format!("schedule.{field} is missing"));
        let mut moment = |name: &str| {
            let raw = from.take(name);
            raw.map(|raw| time::read(raw, &format!("schedule.{name}"))).transpose()
        };
        let (start_at, end_at) = (moment("start_at")?, moment("end_at")?);
        if let (Some(start), Some(end)) = (start_at, end_at)
            && start > end
        {
            let (start, end) = (time::rfc3339(start), time::rfc3339(end));
            return Err(Error::refused(format!("schedule.end_at is {end}, before schedule.start_at, {start}")));
        }
        let cron = from.string("cron")?.ok_or_else(|| missing("cron"))?;
        let job = job.ok_or_else(|| missing("job"))?;
        let zone = from.string("zone")?.unwrap_or_else(|| "UTC".to_owned());
        let course = Course { cron, zone, start_at, end_at };
        let misfire = choice(from, "misfire", &Misfire::ALL, Misfire::name)?;
        let overlap = choice(from, "overlap", &Overlap::ALL, Overlap::name)?;
        Ok(Definition { ticks: course.ticks()?, course, misfire, overlap, job, submit: template(job)? })
    }
}

/// Takes one of a few words; the first is what holds when there is none.
fn choice<T: Copy>(from: &mut Object<'_>, field: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T> {
    let (path, word) = (from.path(field), from.string(field)?);
    let word = word.as_deref().unwrap_or_else(|| name(all[0]));
    all.iter().copied().find(|choice| name(*choice) == word).ok_or_else(|| {
        let (known, word) = (all.iter().map(|choice| name(*choice)).collect::<Vec<_>>(), shown(word.as_bytes()));
        Error::refused(format!("{path} must be one of {}, not '{word}'", known.join(", ")))
    })
}

/// What the jobs of a schedule are submitted as.
fn template(job: &RawValue) -> Result<Submit<'_>> {
    let mut fields = Object::of(job, "schedule.job")?;
    for (field, why) in NOT_FOR_SCHEDULES {
        if fields.take(field).is_some() {
            return Err(Error::refused(format!("schedule.job.{field} is not for schedules: {why}")));
        }
    }
    Submit::parse(job.get().as_bytes()).map_err(|error| error.at("schedule"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Definition::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_with_a_definition_is_named() {
        let of = |more: &str| format!(r#"{{"cron":"@daily","job":{{"kind":"a"}}{more}}}"#);
        let definition = of("");
        assert_eq!(Definition::parse(definition.as_bytes()).unwrap().course.zone, "UTC");
        assert_eq!(error(r#"{"job":{}}"#), "ERR schedule.cron is missing");
        assert_eq!(error(r#"{"cron":"@daily"}"#), "ERR schedule.job is missing");
        assert_eq!(error(r#"{"cron":5,"job":{}}"#), "ERR schedule.cron must be a string, not 5");
        assert_eq!(
            error(&of(r#","misfire":"twice""#)),
            "ERR schedule.misfire must be one of once, all, skip, not 'twice'"
        );
        assert_eq!(error(&of(r#","overlap":"no""#)), "ERR schedule.overlap must be one of allow, skip, not 'no'");
        assert_eq!(
            error(&of(r#","start_at":2000,"end_at":1000"#)),
            "ERR schedule.end_at is 1970-01-01T00:00:01.000Z, before schedule.start_at, 1970-01-01T00:00:02.000Z"
        );
        assert_eq!(
            error(&of(r#","paused":true"#)),
            "ERR schedule.paused is not a known field: remove it, or check its spelling"
        );
        for (field, why) in NOT_FOR_SCHEDULES {
            let text = format!(r#"{{"cron":"@daily","job":{{"kind":"a","{field}":1}}}}"#);
            assert_eq!(error(&text), format!("ERR schedule.job.{field} is not for schedules: {why}"));
        }
        let text = r#"{"cron":"@daily","job":{"kind":"a","attempts":0}}"#;
        assert_eq!(error(text), "ERR schedule: job.attempts must be an integer from 1 to 1000000, not 0");
    }
}
