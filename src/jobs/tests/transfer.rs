//! What comes out of a store and goes into an empty one is the same there, but for claims: those of before are stale.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::random::{Known, begin, try_lives};
use super::*;
use crate::jobs::transfer::{Import, counters, export};

type Lines = Vec<(&'static str, String)>;

fn lines(rows: &dyn Rows) -> Lines {
    let mut lines = vec![("counters", counters(rows, true).unwrap())];
    export(rows, &mut |kind, json| {
        assert!(!json.contains('\n'), "{json}");
        lines.push((kind, json));
        Ok(())
    })
    .unwrap();
    lines
}

fn import<'a>(bench: &mut Bench<'a>, lines: &[(&str, String)]) -> Result<()> {
    let mut import = Import::new(bench.now, bench.random.clone());
    for (kind, json) in lines {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        import.take(&mut bench.batch, kind, raw).map_err(|error| error.at(json))?;
        bench.batch.release();
    }
    while !import.finish(&mut bench.batch)? {
        bench.batch.release();
    }
    bench.batch.release();
    Ok(())
}

/// Takes the lines into an empty store.
fn imported<T>((db, now): (&Db, Millis), lines: &[(&str, String)], test: impl FnOnce(&mut Bench<'_>) -> T) -> T {
    let mut bench = Bench::new(db);
    bench.now = now;
    import(&mut bench, lines).unwrap();
    bench.assert_sound();
    test(&mut bench)
}

fn refusal(lines: &[(&str, String)]) -> String {
    let mut refused = String::new();
    with_bench(|bench| {
        let mut import = Import::new(bench.now, bench.random.clone());
        let taken = lines.iter().try_for_each(|(kind, json)| {
            import.take(&mut bench.batch, kind, serde_json::from_str(json).unwrap())?;
            bench.batch.release();
            Ok(())
        });
        let ended = taken.and_then(|()| {
            while !import.finish(&mut bench.batch)? {}
            Ok::<_, Error>(())
        });
        refused = ended.unwrap_err().to_string();
    });
    refused
}

/// The lines but for the counters, and for epochs of lost claims.
fn lasting(lines: &Lines) -> Vec<String> {
    let lost = |json: &str| json.contains(r#""reason":"lost""#);
    let without_epoch = |json: &str| {
        let at = json.find(r#","epoch":"#).unwrap();
        let end = json[at + 1..].find(',').map_or(json.len() - 1, |end| at + 1 + end);
        format!("{}{}", &json[..at], &json[end..])
    };
    let line = |(kind, json): &(&str, String)| match *kind {
        "job" if lost(json) => without_epoch(json),
        _ => json.clone(),
    };
    lines[1..].iter().map(line).collect()
}

/// Claims jobs one by one, completes each and lets time pass where there is none, and tells which came, in order. Jobs
/// whose ids are drawn on the way are known by what they run.
fn drain(bench: &mut Bench<'_>, known: &HashSet<String>) -> Vec<String> {
    let claim = Claim { queues: vec![id("ready"), id("other")], ..claim_of(1, 30_000) };
    let (mut order, until) = (Vec::new(), bench.now.plus(300_000));
    while order.len() < 50 {
        match bench.command(|jobs| jobs.claim(&id("w0"), &claim)).unwrap().pop() {
            Some(job) => {
                let name = if known.contains(&*job.id) { job.id.to_string() } else { format!("{:?}", job.work) };
                order.push(format!("{name} at {:?}", bench.now));
                bench.command(|jobs| jobs.complete(job.id.as_bytes(), job.epoch, OK)).unwrap();
                bench.pass(0);
            }
            None => {
                let Some(next) = bench.next().filter(|next| *next <= until) else { break };
                bench.pass(next.since(bench.now));
            }
        }
    }
    order
}

#[test]
fn a_round_trip_keeps_everything_and_the_order_of_claims() {
    let dir = tempfile::tempdir().unwrap();
    let other = &Db::open(&Options::new(dir.path())).unwrap();
    with_store(|db| {
        try_lives(60, |steps| {
            let (mut bench, mut known) = (begin(db), Known::new());
            steps.iter().for_each(|step| bench.step(step, &mut known));
            let (exported, now) = (lines(&bench.batch), bench.now);
            let runs = exported.iter().any(|(_, json)| json.contains(r#""status":"running""#));
            let ids = bench.ids();
            let (again, order) = imported((other, now), &exported, |copy| (lines(&copy.batch), drain(copy, &ids)));
            prop_assert!(runs || lasting(&again) == lasting(&exported), "{exported:#?}\n{again:#?}");
            let third = imported((other, now), &again, |copy| lines(&copy.batch));
            prop_assert_eq!(lasting(&third), lasting(&again));

            // The same jobs come in the same order where they were, once what ran there is given back.
            let running = ids.iter().map(|job| bench.job(&id(job)));
            let mut running: Vec<Job> = running.filter(|job| job.status == Status::Running).collect();
            running.sort_by_key(|job| job.number);
            for job in running {
                bench
                    .command(|jobs| match job.max_losses {
                        1 => jobs.count_loss(&job, job.clone()).map(drop),
                        _ => jobs.give_back(&job, None).map(drop),
                    })
                    .unwrap();
            }
            prop_assert_eq!(drain(&mut bench, &ids), order);
            Ok(())
        });
    });
}

impl Bench<'_> {
    fn ids(&self) -> HashSet<String> {
        let mut ids = HashSet::new();
        let all = (Bound::Unbounded, Bound::Unbounded);
        self.batch
            .scan(Table::Jobs, all.0, all.1, false, &mut |id, _| {
                ids.insert(String::from_utf8(id.to_vec()).unwrap());
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        ids
    }
}

#[test]
fn claims_of_before_are_stale_and_what_ran_is_given_back() {
    let (mut exported, mut now) = (Lines::new(), START);
    with_bench(|bench| {
        for job in [
            r#"{"job_id":"lost","kind":"a"}"#,
            r#"{"job_id":"runs","kind":"a","priority":9,"max_losses":2}"#,
            r#"{"job_id":"once","kind":"a","max_losses":1}"#,
            r#"{"job_id":"cancelled","kind":"a"}"#,
        ] {
            bench.submit(job);
            let lease_ms = if job.contains("lost") { 1_000 } else { 30_000 };
            bench.command(|jobs| jobs.claim(&id("w"), &claim_of(1, lease_ms))).unwrap();
        }
        bench.submit(r#"{"job_id":"next","kind":"a"}"#);
        bench.command(|jobs| jobs.cancel(b"cancelled")).unwrap();
        bench.pass(1_000);
        (exported, now) = (lines(&bench.batch), bench.now);
    });
    with_store(|db| {
        imported((db, now), &exported, |copy| {
            let job = |copy: &mut Bench<'_>, name: &str| {
                let job = copy.job(&id(name));
                (job.status, job.reason, job.starts, job.failures, job.losses)
            };
            assert_eq!(job(copy, "lost"), (Status::Pending, Reason::Lost, 1, 0, 1));
            assert_eq!(job(copy, "runs"), (Status::Pending, Reason::None, 1, 0, 0), "no loss is counted");
            assert_eq!(job(copy, "once"), (Status::Failed, Reason::Poison, 1, 0, 1), "it never runs twice");
            assert_eq!(job(copy, "cancelled"), (Status::Cancelled, Reason::None, 1, 0, 0));
            assert_eq!(copy.job(&id("next")).epoch, 0, "nobody claimed it");
            for name in ["lost", "runs", "once", "cancelled"] {
                let error = copy.command(|jobs| jobs.complete(name.as_bytes(), 1, OK)).unwrap_err().to_string();
                assert!(error.starts_with(&format!("STALE job {name} is at epoch 429496729")), "{error}");
            }
            let order: Vec<Job> = std::iter::from_fn(|| copy.claim("w")).collect();
            let names: Vec<&str> = order.iter().map(|job| &*job.id).collect();
            assert_eq!(names, ["runs", "lost", "next"], "at their old places");
            assert!(order.iter().all(|job| job.epoch > 1 << 32), "{order:?}");
            copy.assert_sound();
        });
    });
}

/// A line of each kind.
fn sample() -> Lines {
    let mut exported = Lines::new();
    with_bench(|bench| {
        let plan = br#"{"plan_id":"p","tasks":[{"task_number":1,"command":"echo","args":["{{input.x}}"]}]}"#;
        plan_store::submit(&mut bench.batch, &plan::Plan::parse(plan).unwrap(), false, START).unwrap();
        let worker = Profile::parse(br#"{"worker_id":"w","tools":["gpu"],"slots":3}"#).unwrap();
        bench.command(|jobs| jobs.register(&worker)).unwrap();
        let inputs = [r#"{"x":1}"#; 12].join(",");
        let action = format!(
            r#"{{"action_id":"act","plan_id":"p","inputs":[{inputs}],"on_failure":{{"plan_id":"p","input":{{"x":1}}}}}}"#
        );
        let action = SubmitAction::parse(action.as_bytes()).unwrap();
        bench.command(|jobs| jobs.submit_action(&action)).unwrap();
        bench.submit("{\"job_id\":\"one\",\"kind\":\"k\",\"key\":\"t\",\"payload\":{\n\"n\":1e0}}");
        bench.submit(r#"{"job_id":"two","kind":"k","after":["one"],"unique_key":"u","idempotency_key":"i"}"#);
        bench.submit(r#"{"job_id":"out","kind":"k","priority":9}"#);
        bench.claim("w");
        bench.command(|jobs| jobs.append(b"out", 1, Stream::Stderr, 2, b"a\xffb")).unwrap();
        bench.command(|jobs| jobs.complete(b"out", 1, OK)).unwrap();
        let rate = Some(Rate { jobs: 3, per_ms: 1_000, burst: 2 });
        let limits = Limits { concurrency: Some(4), key_concurrency: None, rate };
        bench.command(|jobs| jobs.limit_queue(&id("ready"), limits)).unwrap();
        let schedule = br#"{"cron":"@daily","job":{"plan_id":"p","input":{"x":2}}}"#;
        let definition = Definition::parse(schedule).unwrap();
        bench.command(|jobs| jobs.put_schedule(&id("s"), &definition)).unwrap();
        let hook = br#"{"url":"http://a/","events":["job.failed"],"secret":"0123456789abcdef"}"#;
        let hook = crate::jobs::webhooks::Terms::parse(hook).unwrap();
        bench.command(|jobs| jobs.put_webhook(&id("h"), &hook)).unwrap();
        exported = lines(&bench.batch);
    });
    exported
}

#[test]
fn bodies_and_output_come_back_byte_for_byte() {
    with_store(|db| {
        imported((db, START), &sample(), |copy| {
            let one = copy.job(&id("one"));
            let shown = copy.jobs().view().job_json(&one, show::Detail::Whole).unwrap();
            assert!(shown.contains("\"payload\":{\n\"n\":1e0}"), "{shown}");
            assert_eq!(copy.jobs().view().output(&id("out"), Stream::Stderr).unwrap(), b"a\xffb");
            assert_eq!(copy.jobs().view().holder("u").unwrap().unwrap().id, id("two"));
            assert_eq!(
                copy.submit(r#"{"job_id":"two","kind":"k","after":["one"],"unique_key":"u","idempotency_key":"i"}"#),
                id("two")
            );
            let secret = copy.jobs().view().need_webhook(b"h").unwrap().terms;
            assert_eq!(secret.events(), ["job.failed"]);
        });
    });
}

#[test]
fn what_does_not_fit_is_refused_and_named() {
    let sample = sample();
    let changed = |kind: &str, from: &str, to: &str| {
        let mut lines = sample.clone();
        let found = lines.iter().position(|(known, json)| *known == kind && json.contains(from));
        let (_, json) = &mut lines[found.unwrap_or_else(|| panic!("no line '{kind}' has {from}: {sample:#?}"))];
        *json = json.replacen(from, to, 1);
        refusal(&lines)
    };
    let cases = [
        ("counters", r#""number":"#, r#""nummer":"#, "counters.nummer is not a known field"),
        ("plan", r#""command":"echo""#, r#""command":"""#, "task 1 command is 0 bytes long"),
        ("plan", r#""plan_id":"p""#, r#""plan_id":"q""#, "action.plan_id is p, there is no such plan"),
        (
            "action",
            r#"{"plan_id":"p","#,
            r#"{"plan_id":"r","#,
            "action act calls plan r when it ends: there is no such",
        ),
        ("queue", r#""concurrency":4"#, r#""concurrency":0"#, "queue.concurrency must be an integer from 1 to"),
        ("queue", r#""burst":2"#, r#""burst":"2""#, "queue.rate.burst must be an integer from 1"),
        ("worker", r#""slots":3"#, r#""slots":3000000"#, "worker.slots is 3000000, at most 10000"),
        ("action", r#""jobs_total":12"#, r#""jobs_total":13"#, "inputs up to place 12, expected them for all 13 jobs"),
        ("action", r#""seed":""#, r#""seed":"zz"#, "action.seed must be 16 hexadecimal digits"),
        ("action", r#""expanded":8"#, r#""expanded":7"#, "action.expanded must be a multiple of 2, not 7"),
        ("inputs", r#""action_index":8"#, r#""action_index":9"#, "inputs of action act from 9 on, expected those"),
        ("inputs", r#""x""#, r#""y""#, "inputs.inputs[0]"),
        ("job", r#""status":"pending""#, r#""status":"ready""#, "job.status must be one of waiting, scheduled"),
        ("job", r#""action_index":3"#, r#""action_index":2"#, ": another job before it has its job.action_index, 2"),
        ("job", r#""unique_key":"u""#, r#""unique_key":"""#, "job.unique_key must be 1 to 128 bytes"),
        ("job", r#""action_id":"act""#, r#""action_id":"cat""#, "job.action_id is cat, there is no such action"),
        ("job", r#""kind":"k""#, r#""plan_id":"r","input":{}"#, "and its plan_id is r: there is no such plan"),
        ("job", r#""payload_text":"{"#, r#""payload_text":"["#, "job.payload is not valid JSON"),
        ("job", r#""waits_for":["one"]"#, r#""waits_for":["out"]"#, "job.waits_for[0] names job out, expected one of"),
        ("job", r#""reason":"after""#, r#""reason":"lost""#, "job two is waiting: reason is not one of its status"),
        ("job", r#""priority":9"#, r#""priority":10"#, "job.priority must be an integer from 0 to 9, not 10"),
        ("job", r#""stderr_bytes":3"#, r#""stderr_bytes":2"#, "ends behind the 2 bytes that job.stderr_bytes says"),
        ("job", r#""remove_at""#, r#""expires_at""#, "job out is completed: remove_at is for jobs that have ended"),
        ("output", r#"{"hex":"61ff62"}"#, r#"{"hex":"61f"}"#, "output.bytes.hex must be pairs of hexadecimal"),
        ("output", r#""offset":0"#, r#""offset":1"#, "ends behind the 3 bytes"),
        ("schedule", r#""plan_id":"p""#, r#""plan_id":"x""#, "Plan not found: x"),
        ("schedule", r#""cron":"@daily""#, r#""cron":"@dayly""#, "schedule.cron"),
        ("webhook", r#""url":"http"#, r#""url":"gopher"#, "webhook.url must begin with http"),
        ("webhook", r#""next_seq":"#, r#""next_seq":9"#, "webhook.next_seq must be an integer from 1 to"),
        ("repeat", r#""job_id":"two""#, r#""queue":"two""#, "repeat must name one of job_id and action_id"),
        ("event", r#""seq":2,"#, r#""seq":3,"#, "event.seq is 3, expected 2: each follows the one before"),
        ("event", r#""to":"pending""#, r#""to":"completed""#, "goes from nothing to completed, which there is not"),
    ];
    let mut wrong = Vec::new();
    for (kind, from, to, expected) in cases {
        let refused = changed(kind, from, to);
        if !refused.contains(expected) {
            wrong.push(format!("{kind} {from} → {to}: {refused}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let without = |place: usize| {
        let mut lines = sample.clone();
        lines.remove(place);
        refusal(&lines)
    };
    assert!(without(0).contains("stands before the line 'counters'"));
    let job = sample.iter().position(|(_, json)| json.contains(r#""action_index":0"#)).unwrap();
    assert!(without(job).contains("action act has 7 jobs, removed ones included, and 4 to be made: expected 12"));
    let mut twice = sample.clone();
    twice.push(sample[1].clone());
    assert!(refusal(&twice).contains("a line 'plan' stands too late, the order is counters, plan, queue"));
    twice.insert(1, sample[1].clone());
    assert!(refusal(&twice).contains("plan p a second time"));
}

/// The lines with one field gone, or with what another field has.
fn with_a_fault(lines: &Lines, random: &mut fastrand::Rng) -> Lines {
    let mut lines = lines.clone();
    let objects: Vec<serde_json::Map<String, serde_json::Value>> =
        lines.iter().map(|(_, json)| serde_json::from_str(json).unwrap()).collect();
    let any = |random: &mut fastrand::Rng| {
        let object = &objects[random.usize(..objects.len())];
        object.iter().nth(random.usize(..object.len())).map(|(_, value)| value.clone()).unwrap()
    };
    let place = random.usize(..lines.len());
    let mut object = objects[place].clone();
    let (name, value) = object.iter().nth(random.usize(..object.len())).map(|(n, v)| (n.clone(), v.clone())).unwrap();
    match (random.u8(..6), value.as_u64()) {
        (0, _) => drop(object.remove(&name)),
        (1, Some(number)) => drop(object.insert(name, (number + 1).into())),
        (2, Some(number)) => drop(object.insert(name, number.saturating_sub(1).into())),
        (3, _) => drop(lines.remove(place)),
        (4, _) => {
            let other = objects[random.usize(..objects.len())].clone();
            object.extend(other.into_iter().filter(|_| random.u8(..4) == 0));
        }
        _ => drop(object.insert(name, any(random))),
    }
    if lines.len() == objects.len() {
        lines[place].1 = serde_json::Value::from(object).to_string();
    }
    lines
}

#[test]
fn what_is_wrong_is_refused_or_makes_a_sound_store() {
    let given = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(given("AGQ_JOBS_SEED", 1));
    let (sample, mut taken) = (sample(), 0);
    with_store(|db| {
        for case in 0..given("AGQ_JOBS_CASES", 300) {
            let mut lines = sample.clone();
            for _ in 0..random.u8(1..3) {
                lines = with_a_fault(&lines, &mut random);
            }
            let mut bench = Bench::new(db);
            if import(&mut bench, &lines).is_err() {
                continue;
            }
            taken += 1;
            let mut wrong = check(&bench.batch).unwrap_or_else(|error| vec![error.to_string()]);
            // That each event follows the one before of its job is not looked at while they come.
            wrong.retain(|found| !found.to_lowercase().contains("event"));
            assert!(wrong.is_empty(), "case {case}: {wrong:#?}\n{lines:#?}");
            export(&bench.batch, &mut |_, _| Ok(())).unwrap();
        }
    });
    assert!(taken > 0, "some faults change nothing that matters");
}
