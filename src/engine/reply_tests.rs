//! How large a reply may become.

use agq_resp::Reply;

use crate::command::{Sends, Session};
use crate::engine::tests::{Bench, with_engine};
use crate::engine::{HeavyRead, Input, Output};

const REFUSED: &str = "-ERR a reply, that of EXEC as a whole, may take";

/// The replies to commands, one text for all.
fn replies(bench: &mut Bench<'_>, commands: &[&str]) -> String {
    bench.send(1, commands);
    bench.finished().into_iter().map(|(_, text)| text).collect()
}

/// An engine with a client, whose replies may take so many bytes.
fn with_bound(most: usize, test: impl FnOnce(&mut Bench<'_>)) {
    with_engine(|bench| {
        bench.open(1);
        bench.engine.bound(Sends { reply: most, ..Sends::ALL });
        test(bench);
    });
}

#[test]
fn a_command_gives_up_as_soon_as_it_collects_more_than_a_reply_may_take() {
    with_bound(10_000, |bench| {
        let text = "x".repeat(3000);
        assert_eq!(replies(bench, &[&format!("SET k {text}")]), "+OK|");
        assert_eq!(replies(bench, &["MGET k k k"]), format!("*3|{}", format!("$3000|{text}|").repeat(3)));
        let looks = bench.batch.looks.get();
        let refused = replies(bench, &[&format!("MGET{}", " k".repeat(1000)), "PING"]);
        assert!(refused.starts_with(&format!("{REFUSED} 10000 bytes")) && refused.ends_with("|+PONG|"), "{refused}");
        assert!(bench.batch.looks.get() < looks + 20, "it read on");
    });
}

#[test]
fn no_command_makes_a_larger_reply_and_what_it_would_have_removed_stays() {
    with_bound(10_000, |bench| {
        let elements: Vec<String> = (10..30).map(|n| format!("{n}{}", "x".repeat(1000))).collect();
        let all = elements.join(" ");
        let pairs: String = elements.iter().map(|text| format!(" 1 {text}")).collect();
        let fields: String = (1..=20).map(|n| format!(" f{n} {}", elements[n - 1])).collect();
        let made = [
            format!("RPUSH list {all}"),
            format!("SADD set {all}"),
            format!("SADD same {all}"),
            format!("ZADD zset{pairs}"),
            format!("HSET hash{fields}"),
        ];
        assert_eq!(replies(bench, &made.each_ref().map(|text| &text[..])), ":20|:20|:20|:20|:20|");
        for element in &elements {
            replies(bench, &[&format!("SET {element} 1")]);
        }
        let names = " hash f1 f1 f1 f1 f1 f1 f1 f1 f1 f1";
        for command in [
            &format!("HMGET{names}")[..],
            "HGETALL hash",
            "HVALS hash",
            "HRANDFIELD hash -20 WITHVALUES",
            "HRANDFIELD hash 20 WITHVALUES",
            "LRANGE list 0 -1",
            "LRANGE list 5 15",
            "LPOP list 20",
            "LMPOP 1 list RIGHT COUNT 20",
            "SMEMBERS set",
            "SRANDMEMBER set -20",
            "SRANDMEMBER set 15",
            "SPOP set 19",
            "SUNION set nothing",
            "SINTER set same",
            "SDIFF set nothing",
            "ZRANGE zset 0 -1",
            "ZRANGE zset 5 -1 REV WITHSCORES",
            "ZRANGEBYSCORE zset -inf inf",
            "ZRANGEBYLEX zset - +",
            "ZRANDMEMBER zset -20",
            "ZRANDMEMBER zset 15 WITHSCORES",
            "ZUNION 2 zset set",
            "ZPOPMIN zset 20",
            "SORT list ALPHA",
            "KEYS *x",
        ] {
            let refused = replies(bench, &[command]);
            assert!(refused.starts_with(REFUSED), "{command}: {}", &refused[..refused.len().min(200)]);
        }
        let counts = ["LLEN list", "SCARD set", "ZCARD zset", "HLEN hash"];
        assert_eq!(replies(bench, &counts), ":20|".repeat(4));
        assert!(replies(bench, &["LRANGE list 0 4", "SPOP set 5", "ZPOPMIN zset 5"]).len() > 15_000);
    });
}

#[test]
fn the_replies_of_an_exec_are_bounded_together_and_each_command_past_that_fails_alone() {
    with_bound(10_000, |bench| {
        let text = "x".repeat(3000);
        replies(bench, &[&format!("SET k {text}"), "SET n 1", "MULTI"]);
        replies(bench, &["GET k", "GET k", "GET k", "GETDEL k", "INCR n", "MGET k k", "INCR n"]);
        let made = replies(bench, &["EXEC", "GET k"]);
        let parts: Vec<String> = made.split('|').map(|part| part.chars().take(24).collect()).collect();
        let value = ["$3000", "xxxxxxxxxxxxxxxxxxxxxxxx"];
        let refused = &REFUSED[..24];
        let exec = [&["*7"][..], &value, &value, &value, &[refused, ":2", refused, ":3"]].concat();
        assert_eq!(parts, [&exec[..], &value, &[""]].concat());
    });
}

#[test]
fn a_read_that_collects_much_goes_on_elsewhere_but_not_within_an_exec() {
    with_bound(40 << 20, |bench| {
        let text = "x".repeat(1 << 20);
        replies(bench, &[&format!("SET k {text}")]);
        let elsewhere = |bench: &mut Bench<'_>, keys: usize| {
            bench.send(1, &[&format!("MGET{}", " k".repeat(keys)), "PING"]);
            let [mut read] = <[_; 1]>::try_from(bench.engine.take_heavy()).ok().unwrap();
            assert!(bench.engine.take_outputs().is_empty());
            let reply = read.run(&bench.batch).unwrap();
            bench.take(Input::Resume(Box::new(read), reply));
            let outputs = bench.engine.take_outputs();
            let [Output::Finished(finished)] = &outputs[..] else { panic!("{} outputs", outputs.len()) };
            (finished.out.len(), finished.out[..REFUSED.len()] == *REFUSED.as_bytes())
        };
        let (bytes, refused) = elsewhere(bench, 20);
        assert!(bytes > 20 << 20 && !refused);
        let (bytes, refused) = elsewhere(bench, 50);
        assert!(bytes < 1000 && refused);
        bench.send(1, &["MULTI", &format!("MGET{}", " k".repeat(20)), "EXEC"]);
        assert!(!bench.engine.has_heavy() && bench.finished()[0].1.len() > 20 << 20);
    });
}

#[test]
fn large_reads_at_the_same_time_share_the_bound_until_they_are_answered() {
    with_bound(40 << 20, |bench| {
        bench.open(2);
        replies(bench, &[&format!("SET k {}", "x".repeat(1 << 20))]);
        let ask = format!("MGET{}", " k".repeat(30));
        bench.send(1, &[&ask]);
        bench.send(2, &[&ask]);
        let answer = |bench: &mut Bench<'_>, mut read: HeavyRead| {
            let reply = read.run(&bench.batch).unwrap();
            (Box::new(read), reply)
        };
        let [first, second] = <[_; 2]>::try_from(bench.engine.take_heavy()).ok().unwrap();
        let (first, large) = answer(bench, first);
        let (second, refused) = answer(bench, second);
        assert_eq!(large.into_array().map(|values| values.len()), Some(30));
        let refused = String::from_utf8_lossy(refused.as_error().unwrap()).into_owned();
        assert!(refused.starts_with("ERR large replies that are read at the same time"), "{refused}");
        bench.take(Input::Resume(first, Reply::Null));
        bench.take(Input::Resume(second, Reply::Null));
        bench.send(2, &[&ask]);
        let [again] = <[_; 1]>::try_from(bench.engine.take_heavy()).ok().unwrap();
        assert!(answer(bench, again).1.as_error().is_none());
    });
}

#[test]
fn what_a_command_collects_and_does_not_answer_is_no_reply() {
    with_bound(10_000, |bench| {
        let texts: Vec<String> = (10..210).map(|n| n.to_string()).collect();
        let pairs = |score: bool| -> String {
            texts.iter().map(|text| format!(" {} {text}", if score { text } else { "1" })).collect()
        };
        let all = texts.join(" ");
        let made = [
            format!("SADD set {all}"),
            format!("SADD other {all} x"),
            "SADD few 10 11".to_owned(),
            format!("SADD many {all} z"),
            format!("RPUSH list {all}"),
            format!("ZADD scored{}", pairs(true)),
            format!("ZADD equal 0 0{}", pairs(false)),
            format!("HSET hash{}", pairs(true)),
        ];
        assert_eq!(replies(bench, &made.each_ref().map(|text| &text[..])), ":200|:201|:2|:201|:200|:200|:201|:200|");
        let counts = |count: usize| format!(":{count}|");
        for (command, answer) in [
            ("SUNIONSTORE to set other", counts(201)),
            ("SINTERSTORE to set other", counts(200)),
            ("SDIFFSTORE to other few", counts(199)),
            ("SINTERCARD 2 set other", counts(200)),
            ("SDIFF many other", "*1|$1|z|".to_owned()),
            ("ZUNIONSTORE to 2 scored set", counts(200)),
            ("ZINTERSTORE to 2 scored set", counts(200)),
            ("ZDIFFSTORE to 2 scored few", counts(198)),
            ("ZRANGESTORE to scored 0 -1", counts(200)),
            ("ZINTERCARD 2 scored set", counts(200)),
            ("ZINTER 2 scored few", "*2|$2|10|$2|11|".to_owned()),
            ("ZLEXCOUNT equal - +", counts(201)),
            ("SORT list LIMIT 0 1", "*1|$2|10|".to_owned()),
            ("SORT_RO list LIMIT 0 1", "*1|$2|10|".to_owned()),
            ("SORT list STORE to", counts(200)),
            ("COPY set to REPLACE", counts(1)),
            ("OBJECT ENCODING set", "$6|intset|".to_owned()),
            ("OBJECT ENCODING hash", "$8|listpack|".to_owned()),
            ("ZREMRANGEBYLEX equal [101 +", counts(198)),
            ("ZREMRANGEBYSCORE scored 11 208", counts(198)),
            ("ZADD scored 1 a 2 b", counts(2)),
            ("ZREMRANGEBYRANK scored 1 -1", counts(3)),
        ] {
            assert_eq!(replies(bench, &[command]), answer, "{command}");
        }
        for command in ["SINTER set other", "SORT list", "ZUNION 2 equal set", "SMEMBERS set"] {
            let refused = replies(bench, &[command]);
            assert!(refused.starts_with(REFUSED), "{command}: {refused}");
        }
    });
}

#[test]
fn an_exec_lists_clients_only_while_there_is_room() {
    with_bound(10_000, |bench| {
        let lists = ["CLIENT LIST"; 100];
        replies(bench, &[&["MULTI"], &lists[..], &["CLIENT UNPAUSE", "CLIENT KILL ID 1"]].concat());
        let made = replies(bench, &["EXEC", "PING"]);
        let refused = made.matches(REFUSED).count();
        assert!((50..102).contains(&refused) && made.contains("id=1 ") && made.ends_with("|+PONG|"), "{made}");
        bench.engine.bound(Sends { reply: 100, ..Sends::ALL });
        assert!(replies(bench, &["CLIENT LIST"]).starts_with(REFUSED));
    });
}

#[test]
fn a_sort_that_collects_much_goes_on_elsewhere() {
    with_bound(40 << 20, |bench| {
        let text = "x".repeat(1 << 20);
        for _ in 0..20 {
            replies(bench, &[&format!("RPUSH l {text}")]);
        }
        for command in ["SORT l ALPHA", "SORT l ALPHA LIMIT 0 1", "SORT_RO l ALPHA LIMIT 0 1"] {
            bench.send(1, &[command]);
            let [mut read] = <[_; 1]>::try_from(bench.engine.take_heavy()).ok().expect(command);
            let reply = read.run(&bench.batch).unwrap();
            assert!(reply.as_error().is_none() && reply.size() > text.len(), "{command}");
            bench.take(Input::Resume(Box::new(read), Reply::Null));
            bench.engine.take_outputs();
        }
        assert_eq!(replies(bench, &["SORT l ALPHA LIMIT 0 1 STORE s"]), ":1|");
    });
}

#[test]
fn what_the_server_itself_reads_counts_for_no_client() {
    with_bound(40 << 20, |bench| {
        let own = Session { is_own: true, ..Session::new(2, String::new(), true) };
        bench.take(Input::Open(Box::new(own)));
        replies(bench, &[&format!("SET k {}", "x".repeat(1 << 20))]);
        let ask = format!("MGET{}", " k".repeat(30));
        bench.send(2, &[&ask]);
        bench.send(1, &[&ask]);
        let mut reads = bench.engine.take_heavy();
        assert_eq!(reads.len(), 2);
        for read in &mut reads {
            assert!(read.run(&bench.batch).unwrap().as_error().is_none());
        }
    });
}
