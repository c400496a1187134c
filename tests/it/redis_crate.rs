//! The `redis` crate, unmodified: with a password, over RESP2 and RESP3; data commands, and a worker of the list
//! contract as it would be written with it.

use std::collections::HashMap;

use redis::{Client, Commands, Connection, Value, cmd, pipe};

use crate::support::server::Server;

fn connect(server: &Server, protocol: &str) -> Connection {
    let url = format!("redis+unix://{}?pass=secret&protocol={protocol}", server.socket().display());
    Client::open(url).unwrap().get_connection().unwrap()
}

fn with_each_protocol(test: impl Fn(&Server, &str)) {
    for protocol in ["resp2", "resp3"] {
        test(&Server::agq(&["--session-key", "secret"]), protocol);
    }
}

#[test]
fn data_commands_answer_what_the_crate_expects() {
    with_each_protocol(|server, protocol| {
        let mut redis = connect(server, protocol);
        let _: () = redis.set("s", "value").unwrap();
        assert_eq!(redis.get::<_, Option<String>>("s").unwrap().as_deref(), Some("value"));
        assert_eq!(redis.get::<_, Option<String>>("nothing").unwrap(), None);
        assert_eq!(redis.incr::<_, _, i64>("n", 5).unwrap(), 5);
        assert!(redis.expire::<_, bool>("n", 100).unwrap());
        assert_eq!(redis.rpush::<_, _, i64>("l", &["a", "b"]).unwrap(), 2);
        assert_eq!(redis.lrange::<_, Vec<String>>("l", 0, -1).unwrap(), ["a", "b"]);
        assert_eq!(redis.blpop::<_, (String, String)>("l", 1.0).unwrap(), ("l".to_owned(), "a".to_owned()));
        let _: () = redis.hset_multiple("h", &[("f", "1"), ("g", "2")]).unwrap();
        let hash: HashMap<String, u32> = redis.hgetall("h").unwrap();
        assert_eq!(hash, HashMap::from([("f".to_owned(), 1), ("g".to_owned(), 2)]));
        assert_eq!(redis.zadd::<_, _, _, i64>("z", "m", 1.5).unwrap(), 1);
        let scored: Vec<(String, f64)> = redis.zrange_withscores("z", 0, -1).unwrap();
        assert_eq!(scored, [("m".to_owned(), 1.5)]);
        let (old, new): (String, i64) = pipe().get("s").incr("n", 1).query(&mut redis).unwrap();
        assert_eq!((old.as_str(), new), ("value", 6));
        let error = redis.lpush::<_, _, i64>("s", 1).unwrap_err();
        assert_eq!(error.code(), Some("WRONGTYPE"));
    });
}

#[test]
fn a_wrong_key_or_none_is_refused() {
    with_each_protocol(|server, protocol| {
        let url = |key: &str| format!("redis+unix://{}?{key}protocol={protocol}", server.socket().display());
        Client::open(url("pass=wrong&")).unwrap().get_connection().err().unwrap();
        let nobody = Client::open(url("")).unwrap().get_connection();
        nobody.and_then(|mut redis| redis.get::<_, Option<String>>("k")).unwrap_err();
        let mut redis = Client::open(url("user=default&pass=secret&")).unwrap().get_connection().unwrap();
        assert_eq!(redis.ping::<String>().unwrap(), "PONG");
    });
}

#[test]
fn databases_deadlines_and_info_are_what_the_crate_expects() {
    with_each_protocol(|server, protocol| {
        let mut redis = connect(server, protocol);
        cmd("SELECT").arg(3).exec(&mut redis).unwrap();
        let _: () = redis.set_ex("soon", b"\x00\xff", 100).unwrap();
        assert_eq!(redis.get::<_, Vec<u8>>("soon").unwrap(), b"\x00\xff");
        let ttl: i64 = redis.ttl("soon").unwrap();
        assert!((99..=100).contains(&ttl), "{ttl}");
        assert_eq!(redis.ttl::<_, i64>("nokey").unwrap(), -2);
        assert!(redis.persist::<_, bool>("soon").unwrap());
        assert_eq!(redis.ttl::<_, i64>("soon").unwrap(), -1);
        let _: i64 = redis.zadd("z", "m", 2.5).unwrap();
        let score: Value = redis.zscore("z", "m").unwrap();
        let as_sent = if protocol == "resp3" { Value::Double(2.5) } else { Value::BulkString(b"2.5".to_vec()) };
        assert_eq!(score, as_sent);
        let info: redis::InfoDict = cmd("INFO").query(&mut redis).unwrap();
        assert_eq!(info.get::<String>("redis_version").as_deref(), Some("7.0.15"));
        assert_eq!(info.get::<u64>("connected_clients"), Some(1));
        assert_eq!(info.get::<String>("db3").as_deref(), Some("keys=2,expires=0,avg_ttl=0"));
        cmd("FLUSHDB").exec(&mut redis).unwrap();
        assert_eq!(cmd("DBSIZE").query::<i64>(&mut redis).unwrap(), 0);
    });
}

#[test]
fn a_worker_of_lists_and_strings_runs_a_job() {
    with_each_protocol(|server, protocol| {
        let mut redis = connect(server, protocol);
        let plan = r#"{"plan_id":"p","tasks":[{"task_number":1,"command":"echo","args":["{{input.x}}"]}]}"#;
        let id: String = cmd("PLAN.SUBMIT").arg(plan).query(&mut redis).unwrap();
        let action = format!(r#"{{"plan_id":"{id}","inputs":[{{"x":"hello"}}]}}"#);
        let action: String = cmd("ACTION.SUBMIT").arg(action).query(&mut redis).unwrap();
        assert!(action.contains(r#""jobs_created":1"#), "{action}");

        let echoed: String = cmd("PING").arg("w1").query(&mut redis).unwrap();
        assert_eq!(echoed, "w1");
        let _: () = redis.set("worker:w1:tools", "echo,sh").unwrap();
        let mut pop = cmd("BRPOPLPUSH");
        pop.arg("queue:ready").arg("queue:processing").arg(1);
        let job: Option<String> = pop.query(&mut redis).unwrap();
        let job = job.unwrap();
        let shown: String = redis.get(format!("job:{job}")).unwrap();
        assert!(shown.contains(r#""input":{"x":"hello"}"#) && shown.contains(r#""status":"running""#), "{shown}");
        assert!(redis.get::<_, String>("plan:p").unwrap().contains("{{input.x}}"));
        let _: () = redis.set(format!("job:{job}:stdout"), "hello\n").unwrap();
        let _: () = redis.set(format!("job:{job}:status"), "completed").unwrap();
        assert_eq!(redis.lrem::<_, _, i64>("queue:processing", 1, &job).unwrap(), 1);
        assert_eq!(redis.get::<_, String>(format!("job:{job}:status")).unwrap(), "completed");
        assert_eq!(pop.query::<Value>(&mut redis).unwrap(), Value::Nil);
    });
}
