//! Whether what the server says that it did explains what clients were told about jobs, and the other way round: the feed
//! of events is a witness for the order in which everything happened.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::Value;

use super::jobs::{Calls, has_succeeded, wrong};
use super::linear::Violation;
use super::record::{Entry, Outcome};
use super::work::{LEASE_MS, QUEUES};

/// A transition of a job.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) seq: u64,
    pub(super) at_ms: i64,
    pub(super) job: String,
    pub(super) queue: String,
    pub(super) from: Option<String>,
    pub(super) to: String,
    pub(super) reason: Option<String>,
    pub(super) epoch: u64,
}

impl Event {
    /// Reads an event as `EVENTS.READ` shows it.
    pub(super) fn parse(text: &str) -> Event {
        let event: Value = serde_json::from_str(text).unwrap();
        let field = |name: &str| event[name].as_str().map(str::to_owned);
        let needed = |name: &str| field(name).unwrap_or_else(|| panic!("an event without {name}: {text}"));
        Event {
            seq: event["seq"].as_u64().unwrap(),
            at_ms: needed("at").parse::<Timestamp>().unwrap().as_millisecond(),
            job: needed("job_id"),
            queue: needed("queue"),
            from: field("from"),
            to: needed("to"),
            reason: field("reason"),
            epoch: event["epoch"].as_u64().unwrap(),
        }
    }

    fn is(&self, from: &str, to: &str) -> bool {
        self.from.as_deref() == Some(from) && self.to == to
    }
}

/// What the feed says of one job.
#[derive(Default)]
struct Way<'f> {
    events: Vec<&'f Event>,
    /// Its claims, by epoch.
    grants: BTreeMap<u64, &'f Event>,
}

/// The whole feed, and what the jobs are in the end.
pub(super) struct Feed<'f> {
    pub(super) events: &'f [Event],
    /// By id, as `JOB.GET` shows them.
    pub(super) jobs: &'f BTreeMap<String, Value>,
}

fn lie(what: &str, events: &[&Event], entries: &[&Entry]) -> Violation {
    let events: String = events.iter().map(|event| format!("  {event:?}\n")).collect();
    let Violation(text) = wrong(what, entries);
    Violation(text + &events)
}

impl<'f> Feed<'f> {
    /// # Errors
    /// When feed, jobs and answers do not go together.
    pub(super) fn check(&self, calls: &Calls<'_>) -> Result<(), Violation> {
        for pair in self.events.windows(2) {
            if pair[1].seq != pair[0].seq + 1 || pair[1].at_ms < pair[0].at_ms {
                return Err(lie("the feed has a gap, or its time runs backwards", &[&pair[0], &pair[1]], &[]));
            }
        }
        let ways = self.ways()?;
        for (job, submit) in &calls.submits {
            if let Some(acknowledged) = submit.acknowledged.filter(|_| !ways.contains_key(&**job)) {
                return Err(wrong(&format!("{job} was acknowledged and is lost"), &[acknowledged]));
            }
        }
        for (job, way) in ways.iter().filter(|(_, way)| QUEUES.contains(&&*way.events[0].queue)) {
            self.explained(job, way, calls)?;
        }
        self.unseen(&ways, calls)?;
        real_time(&matches(&ways, calls)?)?;
        self.order(calls)
    }

    /// The way of each job, which must be one.
    fn ways(&self) -> Result<BTreeMap<&'f str, Way<'f>>, Violation> {
        let mut ways: BTreeMap<&str, Way<'_>> = BTreeMap::new();
        for event in self.events {
            let way = ways.entry(&event.job).or_default();
            let last = way.events.last().copied();
            if last.map(|last| &last.to) != event.from.as_ref() || last.is_some_and(|last| last.epoch > event.epoch) {
                let events: Vec<&Event> = way.events.iter().copied().chain([event]).collect();
                return Err(lie(&format!("{} did not go one way", event.job), &events, &[]));
            }
            if event.to == "running" && last.is_none_or(|last| last.epoch < event.epoch) {
                way.grants.insert(event.epoch, event);
            }
            way.events.push(event);
        }
        for (job, way) in &ways {
            let last = way.events[way.events.len() - 1];
            let Some(found) = self.jobs.get(*job) else { return Err(lie(&format!("{job} is gone"), &way.events, &[])) };
            if found["status"] != last.to || found["epoch"] != last.epoch {
                return Err(lie(&format!("{job} is not what it became: {found}"), &way.events, &[]));
            }
        }
        match self.jobs.keys().find(|job| !ways.contains_key(&***job)) {
            Some(job) => Err(Violation(format!("{job} is there, and the feed does not know it"))),
            None => Ok(ways),
        }
    }

    /// Each step of a job has its cause in what clients called, or in a lease that ran out.
    fn explained(&self, job: &str, way: &Way<'_>, calls: &Calls<'_>) -> Result<(), Violation> {
        let found = &self.jobs[job];
        let unexplained =
            |event: &Event| Err(lie(&format!("nothing explains a step of {job}, now {found}"), &[event], &[]));
        if !calls.submits.contains_key(job) {
            return unexplained(way.events[0]);
        }
        let reports = |epoch: u64, name: &str| {
            let reports = calls.reports.get(&(job, epoch)).into_iter().flatten();
            let may_count = |report: &&&Entry| has_succeeded(report) || report.outcome == Outcome::Unknown;
            reports.filter(may_count).copied().filter(|report| report.call.name() == name).collect::<Vec<_>>()
        };
        let was_cancelled = || calls.cancels.get(job).is_some_and(|cancels| !cancels.is_empty());
        for event in &way.events {
            let has_cause = match (event.from.as_deref(), &*event.to, event.reason.as_deref()) {
                (_, "completed", _) => reports(event.epoch, "JOB.COMPLETE")
                    .iter()
                    .any(|report| serde_json::from_str::<Value>(report.call.word(3)).unwrap() == found["result"]),
                (_, "cancelled", _) => was_cancelled(),
                (Some("running"), "pending", Some("lost")) => {
                    let granted = way.grants.get(&event.epoch);
                    granted.is_some_and(|granted| event.at_ms - granted.at_ms >= LEASE_MS.cast_signed())
                }
                (Some("running"), "pending", _) => !reports(event.epoch - 1, "JOB.RELEASE").is_empty(),
                (Some("running"), "scheduled" | "failed", _) => !reports(event.epoch, "JOB.FAIL").is_empty(),
                _ => true,
            };
            if !has_cause {
                return unexplained(event);
            }
        }
        let ended = ["completed", "failed", "cancelled"].contains(&found["status"].as_str().unwrap_or_default());
        if ended { Ok(()) } else { unexplained(way.events[way.events.len() - 1]) }
    }

    /// Claims that nobody was told of must be those of calls without an answer.
    fn unseen(&self, ways: &BTreeMap<&str, Way<'_>>, calls: &Calls<'_>) -> Result<(), Violation> {
        let told = |job: &str, epoch: u64| {
            calls.grants.get(job).is_some_and(|grants| grants.iter().any(|grant| grant.epoch == epoch))
        };
        let all = ways.iter().flat_map(|(job, way)| way.grants.values().map(move |event| (*job, *event)));
        let unseen: Vec<&Event> = all.filter(|(job, event)| !told(job, event.epoch)).map(|(_, event)| event).collect();
        let unanswered = calls.claims.iter().filter(|claim| claim.outcome == Outcome::Unknown);
        let may_be: usize = unanswered.map(|claim| claim.call.word(3).parse::<usize>().unwrap()).sum();
        if unseen.len() > may_be {
            let what = format!("{} claims reached nobody, and only {may_be} were not answered", unseen.len());
            return Err(lie(&what, &unseen, &[]));
        }
        Ok(())
    }

    /// Claims take the first of their queue, key by key: replayed from the feed. Jobs that were delayed or run again have
    /// places by their due times, which the feed does not show, and are left out.
    fn order(&self, calls: &Calls<'_>) -> Result<(), Violation> {
        let terms = |job: &str| calls.submits.get(job).map(|submit| &submit.definition);
        // By queue and key: the highest priority first, then the order of submits.
        let mut lanes: HashMap<String, BTreeSet<(u64, u64)>> = HashMap::new();
        let mut places: HashMap<&str, (u64, u64)> = HashMap::new();
        let mut epochs: HashMap<&str, u64> = HashMap::new();
        for event in self.events {
            let Some(terms) = terms(&event.job) else { continue };
            let before = epochs.insert(&event.job, event.epoch);
            let lane = lanes.entry(format!("{} {}", event.queue, terms["key"])).or_default();
            if event.from.is_none() && event.to == "pending" {
                places.insert(&event.job, (9 - terms["priority"].as_u64().unwrap_or(5), event.seq));
            }
            if event.to == "scheduled" {
                places.remove(&*event.job);
            }
            let Some(place) = places.get(&*event.job) else { continue };
            let first = lane.first().copied();
            match &*event.to {
                "pending" => drop(lane.insert(*place)),
                _ => drop(lane.remove(place)),
            }
            // Without a new epoch it is a late report, which lets a job run on from where it stands in its queue.
            let is_grant = event.to == "running" && before.is_none_or(|before| before < event.epoch);
            if let Some(first) = first.filter(|first| is_grant && first < place) {
                let before = &self.events[usize::try_from(first.1 - self.events[0].seq).unwrap()];
                return Err(lie(
                    "a claim took a job that was not the first of its queue and key",
                    &[before, event],
                    &[],
                ));
            }
        }
        Ok(())
    }
}

/// Calls and the events that they made.
struct Match<'e> {
    begin: u64,
    end: u64,
    event: &'e Event,
    by: &'e Entry,
}

/// Finds the events of calls that were answered.
fn matches<'e>(ways: &BTreeMap<&str, Way<'e>>, calls: &'e Calls<'e>) -> Result<Vec<Match<'e>>, Violation> {
    let mut matches = Vec::new();
    let mut found = |first: &Entry, by: &'e Entry, event: Option<&'e Event>| match event {
        Some(event) => {
            matches.push(Match { begin: first.begin, end: by.end, event, by });
            Ok(())
        }
        None => Err(wrong("the feed does not know of it", &[by])),
    };
    for (job, submit) in &calls.submits {
        if let Some(by) = submit.acknowledged {
            found(submit.first, by, ways[&**job].events.first().copied())?;
        }
    }
    for (job, grants) in &calls.grants {
        for grant in grants {
            found(grant.by, grant.by, ways.get(&**job).and_then(|way| way.grants.get(&grant.epoch)).copied())?;
        }
    }
    for ((job, epoch), reports) in &calls.reports {
        for by in reports.iter().filter(|report| has_succeeded(report)) {
            let first = reports.iter().find(|first| first.call == by.call).unwrap_or(by);
            let events = ways.get(job).into_iter().flat_map(|way| &way.events);
            let event = events.into_iter().find(|event| match by.call.name() {
                "JOB.COMPLETE" => event.to == "completed" && event.epoch == *epoch,
                "JOB.FAIL" => {
                    event.from.as_deref() == Some("running") && event.to != "pending" && event.epoch == *epoch
                }
                "JOB.RELEASE" => {
                    event.epoch == epoch + 1 && (event.is("running", "pending") || event.to == "cancelled")
                }
                _ => false,
            });
            if by.call.name() != "JOB.EXTEND" {
                found(first, by, event.copied())?;
            }
        }
    }
    Ok(matches)
}

/// What was over before something else began comes before it in the feed.
fn real_time(matches: &[Match<'_>]) -> Result<(), Violation> {
    let (mut by_begin, mut by_end): (Vec<_>, Vec<_>) = (matches.iter().collect(), matches.iter().collect());
    by_begin.sort_by_key(|one| one.begin);
    by_end.sort_by_key(|one| one.end);
    let mut ended = by_end.into_iter().peekable();
    let mut last: Option<&Match<'_>> = None;
    for one in by_begin {
        while let Some(over) = ended.next_if(|over| over.end < one.begin) {
            last = last.filter(|last| last.event.seq > over.event.seq).or(Some(over));
        }
        if let Some(last) = last.filter(|last| last.event.seq > one.event.seq) {
            let what = "the feed has one before the other, and it was over before the other began";
            return Err(lie(what, &[last.event, one.event], &[last.by, one.by]));
        }
    }
    Ok(())
}
