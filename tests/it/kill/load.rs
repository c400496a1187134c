//! The clients of one server's life, from its start to its kill.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agq_client::{Client, Error};
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::queue::{self, Manner, Producer, Taker};
use super::writer::Writer;
use crate::support::server::Server;

const WRITERS: usize = 4;
const PRODUCERS: usize = 2;

/// Counts acknowledgements, and tells when there were enough.
pub(super) struct Acknowledged {
    count: AtomicU64,
    enough: u64,
    reached: Notify,
    /// A server to kill at that very moment: what acknowledges too early is caught only before it is done.
    victim: Option<Pid>,
}

impl Acknowledged {
    /// Counts one.
    pub(super) fn one(&self) {
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 == self.enough {
            if let Some(victim) = self.victim {
                kill_process(victim, Signal::KILL).unwrap();
            }
            self.reached.notify_one();
        }
    }
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// SIGKILL.
    Kill,
    /// SIGTERM, and exit code 0.
    Stop,
}

/// All clients, and what they know of the store.
pub(super) struct World {
    writers: Vec<Writer>,
    producers: Vec<Producer>,
    takers: Vec<Taker>,
}

/// A client that is at work.
enum Role {
    Writer(Writer, Rng),
    Producer(usize, Producer),
    Taker(Taker),
}

impl Role {
    /// Works until the server is gone.
    async fn work(mut self, mut client: Client, count: Arc<Acknowledged>) -> Role {
        let end = match &mut self {
            Role::Writer(writer, rng) => writer.work(&mut client, rng, &count).await,
            Role::Producer(name, producer) => producer.work(*name, &mut client, &count).await,
            Role::Taker(taker) => taker.work(&mut client, &count).await,
        };
        match end {
            Err(Error::Closed | Error::Io(_)) => self,
            end => panic!("a client ended with {end:?}"),
        }
    }
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        World {
            writers: (0..WRITERS).map(|name| Writer::new(seed, name)).collect(),
            producers: (0..PRODUCERS).map(|_| Producer::default()).collect(),
            takers: vec![
                Taker::mover(Manner::Asking),
                Taker::mover(Manner::Waiting),
                Taker::consumer(Manner::Asking),
                Taker::consumer(Manner::Waiting),
            ],
        }
    }

    /// Checks that the store holds what was acknowledged, and learns what became of the rest.
    pub(super) async fn check(&mut self, client: &mut Client) {
        for writer in &mut self.writers {
            writer.check(client).await;
        }
        queue::check(client, &mut self.producers, &mut self.takers).await;
    }

    /// Puts load on the server until a random number of commands was acknowledged, then ends it. Returns how many
    /// were.
    pub(super) async fn live(
        &mut self,
        server: Server,
        rng: &mut Rng,
        enough: std::ops::Range<u64>,
        ending: Ending,
    ) -> u64 {
        let victim = (ending == Ending::Kill && rng.bool()).then(|| server.process());
        let count = Arc::new(Acknowledged {
            count: AtomicU64::new(0),
            enough: rng.u64(enough),
            reached: Notify::new(),
            victim: victim.and_then(|process| Pid::from_raw(i32::try_from(process).unwrap())),
        });
        let mut clients = JoinSet::new();
        for role in self.roles(rng) {
            clients.spawn(role.work(server.client().await, count.clone()));
        }
        tokio::select! {
            biased;
            () = count.reached.notified() => {}
            early = clients.join_next() => {
                let why = early.map(|early| early.err());
                panic!("a client ended before the server was told to ({why:?}); it said:\n{}", server.log());
            }
        }
        if victim.is_none() {
            // A random number of turns, for else every kill would follow a reply.
            for _ in 0..rng.u32(..500) {
                tokio::task::yield_now().await;
            }
        }
        match ending {
            Ending::Kill => server.kill(),
            Ending::Stop => {
                let stopped = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
                assert!(stopped, "SIGTERM under load ends with exit code 0");
            }
        }
        for role in clients.join_all().await {
            match role {
                Role::Writer(writer, _) => self.writers.push(writer),
                Role::Producer(name, producer) => self.producers[name] = producer,
                Role::Taker(taker) => self.takers.push(taker),
            }
        }
        count.count.load(Ordering::Relaxed)
    }

    /// Gives every client its role; they come back when the server is gone.
    fn roles(&mut self, rng: &mut Rng) -> Vec<Role> {
        let writers = self.writers.drain(..).map(|writer| Role::Writer(writer, rng.fork()));
        let producers = self.producers.iter_mut().map(std::mem::take).enumerate();
        let producers = producers.map(|(name, producer)| Role::Producer(name, producer));
        let takers = self.takers.drain(..).map(Role::Taker);
        writers.chain(producers).chain(takers).collect()
    }
}
