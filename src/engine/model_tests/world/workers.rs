//! What workers ask for: claims that may wait, reports of the list contract, heartbeats.

use super::*;

impl Open<'_, '_> {
    pub(super) fn claim(&mut self, worker: usize, count: usize, lease_ms: u64, block: bool, plans: bool) {
        let conn = LEASED[worker];
        if self.side.model.parked.iter().any(|claim| claim.conn == conn) {
            return;
        }
        let claim = Claim {
            conn,
            worker: format!("w{worker}"),
            queues: vec!["ready", "other"],
            count,
            lease_ms,
            takes: if plans { Takes::Plans } else { Takes::Everything },
            list: None,
            deadline: Some(self.side.model.now.plus(5_000)),
        };
        let (count, lease) = (count.to_string(), lease_ms.to_string());
        let mut words = vec!["JOB.CLAIM", &claim.worker, "COUNT", &count, "LEASE", &lease];
        words.extend(plans.then_some("PLANS"));
        words.extend(if block { &["BLOCK", "5000"][..] } else { &[] });
        words.extend(["QUEUES", "ready", "other"]);
        let reply = self.call(conn, &words);
        self.claimed(claim, block, reply);
    }

    pub(super) fn claim_list(&mut self, worker: usize, block: bool) {
        let conn = LISTED[worker];
        self.interrupt(conn);
        let model = &mut self.side.model;
        model.heard(conn);
        if block {
            model.abandon(conn);
        }
        let claim = Claim {
            conn,
            worker: format!("l{worker}"),
            queues: vec!["ready"],
            count: 1,
            lease_ms: LEASE_MS,
            takes: Takes::Plain,
            list: Some(block),
            deadline: Some(model.now.plus(5_000)),
        };
        let reply = match block {
            true => self.call(conn, &["BRPOPLPUSH", "queue:ready", "queue:processing", "5"]),
            false => self.call(conn, &["RPOPLPUSH", "queue:ready", "queue:processing"]),
        };
        self.claimed(claim, block, reply);
    }

    pub(super) fn claimed(&mut self, claim: Claim, block: bool, reply: Option<Reply>) {
        self.side.model.hear(&claim.worker);
        let given = reply.as_ref().map(told).unwrap_or_default();
        let expected = claim_named(&mut self.side.model, &claim, &given);
        match reply {
            None => {
                assert!(block && expected.is_empty(), "{claim:?} waits, the model gives {expected:?}");
                self.side.model.parked.push(claim);
            }
            Some(_) => {
                assert_eq!(given, expected, "what {claim:?} was given");
                assert!(!block || !expected.is_empty(), "{claim:?} did not wait");
            }
        }
        learn(&mut self.side.model, self.batch);
        self.see(expected);
        self.serve_others();
    }

    /// A connection whose pop waits sends something else: the pop gives up.
    pub(super) fn interrupt(&mut self, conn: ConnId) {
        let place = self.side.model.parked.iter().position(|claim| claim.conn == conn);
        let now = self.side.model.now;
        self.engine.take(self.batch, Input::Interrupt(conn), now).unwrap();
        let told: Vec<_> = self.engine.take_outputs().iter().map(decode).collect();
        assert_eq!(told.len(), usize::from(place.is_some()), "{told:?}");
        if let Some(place) = place {
            self.side.model.parked.remove(place);
        }
    }

    pub(super) fn report_list(&mut self, worker: usize, n: usize, completed: bool) {
        let conn = LISTED[worker];
        let held = self.side.model.conns.get(&conn).map(|conn| conn.held.clone()).unwrap_or_default();
        let Some((id, (epoch, _))) = held.iter().nth(n % held.len().max(1)) else { return };
        self.interrupt(conn);
        let model = &mut self.side.model;
        model.heard(conn);
        let expected = match model.job(id).map(|job| job.epoch) {
            Ok(current) if current != *epoch => Err(No::Stale(current)),
            Ok(_) if completed => model.complete(id, *epoch, "{\"tasks\":[]}"),
            Ok(_) => model.fail(id, *epoch, "{\"error\":\"the worker reported 'failed'\"}", false, None),
            Err(no) => Err(no),
        };
        if expected.is_ok()
            && let Some(conn) = model.conns.get_mut(&conn)
        {
            conn.held.remove(id);
        }
        let (key, status) = (format!("job:{id}:status"), if completed { "completed" } else { "failed" });
        let words = ["SET", &key, status];
        let reply = self.call(conn, &words);
        self.answered(&words, reply, &expected);
    }

    pub(super) fn heartbeat(&mut self, n: usize, jobs: Option<usize>) {
        let worker = format!("w{n}");
        let held = jobs.map(|job| vec![self.chosen(job), self.chosen(job + 1)]);
        let expected = self.side.model.heartbeat(&worker, held.as_deref());
        let named = held.map(|held| {
            let jobs = held.iter().map(|(id, epoch)| format!("{{\"job_id\":\"{id}\",\"epoch\":{epoch}}}"));
            format!("{{\"jobs\":[{}]}}", jobs.collect::<Vec<_>>().join(","))
        });
        let words = ["WORKER.HEARTBEAT", &worker, named.as_deref().unwrap_or("{}")];
        let reply = self.ask(&words, &expected);
        let (Some(reply), Ok((cancel, stale))) = (reply, expected) else { return };
        let json: serde_json::Value = serde_json::from_str(reply.as_str().unwrap()).unwrap();
        let ids = |name: &str| serde_json::from_value::<Vec<String>>(json[name].clone()).unwrap_or_default();
        assert_eq!((ids("cancel"), ids("stale")), (cancel, stale), "what worker {worker} is told");
    }

    pub(super) fn disconnect(&mut self, n: usize) {
        let conn = LEASED.into_iter().chain(LISTED).nth(n).unwrap();
        let now = self.side.model.now;
        self.engine.take(self.batch, Input::Close(conn), now).unwrap();
        self.engine.take(self.batch, Input::Open(Box::new(Session::new(conn, String::new(), true))), now).unwrap();
        self.side.model.parked.retain(|claim| claim.conn != conn);
        self.side.model.conns.remove(&conn);
        if let Some(n) = LISTED.into_iter().position(|listed| listed == conn) {
            self.ping(n);
        }
    }

    /// A connection of the list contract says who it is: that makes no worker, and refreshes one that is known.
    pub(super) fn ping(&mut self, n: usize) {
        let name = format!("l{n}");
        assert_eq!(self.call(LISTED[n], &["PING", &name]).unwrap().as_str(), Some(&*name));
        if self.side.model.workers.contains_key(&name) {
            self.side.model.hear(&name);
        }
        self.side.model.heard(LISTED[n]);
    }
}

/// What the model gives to a claim. A callback's job that came up only now has the name that the claim was told.
pub(super) fn claim_named(model: &mut Model, claim: &Claim, told: &Told) -> Vec<(String, u64)> {
    let mut claimed = model.claim(claim);
    for ((name, _), (told, _)) in claimed.iter_mut().zip(&told.0).filter(|((name, _), _)| name.starts_with('?')) {
        assert!(model.rename(name, told), "{told} was given out before");
        name.clone_from(told);
    }
    claimed
}

pub(super) fn decode(output: &Output) -> (ConnId, Reply) {
    let Output::Finished(finished) = output else { panic!("nobody listens to messages here") };
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let reply = decoder.decode(&mut finished.out.clone()).unwrap();
    (finished.conn, reply.unwrap_or_else(|| panic!("half a reply: {:?}", finished.out)))
}

/// The jobs of a claim's answer, each with its epoch; a pop does not say the epoch.
pub(super) fn told(reply: &Reply) -> Told {
    Told(match reply {
        Reply::Array(jobs) => jobs
            .iter()
            .map(|job| {
                let json: serde_json::Value = serde_json::from_str(job.as_str().unwrap()).unwrap();
                (json["job_id"].as_str().unwrap().to_owned(), json["epoch"].as_u64())
            })
            .collect(),
        Reply::Bulk(id) => vec![(String::from_utf8_lossy(id).into_owned(), None)],
        Reply::Null | Reply::NullArray => Vec::new(),
        other => panic!("a claim answered {other:?}"),
    })
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Told(pub(super) Vec<(String, Option<u64>)>);

impl Told {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq<Vec<(String, u64)>> for Told {
    fn eq(&self, expected: &Vec<(String, u64)>) -> bool {
        let is_same = |(told, expected): (&(String, Option<u64>), &(String, u64))| {
            told.0 == expected.0 && told.1.is_none_or(|epoch| epoch == expected.1)
        };
        self.0.len() == expected.len() && self.0.iter().zip(expected).all(is_same)
    }
}
