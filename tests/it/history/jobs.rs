//! Whether what clients were told about jobs can be true: no epoch granted twice, epochs rise, one completion, no report
//! at an old epoch, no claim after the end or from a paused queue, and first come, first served.
//!
//! It looks at the answers only, and so knows nothing that a client could not know. [`super::feed`] holds them against
//! what the server says that it did.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::linear::Violation;
use super::record::{Answer, Entry};
use super::work::grants;

/// A claim of a job that a client was told of.
pub(super) struct Grant<'e> {
    pub(super) epoch: u64,
    pub(super) by: &'e Entry,
    /// Its place in the answer.
    place: usize,
}

/// The submits of a job: the same several times, when the answer to one did not come.
pub(super) struct Submit<'e> {
    pub(super) definition: Value,
    /// The first.
    pub(super) first: &'e Entry,
    /// The first that was acknowledged.
    pub(super) acknowledged: Option<&'e Entry>,
}

/// A history of calls on jobs, by job.
#[derive(Default)]
pub(super) struct Calls<'e> {
    pub(super) submits: BTreeMap<String, Submit<'e>>,
    pub(super) grants: BTreeMap<String, Vec<Grant<'e>>>,
    /// Reports by job and epoch, those without an answer too.
    pub(super) reports: HashMap<(&'e str, u64), Vec<&'e Entry>>,
    pub(super) cancels: HashMap<&'e str, Vec<&'e Entry>>,
    pub(super) claims: Vec<&'e Entry>,
    /// Calls that need their job to be there.
    uses: Vec<&'e Entry>,
    /// Looks at queues, by the jobs that they showed as pending.
    shown: HashMap<String, Vec<&'e Entry>>,
    /// Pauses and ends of pauses, by queue.
    pauses: HashMap<&'e str, Vec<&'e Entry>>,
}

/// True when it was answered, and with no error.
pub(super) fn has_succeeded(entry: &Entry) -> bool {
    entry.answer().is_some_and(|answer| !matches!(answer, Answer::Error(_)))
}

/// A finding about these calls.
pub(super) fn wrong(what: &str, entries: &[&Entry]) -> Violation {
    let lines: Vec<String> = entries.iter().map(|entry| format!("  {entry}\n")).collect();
    Violation(format!("{what}:\n{}", lines.concat()))
}

impl<'e> Calls<'e> {
    pub(super) fn of(entries: &'e [Entry]) -> Calls<'e> {
        let mut calls = Calls::default();
        for entry in entries.iter().filter(|entry| !entry.call.is_exec) {
            match entry.call.name() {
                "JOB.SUBMIT" => calls.submit(entry),
                "JOB.CLAIM" => {
                    calls.claims.push(entry);
                    for (place, (job, epoch)) in entry.answer().into_iter().flat_map(grants).enumerate() {
                        calls.grants.entry(job).or_default().push(Grant { epoch, by: entry, place });
                    }
                }
                "JOB.COMPLETE" | "JOB.FAIL" | "JOB.RELEASE" | "JOB.EXTEND" => {
                    let key = (entry.call.word(1), entry.call.word(2).parse().unwrap());
                    calls.reports.entry(key).or_default().push(entry);
                }
                "JOB.CANCEL" => {
                    calls.cancels.entry(entry.call.word(1)).or_default().push(entry);
                    calls.uses.push(entry);
                }
                "JOB.WAIT" => calls.uses.push(entry),
                "QUEUE.PEEK" => {
                    for (job, _) in entry.answer().into_iter().flat_map(grants) {
                        calls.shown.entry(job).or_default().push(entry);
                    }
                }
                "QUEUE.PAUSE" | "QUEUE.RESUME" => calls.pauses.entry(entry.call.word(1)).or_default().push(entry),
                _ => {}
            }
        }
        calls
    }

    fn submit(&mut self, entry: &'e Entry) {
        let definition: Value = serde_json::from_str(entry.call.word(1)).unwrap();
        let id = definition["job_id"].as_str().unwrap().to_owned();
        let submit = self.submits.entry(id).or_insert(Submit { definition, first: entry, acknowledged: None });
        if submit.acknowledged.is_none() && has_succeeded(entry) {
            submit.acknowledged = Some(entry);
        }
    }

    /// # Errors
    /// When the answers cannot all be true.
    pub(super) fn check(&self) -> Result<(), Violation> {
        for (job, grants) in &self.grants {
            self.epochs(job, grants)?;
        }
        for ((job, epoch), reports) in &self.reports {
            self.report(job, *epoch, reports)?;
        }
        self.completions()?;
        for used in &self.uses {
            let acknowledged = self.submits.get(used.call.word(1)).and_then(|submit| submit.acknowledged);
            let is_unknown = matches!(used.answer(), Some(Answer::Error(text)) if text.contains("not found"));
            if let Some(submit) = acknowledged.filter(|submit| is_unknown && submit.end < used.begin) {
                return Err(wrong("an acknowledged job is lost", &[submit, used]));
            }
        }
        self.pauses()?;
        self.order()
    }

    /// No epoch twice, and later claims at higher ones.
    fn epochs(&self, job: &str, grants: &[Grant<'e>]) -> Result<(), Violation> {
        let Some(submit) = self.submits.get(job) else {
            return Err(wrong(&format!("{job} was claimed and never submitted"), &[grants[0].by]));
        };
        for (n, one) in grants.iter().enumerate() {
            if one.by.end < submit.first.begin {
                return Err(wrong(&format!("{job} was claimed before it was submitted"), &[one.by, submit.first]));
            }
            for other in &grants[n + 1..] {
                if one.epoch == other.epoch {
                    return Err(wrong(&format!("{job} was given twice at epoch {}", one.epoch), &[one.by, other.by]));
                }
                let (early, late) = if one.epoch < other.epoch { (one, other) } else { (other, one) };
                if late.by.end < early.by.begin {
                    return Err(wrong(&format!("the epoch of {job} fell"), &[late.by, early.by]));
                }
            }
        }
        Ok(())
    }

    /// A report counts at the epoch of the last claim only.
    fn report(&self, job: &str, epoch: u64, reports: &[&'e Entry]) -> Result<(), Violation> {
        for report in reports {
            match report.answer() {
                Some(Answer::Error(text)) if !text.starts_with("STALE") => {
                    return Err(wrong("a report was answered with an error that is not STALE", &[report]));
                }
                Some(Answer::Error(_)) | None => continue,
                Some(_) => {}
            }
            let grants = self.grants.get(job).into_iter().flatten();
            let newer = grants.filter(|grant| grant.epoch > epoch).find(|grant| grant.by.end < report.begin);
            if let Some(newer) = newer {
                return Err(wrong(&format!("a report of {job} at an old epoch was taken"), &[newer.by, report]));
            }
        }
        Ok(())
    }

    /// One completion a job, and it neither runs nor waits after it.
    fn completions(&self) -> Result<(), Violation> {
        let mut completed: HashMap<&str, &Entry> = HashMap::new();
        for report in self.reports.values().flatten().filter(|report| report.call.name() == "JOB.COMPLETE") {
            let job = report.call.word(1);
            if !has_succeeded(report) {
                continue;
            }
            if let Some(other) = completed.insert(job, report)
                && other.call != report.call
            {
                return Err(wrong(&format!("{job} was completed twice"), &[other, report]));
            }
            let after = self.grants.get(job).and_then(|grants| grants.iter().find(|grant| grant.by.begin > report.end));
            if let Some(after) = after {
                return Err(wrong(&format!("{job} was claimed after it was completed"), &[report, after.by]));
            }
            let after = self.shown.get(job).and_then(|looks| looks.iter().find(|look| look.begin > report.end));
            if let Some(after) = after {
                return Err(wrong(&format!("{job} was pending after it was completed"), &[report, after]));
            }
        }
        Ok(())
    }

    /// Nothing is claimed from a queue between the end of a pause and the begin of what ends it.
    fn pauses(&self) -> Result<(), Violation> {
        for (queue, calls) in &self.pauses {
            for pause in calls.iter().filter(|call| call.call.name() == "QUEUE.PAUSE" && has_succeeded(call)) {
                let resumes = calls.iter().filter(|call| call.call.name() == "QUEUE.RESUME" && call.end > pause.begin);
                let until = resumes.map(|resume| resume.begin).min().unwrap_or(u64::MAX);
                let within = |claim: &&&Entry| claim.begin > pause.end && claim.end < until;
                for claim in self.claims.iter().filter(within) {
                    let given = claim.answer().into_iter().flat_map(grants);
                    if given.into_iter().any(|(job, _)| self.submits[&job].definition["queue"] == **queue) {
                        return Err(wrong(
                            &format!("a job was claimed from {queue}, which is paused"),
                            &[pause, claim],
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Of two jobs of a queue with the same key and priority, the one that was certainly submitted first is claimed first.
    fn order(&self) -> Result<(), Violation> {
        let mut lanes: HashMap<String, Vec<(&str, &Submit<'_>, &Grant<'_>)>> = HashMap::new();
        for (job, submit) in &self.submits {
            let definition = &submit.definition;
            // Epoch 1 is the first claim. What became of a first claim without an answer is not known.
            let first = self.grants.get(job).and_then(|grants| grants.iter().find(|grant| grant.epoch == 1));
            if let Some(first) = first.filter(|_| definition.get("delay_ms").is_none()) {
                let lane = ["queue", "key", "priority"].map(|field| definition[field].to_string()).join(" ");
                lanes.entry(lane).or_default().push((job, submit, first));
            }
        }
        for lane in lanes.values() {
            for (job, submit, grant) in lane {
                let Some(acknowledged) = submit.acknowledged else { continue };
                let later = lane.iter().filter(|(_, other, _)| acknowledged.end < other.first.begin);
                for (other_job, other, overtaking) in later {
                    let in_one_answer = overtaking.by == grant.by && overtaking.place < grant.place;
                    if overtaking.by.end < grant.by.begin || in_one_answer {
                        let what = format!("{other_job} was submitted after {job}, and claimed before it");
                        return Err(wrong(&what, &[acknowledged, other.first, overtaking.by, grant.by]));
                    }
                }
            }
        }
        Ok(())
    }
}
