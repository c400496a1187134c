//! Schedules: ticks that come, are missed, overlap or are refused, each once over whatever happens.

use super::*;
use crate::jobs::schedules::Schedule;

const MINUTE: u64 = 60_000;
const JOB: &str = r#"{"kind":"a"}"#;

impl Bench<'_> {
    fn put_schedule(&mut self, name: &str, course: &str, job: &str) -> Result<Schedule> {
        let json = format!(r#"{{{course},"job":{job}}}"#);
        let definition = Definition::parse(json.as_bytes()).unwrap();
        self.command(|jobs| jobs.put_schedule(&id(name), &definition))
    }

    fn schedule(&mut self, name: &str) -> Schedule {
        self.jobs().view().need_schedule(name.as_bytes()).unwrap()
    }

    /// What became of a schedule's ticks: fired, skipped, missed, refused.
    fn ticks(&mut self, name: &str) -> [u64; 4] {
        let schedule = self.schedule(name);
        [schedule.fired, schedule.skipped, schedule.missed, schedule.refused]
    }

    fn job_count(&mut self) -> u64 {
        self.jobs().view().totals().unwrap().total()
    }

    /// Time passes, and all is done that is due then.
    fn pass_and_settle(&mut self, ms: u64) {
        self.pass(ms);
        while self.next().is_some_and(|next| next <= self.now) {
            self.pass(0);
            self.assert_sound();
        }
    }

    fn plan_is_there(&self, plan: &str) -> bool {
        plan_store::exists(&self.batch, plan.as_bytes()).unwrap()
    }
}

#[test]
fn a_tick_submits_one_job_under_its_own_id() {
    with_bench(|bench| {
        let schedule = bench.put_schedule("s", r#""cron":"*/5 * * * *""#, r#"{"kind":"a","priority":9}"#).unwrap();
        assert_eq!(schedule.next_at, Some(START.plus(5 * MINUTE)));
        bench.pass(5 * MINUTE - 1);
        assert_eq!(bench.job_count(), 0);
        bench.pass(1);
        let job = bench.job(&id("s_20270115T080500Z"));
        assert_eq!((job.status, job.priority, job.created_at), (Status::Pending, 9, bench.now));
        let schedule = bench.schedule("s");
        assert_eq!(schedule.last, Some((bench.now, job.id)));
        assert_eq!(schedule.next_at, Some(bench.now.plus(5 * MINUTE)));
        assert_eq!(bench.ticks("s"), [1, 0, 0, 0]);
        bench.assert_sound();
    });
}

#[test]
fn missed_ticks_become_one_job_or_all_or_none() {
    with_bench(|bench| {
        for misfire in ["once", "all", "skip"] {
            bench.put_schedule(misfire, &format!(r#""cron":"*/5 * * * *","misfire":"{misfire}""#), JOB).unwrap();
        }
        // Ticks at 5, 10 and 15 minutes, of which the last is 61 seconds late.
        bench.pass_and_settle(16 * MINUTE + 1_000);
        assert_eq!(bench.ticks("once"), [1, 0, 2, 0]);
        assert_eq!(bench.ticks("all"), [3, 0, 0, 0]);
        assert_eq!(bench.ticks("skip"), [0, 0, 3, 0]);
        assert_eq!(bench.schedule("once").last.unwrap().1, id("once_20270115T081500Z"));
        // Of two that have come the last is not late.
        bench.pass_and_settle(9 * MINUTE);
        assert_eq!(bench.ticks("once"), [2, 0, 3, 0]);
        assert_eq!(bench.ticks("skip"), [1, 0, 4, 0]);
    });
}

#[test]
fn many_missed_ticks_are_gone_through_in_slices() {
    with_bench(|bench| {
        bench.put_schedule("all", r#""cron":"* * * * * *","misfire":"all""#, JOB).unwrap();
        bench.put_schedule("once", r#""cron":"* * * * * *""#, JOB).unwrap();
        bench.pass(1_000_000);
        let (all, once) = (bench.ticks("all"), bench.ticks("once"));
        assert!(all[0] > 10 && all[0] < 50, "{all:?}");
        assert!(once[2] > 100 && once[2] < 300, "{once:?}");
        // Each slice is one transaction: what was done before a stop is not done again.
        bench.settings = bench.settings.started(&bench.batch, bench.now).unwrap();
        bench.pass_and_settle(0);
        assert_eq!(bench.ticks("all"), [1_000, 0, 0, 0]);
        assert_eq!(bench.ticks("once"), [1, 0, 999, 0]);
        assert_eq!(bench.job_count(), 1_001);
    });
}

#[test]
fn a_tick_is_skipped_while_the_last_job_has_not_ended() {
    with_bench(|bench| {
        bench.put_schedule("s", r#""cron":"* * * * *","overlap":"skip""#, r#"{"kind":"a","attempts":1}"#).unwrap();
        bench.pass(MINUTE);
        bench.pass(MINUTE);
        assert_eq!(bench.ticks("s"), [1, 1, 0, 0]);
        let job = bench.claim("w").unwrap();
        bench.pass(20_000);
        bench.command(|jobs| jobs.complete(job.id.as_bytes(), job.epoch, OK)).unwrap();
        bench.pass(40_000);
        assert_eq!(bench.ticks("s"), [2, 1, 0, 0]);
        bench.assert_sound();
    });
}

#[test]
fn a_refused_tick_is_noted_and_the_next_one_comes() {
    with_bench(|bench| {
        let holder = bench.submit(r#"{"kind":"b","unique_key":"u"}"#);
        bench.put_schedule("s", r#""cron":"* * * * *""#, r#"{"kind":"a","unique_key":"u"}"#).unwrap();
        bench.pass(MINUTE);
        let (at, why) = bench.schedule("s").last_error.unwrap();
        assert_eq!(at, bench.now);
        assert!(why.starts_with(&format!("unique_key 'u' is held by job {holder}, which is pending")), "{why}");
        bench.command(|jobs| jobs.cancel(holder.as_bytes())).unwrap();
        bench.pass(MINUTE);
        assert_eq!(bench.ticks("s"), [1, 0, 0, 1]);
        // A job that somebody submitted under the id of a tick stays what it is.
        bench.submit(r#"{"job_id":"s_20270115T080300Z","kind":"b"}"#);
        bench.pass(MINUTE);
        assert_eq!(bench.ticks("s"), [1, 0, 0, 2]);
        let (_, why) = bench.schedule("s").last_error.unwrap();
        assert_eq!(why, "Job s_20270115T080300Z exists with other content: choose another job_id");
        bench.assert_sound();
    });
}

#[test]
fn a_plan_stays_as_long_as_a_schedule_uses_it() {
    with_bench(|bench| {
        let job = |command: &str| {
            format!(
                r#"{{"plan":{{"plan_id":"{command}","tasks":[{{"task_number":1,"command":"{command}"}}]}},"retention_ms":0}}"#
            )
        };
        bench.put_schedule("s", r#""cron":"@hourly""#, &job("date")).unwrap();
        let error = bench.command(|jobs| plan_store::delete(jobs.batch, b"date")).unwrap_err().to_string();
        assert!(error.contains("Plan date is in use by 1 schedules: SCHEDULE.DELETE"), "{error}");
        bench.put_schedule("s", r#""cron":"@hourly""#, &job("true")).unwrap();
        assert!(!bench.plan_is_there("date"), "a plan that came along goes with what used it last");
        bench.pass(60 * MINUTE);
        bench.command(|jobs| jobs.delete_schedule(b"s")).unwrap();
        assert!(bench.plan_is_there("true"), "its job is there");
        bench.command(|jobs| jobs.cancel(b"s_20270115T090000Z")).unwrap();
        bench.pass(1);
        assert!(!bench.plan_is_there("true"));
        bench.assert_sound();
    });
}

#[test]
fn what_a_job_would_be_refused_for_is_refused_when_it_is_put() {
    with_bench(|bench| {
        let mut refused = |job: &str| bench.put_schedule("s", r#""cron":"@daily""#, job).unwrap_err().to_string();
        assert_eq!(refused(r#"{"plan_id":"none"}"#), "ERR Plan not found: none");
        let plan = r#""plan":{"tasks":[{"task_number":1,"command":"echo","args":["{{input.x}}"]}]}"#;
        assert_eq!(refused(&format!("{{{plan}}}")), "ERR input: task 1 args[0] needs input.x");
        assert!(bench.jobs().view().schedule(b"s").unwrap().is_none());
        assert!(bench.jobs().view().schedules(None, 10).unwrap().is_empty());
        bench.assert_sound();
    });
}

#[test]
fn the_same_definition_changes_nothing_and_another_one_keeps_the_counts() {
    with_bench(|bench| {
        let first = bench.put_schedule("s", r#""cron":"* * * * *""#, JOB).unwrap();
        bench.now = bench.now.plus(10_000);
        assert_eq!(bench.put_schedule("s", r#""cron":"* * * * *","zone":"UTC""#, JOB).unwrap(), first);
        bench.pass(50_000);
        // Another job does not move the next tick, another line does.
        let second = bench.put_schedule("s", r#""cron":"* * * * *""#, r#"{"kind":"b"}"#).unwrap();
        assert_eq!((second.fired, second.next_at), (1, Some(bench.now.plus(MINUTE))));
        bench.command(|jobs| jobs.pause_schedule(b"s", true)).unwrap();
        let third = bench.put_schedule("s", r#""cron":"@hourly""#, JOB).unwrap();
        assert_eq!((third.paused, third.next_at, third.fired, third.number), (true, None, 1, first.number));
        bench.assert_sound();
    });
}

#[test]
fn a_pause_leaves_out_what_comes_meanwhile() {
    with_bench(|bench| {
        bench.put_schedule("s", r#""cron":"*/5 * * * *","misfire":"all""#, JOB).unwrap();
        bench.command(|jobs| jobs.pause_schedule(b"s", true)).unwrap();
        bench.pass_and_settle(60 * MINUTE);
        let view = bench.jobs();
        let (view, paused) = (view.view(), view.view().need_schedule(b"s").unwrap());
        let told = view.next_ticks(&paused, 2).unwrap();
        assert_eq!(told, [START.plus(65 * MINUTE), START.plus(70 * MINUTE)]);
        let (_, resumed) = bench.command(|jobs| jobs.pause_schedule(b"s", false)).unwrap();
        assert_eq!(resumed.next_at, Some(START.plus(65 * MINUTE)));
        bench.pass(5 * MINUTE);
        assert_eq!(bench.ticks("s"), [1, 0, 0, 0]);
    });
}

#[test]
fn a_schedule_keeps_within_its_bounds_and_stays_when_it_is_over() {
    with_bench(|bench| {
        let course =
            format!(r#""cron":"* * * * *","start_at":{},"end_at":{}"#, START.plus(90_000).0, START.plus(3 * MINUTE).0);
        bench.put_schedule("s", &course, JOB).unwrap();
        bench.pass_and_settle(10 * MINUTE);
        let over = bench.schedule("s");
        assert_eq!((over.fired, over.missed, over.next_at), (1, 1, None));
        assert_eq!(bench.put_schedule("s", &course, JOB).unwrap(), over);
        let error = bench.put_schedule("t", &course, JOB).unwrap_err().to_string();
        assert!(error.contains("schedule.end_at comes before the next tick"), "{error}");
        bench.assert_sound();
    });
}

#[test]
fn a_clock_that_is_set_back_does_not_bring_a_tick_twice() {
    with_bench(|bench| {
        bench.put_schedule("s", r#""cron":"*/5 * * * *""#, r#"{"kind":"a","retention_ms":0}"#).unwrap();
        bench.pass(5 * MINUTE);
        let fired = bench.now;
        bench.command(|jobs| jobs.cancel(b"s_20270115T080500Z")).unwrap();
        bench.pass(1);
        // As a start with an accepted clock may.
        bench.now = START;
        let changed = bench.put_schedule("s", r#""cron":"* * * * *""#, JOB).unwrap();
        assert_eq!(changed.next_at, Some(fired.plus(MINUTE)));
        bench.command(|jobs| jobs.pause_schedule(b"s", true)).unwrap();
        let (_, resumed) = bench.command(|jobs| jobs.pause_schedule(b"s", false)).unwrap();
        assert_eq!(resumed.next_at, Some(fired.plus(MINUTE)));
    });
}

#[test]
fn a_run_by_hand_is_one_more_job() {
    with_bench(|bench| {
        bench.put_schedule("s", r#""cron":"@daily","overlap":"skip""#, JOB).unwrap();
        let first = bench.command(|jobs| jobs.run_schedule_now(b"s")).unwrap().id;
        let second = bench.command(|jobs| jobs.run_schedule_now(b"s")).unwrap().id;
        assert!(first != second && first.starts_with("job_"));
        assert_eq!(bench.ticks("s"), [0; 4]);
        let error = bench.command(|jobs| jobs.run_schedule_now(b"none")).unwrap_err().to_string();
        assert_eq!(error, "ERR Schedule not found: none");
    });
}

#[test]
fn a_zone_that_is_not_known_any_more_stops_the_schedule_and_nothing_else() {
    with_bench(|bench| {
        let mut schedule = bench.put_schedule("s", r#""cron":"* * * * *""#, JOB).unwrap();
        "Atlantis/Capital".clone_into(&mut schedule.course.zone);
        bench.batch.put(Table::Schedules, &b"s"[..], schedule.encode()).unwrap();
        bench.pass(MINUTE);
        let stopped = bench.schedule("s");
        assert_eq!(stopped.next_at, None);
        assert!(stopped.last_error.unwrap().1.contains("not 'Atlantis/Capital'"));
        bench.assert_sound();
    });
}
