//! The clients of a life: connections that send, wait, give up and go away, and what they are answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use agq_resp::{Reply, ReplyDecoder, ReplyLimits, Request};
use bytes::BytesMut;
use fastrand::Rng;

use super::data_words::{DATABASES, DataWords, Words, words};
use super::facts::{Facts, Heard};
use super::job_words::{JobWords, PLANS};
use crate::clock::Millis;
use crate::command::{Flags, Session, lookup};
use crate::engine::{ConnId, Input, Output, Unit};
use crate::storage::sim::{Check, Tally};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Keys in a database; the first sometimes wait for one.
    Data(usize),
    Waiting,
    Worker(&'static str),
    ListWorker,
    Control,
    /// The server's own, which delivers events to webhooks.
    Deliverer,
}

const ROLES: [Role; 12] = [
    Role::Data(0),
    Role::Data(1),
    Role::Data(2),
    Role::Data(0),
    Role::Waiting,
    Role::Waiting,
    Role::Worker("w0"),
    Role::Worker("w1"),
    Role::ListWorker,
    Role::Control,
    Role::Control,
    Role::Deliverer,
];

/// What the next reply of a connection answers.
enum Sent {
    Command(Words),
    /// A command within a transaction.
    Queued,
    Exec(Vec<Words>),
}

struct Conn {
    role: usize,
    sent: VecDeque<Sent>,
    /// A unit of it has not come to its end.
    busy: bool,
    /// What the engine handed back to be handed in again.
    rest: VecDeque<Request>,
    received: BytesMut,
}

/// All connections of one run of the server, and what their clients know beyond it.
#[derive(Default)]
pub(super) struct Clients {
    conns: BTreeMap<ConnId, Conn>,
    pub(super) facts: Facts,
    last_element: u64,
    last_id: u64,
    last_conn: ConnId,
}

pub(super) fn unit(conn: ConnId, requests: impl IntoIterator<Item = Request>) -> Unit {
    Unit { conn, requests: requests.into_iter().collect(), protocol_error: None, out: BytesMut::new() }
}

fn request(words: &Words) -> Request {
    Request::from_args(words.iter().map(String::as_str))
}

impl Clients {
    /// The server has started: all connections are new.
    pub(super) fn connect(&mut self) -> Vec<Input> {
        self.conns.clear();
        self.facts.paused = None;
        (0..ROLES.len()).flat_map(|role| self.open(role)).collect()
    }

    fn open(&mut self, role: usize) -> Vec<Input> {
        // No number comes twice: what was sent by a connection that is gone is not taken for another's.
        self.last_conn += 1;
        let conn = self.last_conn;
        let (sent, rest, received) = (VecDeque::new(), VecDeque::new(), BytesMut::new());
        self.conns.insert(conn, Conn { role, sent, busy: false, rest, received });
        let session = Session::new(conn, String::new(), true);
        let session = Session { is_own: ROLES[role] == Role::Deliverer, ..session };
        let mut inputs = vec![Input::Open(Box::new(session))];
        let database = match ROLES[role] {
            Role::Data(database) => database,
            Role::Waiting => role % DATABASES,
            Role::Control => {
                let plans = PLANS.map(|plan| Sent::Command(vec!["PLAN.SUBMIT".to_owned(), plan.to_owned()]));
                inputs.push(self.send(conn, plans.into()));
                return inputs;
            }
            Role::Deliverer => {
                // What it had under way, it makes anew.
                self.facts.deliveries.begin();
                return inputs;
            }
            Role::Worker(_) | Role::ListWorker => return inputs,
        };
        inputs.push(self.send(conn, vec![Sent::Command(words(&format!("SELECT {database}")))]));
        inputs
    }

    fn send(&mut self, conn: ConnId, commands: Vec<Sent>) -> Input {
        let requests: Vec<Request> = commands.iter().filter_map(Sent::request).collect();
        self.send_as(conn, requests, commands)
    }

    fn send_as(&mut self, conn: ConnId, requests: Vec<Request>, commands: Vec<Sent>) -> Input {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.busy = true;
            conn.sent.extend(commands);
        }
        Input::Unit(unit(conn, requests))
    }

    /// What some of the connections do next.
    pub(super) fn inputs(&mut self, rng: &mut Rng) -> Vec<Input> {
        let mut inputs = Vec::new();
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            if !state.rest.is_empty() {
                inputs.push(Input::Unit(unit(conn, std::mem::take(&mut state.rest))));
            } else if rng.u8(..100) < 2 {
                let role = state.role;
                self.conns.remove(&conn);
                inputs.push(Input::Close(conn));
                inputs.extend(self.open(role));
            } else if state.busy {
                if rng.u8(..100) < 10 {
                    inputs.push(Input::Interrupt(conn));
                }
            } else if rng.u8(..100) < 35 {
                let role = ROLES[state.role];
                inputs.push(self.next(conn, role, rng));
            }
        }
        rng.shuffle(&mut inputs);
        // A connection that is opened anew is closed first, and sends when it is open.
        inputs.sort_by_key(|input| match input {
            Input::Close(_) => 0,
            Input::Open(_) => 1,
            _ => 2,
        });
        inputs
    }

    /// The connections whose inputs have to wait, by what CLIENT PAUSE was answered.
    pub(super) fn paused(&self, inputs: &[Input], now: Millis) -> BTreeSet<ConnId> {
        let Some((until, all)) = self.facts.paused else { return BTreeSet::new() };
        let writes = |request: &Request| {
            let command = lookup(request.arg(0));
            command.is_some_and(|command| command.name == "EXEC" || command.flags.has(Flags::WRITE))
        };
        let units = inputs.iter().filter_map(|input| match input {
            Input::Unit(unit) if until > now && (all || unit.requests.iter().any(writes)) => Some(unit.conn),
            _ => None,
        });
        units.collect()
    }

    /// What the deliverer does next, while nobody else does anything.
    pub(super) fn deliver(&mut self, rng: &mut Rng) -> Vec<Input> {
        let own = self.conns.iter_mut().find(|(_, state)| ROLES[state.role] == Role::Deliverer);
        let Some((conn, state)) = own.map(|(conn, state)| (*conn, state)) else { return Vec::new() };
        if !state.rest.is_empty() {
            return vec![Input::Unit(unit(conn, std::mem::take(&mut state.rest)))];
        }
        if state.busy { Vec::new() } else { vec![self.next(conn, Role::Deliverer, rng)] }
    }

    fn next(&mut self, conn: ConnId, role: Role, rng: &mut Rng) -> Input {
        let Clients { facts, last_element, last_id, .. } = self;
        let mut together = false;
        let commands: Vec<Words> = match role {
            Role::Deliverer => {
                let commands = facts.deliveries.say(rng).into_iter().map(Sent::Command).collect();
                return self.send(conn, commands);
            }
            Role::Data(_) => {
                let mut data = DataWords { rng, last_element };
                (0..1 + data.rng.usize(..3)).map(|_| data.command()).collect()
            }
            Role::Waiting => vec![DataWords { rng, last_element }.pop()],
            role => {
                let mut jobs = JobWords { rng, jobs: &facts.jobs, actions: &facts.actions, last_id };
                match role {
                    Role::Worker(name) => (0..1 + jobs.rng.usize(..2)).map(|_| jobs.worker(name)).collect(),
                    Role::ListWorker => vec![jobs.list_worker()],
                    _ if jobs.rng.u8(..12) == 0 => {
                        together = true;
                        jobs.key_and_job()
                    }
                    _ => (0..1 + jobs.rng.usize(..3)).map(|_| jobs.control()).collect(),
                }
            }
        };
        if together || commands.len() > 1 && rng.u8(..4) == 0 {
            let mut requests = vec![request(&words("MULTI"))];
            requests.extend(commands.iter().map(request));
            requests.push(request(&words("EXEC")));
            let mut sent = vec![Sent::Queued];
            sent.extend(commands.iter().map(|_| Sent::Queued));
            sent.push(Sent::Exec(commands));
            return self.send_as(conn, requests, sent);
        }
        self.send(conn, commands.into_iter().map(Sent::Command).collect())
    }

    /// Takes what the engine has for the connections.
    pub(super) fn hear(&mut self, outputs: Vec<Output>, heard: Heard, tally: &mut Tally) -> Check<()> {
        for output in outputs {
            let (conn, bytes, finished) = match output {
                Output::Finished(finished) => (finished.conn, finished.out, Some(finished.rest)),
                Output::Pushed(conn, bytes) => (conn, bytes, None),
                Output::Keeps(..) => continue,
                Output::TooMuch(conn, _) | Output::Killed(conn) => return Err(format!("connection {conn} was ended")),
            };
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            state.received.extend_from_slice(&bytes);
            if let Some(rest) = finished {
                state.busy = !rest.is_empty();
                state.rest = rest;
            }
            let mut decoder = ReplyDecoder::new(ReplyLimits::default());
            while let Some(reply) = decoder.decode(&mut state.received).map_err(|error| error.to_string())? {
                let Some(sent) = state.sent.pop_front() else {
                    return Err(format!("connection {conn} asked nothing and was told {reply:?}"));
                };
                learn(&mut self.facts, &sent, &reply, heard, tally)?;
            }
            if !state.busy && !state.sent.is_empty() {
                return Err(format!("connection {conn} was left without {} replies", state.sent.len()));
            }
        }
        Ok(())
    }
}

impl Sent {
    fn request(&self) -> Option<Request> {
        match self {
            Sent::Command(words) => Some(request(words)),
            Sent::Queued | Sent::Exec(_) => None,
        }
    }
}

fn learn(facts: &mut Facts, sent: &Sent, reply: &Reply, heard: Heard, tally: &mut Tally) -> Check<()> {
    match (sent, reply) {
        (Sent::Command(words), reply) => facts.learn(words, reply, heard, tally),
        (Sent::Exec(commands), Reply::Array(replies)) if replies.len() == commands.len() => {
            tally.count("transactions");
            let mut pairs = commands.iter().zip(replies);
            pairs.try_for_each(|(words, reply)| facts.learn(words, reply, heard, tally))
        }
        (Sent::Exec(commands), reply) if reply.as_error().is_none() => {
            Err(format!("{} commands were to be executed, and {reply:?} was answered", commands.len()))
        }
        (Sent::Exec(_) | Sent::Queued, _) => Ok(()),
    }
}
