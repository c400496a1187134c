//! What clients were told, and what therefore must never be said again.

use std::collections::{BTreeMap, BTreeSet};

use agq_resp::Reply;

use super::data_words::Words;
use super::deliveries::Deliveries;
use super::job_words::PAIR;
use crate::clock::Millis;
use crate::command::lookup;
use crate::storage::sim::{Check, Tally};

/// Jobs that clients remember.
const REMEMBERED: usize = 60;

/// When something was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    /// The last record that was written.
    pub(super) record: u64,
    /// The time of its batch.
    pub(super) at: Millis,
}

/// What was told, each with the last record that was written by then: with it goes the fact.
#[derive(Default)]
pub(super) struct Facts {
    grants: BTreeMap<(String, u64), u64>,
    completed: BTreeMap<String, u64>,
    popped: BTreeMap<String, u64>,
    /// Jobs with the last epoch that was told, and actions.
    pub(super) jobs: Vec<(String, u64)>,
    pub(super) actions: Vec<String>,
    pub(super) deliveries: Deliveries,
    /// Until when clients have to wait, and whether reads have to.
    pub(super) paused: Option<(Millis, bool)>,
    /// Names that a key and a job were to share of which one was refused.
    pub(super) refused_pairs: BTreeSet<String>,
}

impl Facts {
    /// Forgets what was told after record `found`: nobody was promised that it is there.
    pub(super) fn lost_after(&mut self, found: u64) {
        self.grants.retain(|_, record| *record <= found);
        self.completed.retain(|_, record| *record <= found);
        self.popped.retain(|_, record| *record <= found);
        self.deliveries.lost_after(found);
    }

    /// Takes in the reply to a command.
    pub(super) fn learn(&mut self, sent: &Words, reply: &Reply, heard: Heard, tally: &mut Tally) -> Check<()> {
        let record = heard.record;
        if let Some(error) = reply.as_error() {
            if error.starts_with(b"ERR internal error") {
                return Err(format!("{sent:?} panicked: {}", String::from_utf8_lossy(error)));
            }
            tally.count("refused commands");
            // Where one finds no room, nothing of the transaction stays.
            let lacked_room = error.starts_with(b"MISCONF") || error.starts_with(b"OOM");
            if let [name, words, ..] = &sent[..]
                && !lacked_room
                && (name == "SET" || name == "JOB.SUBMIT")
                && let Some(pair) = words.find(PAIR)
            {
                let end = words[pair..].find('"').map_or(words.len(), |end| pair + end);
                self.refused_pairs.insert(words[pair..end].to_owned());
            }
            return Ok(());
        }
        let name = sent.first().map(String::as_str).unwrap_or_default();
        tally.count("commands");
        if let Some(command) = lookup(name.as_bytes()) {
            tally.reach(command.name);
        }
        match name {
            "LPOP" | "RPOP" => texts(reply).into_iter().try_for_each(|element| self.popped(element, record)),
            // The key, then the element.
            "BLPOP" | "BRPOP" => texts(reply).into_iter().skip(1).try_for_each(|element| {
                tally.count("elements popped by commands that may wait");
                self.popped(element, record)
            }),
            "JOB.CLAIM" => texts(reply).into_iter().try_for_each(|job| {
                tally.count("jobs granted");
                self.granted(&job, record)
            }),
            "JOB.SUBMIT" | "JOB.MSUBMIT" => {
                texts(reply).into_iter().for_each(|job| self.remember(job, 0));
                Ok(())
            }
            "CLIENT" => {
                let ms = sent.get(2).and_then(|ms| ms.parse().ok());
                self.paused = ms.map(|ms| (heard.at.plus(ms), sent.get(3).is_none()));
                Ok(())
            }
            "WEBHOOK.CLAIM" => self.deliveries.handed(reply, heard, tally),
            "WEBHOOK.REPORT" => {
                self.deliveries.reported(sent, heard, tally);
                Ok(())
            }
            "ACTION.SUBMIT" => self.action(reply),
            "JOB.COMPLETE" => {
                self.completed(sent, record, tally);
                Ok(())
            }
            "JOB.UPDATE" if sent.last().is_some_and(|json| json.contains("completed")) => {
                self.completed(sent, record, tally);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn popped(&mut self, element: String, record: u64) -> Check<()> {
        match self.popped.insert(element.clone(), record) {
            None => Ok(()),
            Some(before) => Err(format!("{element} was popped up to record {before}, and again up to {record}")),
        }
    }

    fn granted(&mut self, job: &str, record: u64) -> Check<()> {
        let json: serde_json::Value = serde_json::from_str(job).map_err(|error| format!("{job}: {error}"))?;
        let (Some(id), Some(epoch)) = (json["job_id"].as_str(), json["epoch"].as_u64()) else {
            return Err(format!("a claim without a job or an epoch: {job}"));
        };
        if let Some(before) = self.grants.insert((id.to_owned(), epoch), record) {
            return Err(format!(
                "job {id} was granted at epoch {epoch} up to record {before}, and again up to {record}"
            ));
        }
        if let Some(before) = self.completed.get(id) {
            return Err(format!("job {id} was completed up to record {before}, and granted up to {record}"));
        }
        self.remember(id.to_owned(), epoch);
        Ok(())
    }

    fn completed(&mut self, sent: &Words, record: u64, tally: &mut Tally) {
        tally.count("jobs completed");
        // The same report may come twice.
        self.completed.entry(sent.get(1).cloned().unwrap_or_default()).or_insert(record);
    }

    fn action(&mut self, reply: &Reply) -> Check<()> {
        let text = reply.as_str().unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("{text}: {error}"))?;
        let jobs = json["job_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        jobs.iter().filter_map(|job| job.as_str()).for_each(|job| self.remember(job.to_owned(), 0));
        self.actions.extend(json["action_id"].as_str().map(str::to_owned));
        Ok(())
    }

    fn remember(&mut self, job: String, epoch: u64) {
        let known = self.jobs.iter().position(|(known, _)| *known == job).map(|place| self.jobs.remove(place));
        self.jobs.push((job, epoch.max(known.map_or(0, |(_, epoch)| epoch))));
        if self.jobs.len() > REMEMBERED {
            self.jobs.remove(0);
        }
    }
}

/// The strings of a reply: itself, or its elements.
fn texts(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Array(elements) => elements.iter().flat_map(texts).collect(),
        other => other.as_str().map(str::to_owned).into_iter().collect(),
    }
}
