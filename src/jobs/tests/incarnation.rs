//! What a restored store makes of the claims that it holds.

use super::*;
use crate::jobs::{begin_incarnation, refuse_old_claims};

#[test]
fn claims_of_before_are_stale_and_their_jobs_go_on() {
    with_bench(|bench| {
        let lost = bench.submit(r#"{"kind":"a"}"#);
        bench.claim("w");
        bench.pass(30_000);
        assert_eq!(bench.job(&lost).reason, Reason::Lost);
        let running = bench.submit(r#"{"kind":"a","queue":"other"}"#);
        bench
            .command(|jobs| jobs.claim(&id("w"), &Claim { queues: vec![id("other")], ..claim_of(1, 30_000) }))
            .unwrap();
        let pending = bench.submit(r#"{"kind":"a"}"#);

        assert_eq!(begin_incarnation(&mut bench.batch).unwrap(), 1);
        let now = bench.now;
        assert_eq!(refuse_old_claims(&mut bench.batch, now).unwrap(), 2);
        bench.assert_sound();
        assert_eq!(bench.job(&pending).epoch, 0, "nobody claimed it");
        for job in [&lost, &running] {
            let error = bench.command(|jobs| jobs.complete(job.as_bytes(), 1, OK)).unwrap_err().to_string();
            assert!(error.starts_with("STALE"), "{error}");
        }
        assert_eq!(bench.job(&running).status, Status::Running);
        bench.pass(30_000);
        assert_eq!(bench.job(&running).reason, Reason::Lost, "its lease runs out as after a crash");
        let again = bench.claim("v").unwrap();
        assert!(again.epoch > 1 << 32, "{}", again.epoch);
        bench.assert_sound();
    });
}
