//! What the server says of itself at one moment, and how fast things go between two.

use std::time::Instant;

use agq_client::{Client, Error, Reply};
use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::cli::connect::rows;
use crate::cli::job::page;
use crate::cli::work::Works;

/// Running jobs that are asked for at most.
const RUNNING: &str = "500";
/// Events that are read at once, and how often in one sample: of more, the rest is not counted.
const EVENTS: &str = "10000";
const READINGS: usize = 10;
/// Statuses in the order in which they are shown.
pub(super) const STATUSES: [&str; 7] =
    ["pending", "scheduled", "running", "waiting", "completed", "failed", "cancelled"];

/// A look at the server.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// What QUEUE.LIST says.
    pub(super) queues: Vec<Value>,
    /// What WORKERS.LIST says.
    pub(super) workers: Vec<Value>,
    /// The jobs that run, each with its `work` in words.
    pub(super) running: Vec<Value>,
    /// Since the look before; `None` at the first.
    pub(super) rates: Option<Rates>,
    /// What the server warns of; `None` for a key that may not look at it.
    pub(super) warnings: Option<Vec<Warning>>,
    /// The server drains: it waits for so many jobs. `None` too for a key that may not look at it.
    pub(super) drains_for: Option<u64>,
}

/// What the server says that an operator should see to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Warning {
    pub(super) name: String,
    /// In Unix seconds.
    pub(super) since: u64,
    pub(super) text: String,
}

impl Warning {
    /// Reads a line of INFO.
    fn parse(line: &str) -> Option<Warning> {
        let (name, rest) = line.strip_prefix("warning_")?.split_once(":since=")?;
        let (since, text) = rest.split_once(",text=")?;
        Some(Warning { name: name.to_owned(), since: since.parse().ok()?, text: text.to_owned() })
    }
}

/// Jobs in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) submitted: f64,
    pub(super) completed: f64,
    pub(super) failed: f64,
    /// True when there were more events than were counted.
    pub(super) at_least: bool,
}

impl Sample {
    /// How many jobs of all queues have a status.
    pub(super) fn count(&self, status: &str) -> u64 {
        self.queues.iter().filter_map(|queue| queue[status].as_u64()).sum()
    }

    /// All of it as JSON.
    pub(super) fn json(&self) -> Value {
        let jobs: Map<String, Value> =
            STATUSES.iter().map(|status| ((*status).to_owned(), self.count(status).into())).collect();
        let rates = self.rates.map(|rates| {
            let Rates { submitted, completed, failed, at_least } = rates;
            json!({"submitted": submitted, "completed": completed, "failed": failed, "at_least": at_least})
        });
        let warning = |it: &Warning| json!({"warning": it.name, "since": it.since, "text": it.text});
        let warnings = self.warnings.as_ref().map(|known| known.iter().map(warning).collect::<Vec<Value>>());
        let draining = warnings.as_ref().map(|_| self.drains_for.is_some());
        json!({
            "jobs": jobs, "rates": rates, "queues": self.queues, "workers": self.workers, "running": self.running,
            "warnings": warnings, "draining": draining,
        })
    }
}

/// Takes samples over one connection.
pub(super) struct Sampler {
    client: Client,
    works: Works,
    /// The number of the next event, and when everything before it was counted.
    events: Option<(i64, Instant)>,
    /// The key may not look at INFO. It is not asked for again: each refusal is an entry of the server's audit log.
    info_is_refused: bool,
}

impl Sampler {
    /// Over a connection that is there.
    pub(super) fn new(client: Client) -> Sampler {
        Sampler { client, works: Works::default(), events: None, info_is_refused: false }
    }

    /// Looks once.
    ///
    /// # Errors
    /// When the server does not answer, or not as it should.
    pub(super) async fn take(&mut self) -> anyhow::Result<Sample> {
        let mut commands =
            vec![vec!["QUEUE.LIST"], vec!["WORKERS.LIST"], vec!["JOB.LIST", "STATUS", "running", "LIMIT", RUNNING]];
        if !self.info_is_refused {
            commands.push(vec!["INFO", "server", "warnings"]);
        }
        let replies = self.client.pipeline(&commands).await?;
        let [queues, workers, running, info @ ..] = replies.as_slice() else {
            anyhow::bail!("not every command was answered")
        };
        for reply in [queues, workers, running] {
            if let Some(text) = reply.as_error() {
                return Err(Error::Server(String::from_utf8_lossy(text).into_owned()).into());
            }
        }
        let (_, mut running) = page(running)?;
        self.works.learn(&mut self.client, &running).await?;
        for job in &mut running {
            job["work"] = self.works.of(job).into();
        }
        let info = info.first().and_then(|info| {
            self.info_is_refused = info.as_error().is_some_and(|text| text.starts_with(b"NOPERM"));
            info.as_str()
        });
        let lines = || info.unwrap_or_default().lines();
        let figure = |name: &str| lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok());
        Ok(Sample {
            queues: rows(queues)?,
            workers: rows(workers)?,
            running,
            rates: self.rates().await?,
            warnings: info.map(|_| lines().filter_map(Warning::parse).collect()),
            drains_for: figure("draining_jobs"),
        })
    }

    /// Counts the events since the last time.
    async fn rates(&mut self) -> anyhow::Result<Option<Rates>> {
        let Some((mut next, since)) = self.events else {
            let (next, _) = self.read("$").await?;
            self.events = Some((next, Instant::now()));
            return Ok(None);
        };
        let (mut counts, mut at_least) = ([0_u32; 3], true);
        for _ in 0..READINGS {
            let (after, events) = self.read(&next.to_string()).await?;
            next = after;
            count(&events, &mut counts);
            if events.is_empty() || events.len() < EVENTS.parse().unwrap_or(usize::MAX) {
                at_least = false;
                break;
            }
        }
        if at_least {
            next = self.read("$").await?.0;
        }
        let now = Instant::now();
        self.events = Some((next, now));
        let seconds = now.duration_since(since).as_secs_f64().max(1e-3);
        let [submitted, completed, failed] = counts.map(|count| f64::from(count) / seconds);
        Ok(Some(Rates { submitted, completed, failed, at_least }))
    }

    /// The number to go on from, and the events.
    async fn read(&mut self, from: &str) -> anyhow::Result<(i64, Vec<Value>)> {
        let mut command = vec!["EVENTS.READ", "FROM", from];
        command.extend(["COUNT", EVENTS]);
        let reply = self.client.call(&command).await?;
        let parts = reply.as_array().and_then(|parts| Some((parts.first().and_then(Reply::as_int)?, parts.get(1)?)));
        let (next, events) = parts.with_context(|| format!("EVENTS.READ answered {reply:?}"))?;
        Ok((next, rows(events)?))
    }
}

/// Adds submissions, completions and failures of jobs; the feed tells of actions too.
fn count(events: &[Value], counts: &mut [u32; 3]) {
    for event in events.iter().filter(|event| event.get("job_id").is_some()) {
        counts[0] += u32::from(event.get("from").is_none());
        counts[1] += u32::from(event["to"] == "completed");
        counts[2] += u32::from(event["to"] == "failed");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_key_that_may_not_see_info_is_refused_once() {
        let (stream, mut server) = tokio::io::duplex(1 << 16);
        let looks = ["QUEUE.LIST", "WORKERS.LIST", "JOB.LIST STATUS running LIMIT 500"];
        let listed = "*0\r\n*0\r\n*2\r\n$1\r\n0\r\n*0\r\n";
        let refused = format!("{listed}-NOPERM this key may not\r\n");
        let events = "*2\r\n:1\r\n*0\r\n";
        let script = [
            ([&looks[..], &["INFO server warnings"]].concat(), refused.as_str()),
            (vec!["EVENTS.READ FROM $ COUNT 10000"], events),
            (looks.to_vec(), listed),
            (vec!["EVENTS.READ FROM 1 COUNT 10000"], events),
        ];
        let answers = async {
            for (commands, replies) in script {
                let mut expected = BytesMut::new();
                for command in commands {
                    agq_resp::encode_request(&command.split(' ').collect::<Vec<_>>(), &mut expected);
                }
                // A pipeline is written at once.
                let mut asked = BytesMut::with_capacity(1 << 12);
                server.read_buf(&mut asked).await.unwrap();
                assert_eq!(String::from_utf8_lossy(&asked), String::from_utf8_lossy(&expected));
                server.write_all(replies.as_bytes()).await.unwrap();
            }
        };
        let mut sampler = Sampler::new(Client::over(stream, Duration::MAX));
        let looking = async { (sampler.take().await.unwrap(), sampler.take().await.unwrap()) };
        let ((first, second), ()) = tokio::join!(looking, answers);
        assert_eq!((&first.warnings, &second.warnings), (&None, &None));
        assert_eq!((&second.json()["warnings"], &second.json()["draining"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn events_are_counted_by_what_they_are() {
        let events = [
            json!({"job_id": "j", "to": "pending"}),
            json!({"job_id": "j", "from": "pending", "to": "running"}),
            json!({"job_id": "j", "from": "running", "to": "completed"}),
            json!({"job_id": "j", "from": "running", "to": "failed"}),
            json!({"job_id": "j", "to": "scheduled"}),
            json!({"action_id": "a", "to": "completed"}),
        ];
        let mut counts = [0; 3];
        count(&events, &mut counts);
        assert_eq!(counts, [2, 1, 1]);
    }
}
