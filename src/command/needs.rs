//! What each command needs of an access key. This is the one list to read for "who may do what": the command table
//! takes it from here, the gate holds every command against it, and a test fails for a command that stands nowhere.

use crate::access::{Access, Role};

/// What a command needs. Commands that answer with a part of what there is (`Shown`) show the part that the key may
/// see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Any key: it is about the connection itself, or tells nothing.
    Nothing,
    /// ADMIN; it only looks.
    Look,
    /// ADMIN; it does something that stands in the audit log.
    Act,
    /// Depends on the subcommand: any key for `free` ones, ADMIN for all others, of which `looks` only look.
    Words {
        /// For everybody.
        free: &'static [&'static str],
        /// For administrators, not worth an entry in the audit log.
        looks: &'static [&'static str],
    },
    /// A use of the keys at the table's places: of the first, and of all others.
    Keys(Access, Access),
    /// SET: the key is read too where its old value is asked for.
    Set,
    /// SORT: like keys, and every key is read where BY or GET look some up.
    Sort,
    /// All keys of a database are told of.
    AllKeys,
    /// The channel at the first place, or the channels from there on.
    Channels {
        /// There may be more than one.
        several: bool,
    },
    /// Patterns of channels.
    ChannelPatterns,
    /// PING: its message may be a worker's id.
    Ping,
    /// SUBMIT on the queue of each submission, and on what it touches.
    SubmitJobs,
    /// SUBMIT on the queue of an action.
    SubmitAction,
    /// One of these roles on some queue: plans belong to none.
    Plans(&'static [Role]),
    /// READ on the queue of the job at the first place, or the key's own claim.
    ReadJob,
    /// SUBMIT on the queue of the job at the first place.
    ManageJob,
    /// JOB.RETRY: of one job, or of all that meet conditions.
    RetryJobs,
    /// The job at the first place was claimed with this key.
    OwnJob,
    /// WORK on every queue that is named, for a worker of this key.
    Claim,
    /// WORKER.REGISTER: the worker in the JSON is of this key, or nobody's.
    Register,
    /// The worker at the first place is of this key, or nobody's.
    Worker,
    /// READ on the queue at the first place; on all where none is named.
    ReadQueue,
    /// READ on every queue.
    ReadAll,
    /// One of these roles on some queue, and only what these show.
    Shown(&'static [Role]),
    /// READ on the queue of the action at the first place.
    ReadAction,
    /// SUBMIT on the queue of the action at the first place.
    ManageAction,
    /// SUBMIT on the queue of the schedule's job, and of the one that it replaces.
    PutSchedule,
    /// READ or SUBMIT on the queue of the schedule at the first place.
    ReadSchedule,
    /// SUBMIT on the queue of the schedule at the first place.
    ManageSchedule,
    /// The same, and what the submission of its job needs.
    RunSchedule,
}

const NONE: &[&str] = &[];
const ON_QUEUE: &[Role] = &[Role::Submit, Role::Read];

/// What the command of a name, in capitals, needs; `None` for a command that does not stand here.
#[must_use]
pub(super) fn of(name: &str) -> Option<Needs> {
    connections(name).or_else(|| server(name)).or_else(|| keys(name)).or_else(|| jobs(name))
}

fn connections(name: &str) -> Option<Needs> {
    Some(match name {
        "AUTH" | "HELLO" | "QUIT" | "RESET" | "ECHO" | "SELECT" | "MULTI" | "EXEC" | "DISCARD" | "UNWATCH" => {
            Needs::Nothing
        }
        "PING" => Needs::Ping,
        "UNSUBSCRIBE" | "PUNSUBSCRIBE" | "SUNSUBSCRIBE" => Needs::Nothing,
        "SUBSCRIBE" | "SSUBSCRIBE" => Needs::Channels { several: true },
        "PUBLISH" | "SPUBLISH" => Needs::Channels { several: false },
        "PSUBSCRIBE" => Needs::ChannelPatterns,
        "CLIENT" => Needs::Words {
            free: &[
                "ID",
                "GETNAME",
                "SETNAME",
                "SETINFO",
                "INFO",
                "REPLY",
                "NO-EVICT",
                "NO-TOUCH",
                "GETREDIR",
                "TRACKING",
                "CACHING",
                "TRACKINGINFO",
                "HELP",
            ],
            looks: &["LIST"],
        },
        _ => return None,
    })
}

fn server(name: &str) -> Option<Needs> {
    Some(match name {
        "COMMAND" | "TIME" | "ROLE" | "WAIT" | "LOLWUT" | "LASTSAVE" => Needs::Nothing,
        // These are refused to everybody.
        "CLUSTER" | "READONLY" | "READWRITE" | "ASKING" | "FCALL" | "FCALL_RO" => Needs::Nothing,
        "INFO" | "PUBSUB" | "DEBUG" | "MEMORY" | "MODULE" | "AUDIT.LIST" | "KEY.LIST" => Needs::Look,
        "FLUSHDB" | "FLUSHALL" | "SWAPDB" | "SHUTDOWN" | "MONITOR" | "SAVE" | "BGSAVE" | "BGREWRITEAOF" => Needs::Act,
        "REPLICAOF" | "SLAVEOF" | "FAILOVER" | "FUNCTION" | "KEY.CREATE" | "KEY.REVOKE" => Needs::Act,
        "ACL" => Needs::Words {
            free: &["WHOAMI", "CAT", "GENPASS", "HELP"],
            looks: &["LIST", "USERS", "GETUSER", "DRYRUN", "LOAD", "SAVE", "SETUSER", "DELUSER"],
        },
        "COMPACT" => Needs::Words { free: NONE, looks: &["STATUS"] },
        "CONFIG" => Needs::Words { free: NONE, looks: &["GET", "HELP"] },
        "SLOWLOG" => Needs::Words { free: NONE, looks: &["GET", "LEN", "HELP"] },
        "LATENCY" => Needs::Words { free: NONE, looks: &["DOCTOR", "HISTOGRAM", "HISTORY", "LATEST", "HELP", "GRAPH"] },
        // Where events go is an operator's business; the last two are the server's own.
        "WEBHOOK.PUT" | "WEBHOOK.PAUSE" | "WEBHOOK.RESUME" | "WEBHOOK.DELETE" => Needs::Act,
        "WEBHOOK.GET" | "WEBHOOK.LIST" | "WEBHOOK.CLAIM" | "WEBHOOK.REPORT" => Needs::Look,
        _ => return None,
    })
}

/// As Redis's key specifications have it; what tells no more than that a key is there, or how long, counts as read.
fn keys(name: &str) -> Option<Needs> {
    use Access::{Both, Read, Write};
    Some(match name {
        "EXISTS" | "HEXISTS" | "HLEN" | "HSTRLEN" | "LLEN" | "SCARD" | "SISMEMBER" | "STRLEN" | "TOUCH" | "TYPE"
        | "WATCH" | "ZCARD" => Needs::Keys(Read, Read),
        "BITCOUNT" | "BITFIELD_RO" | "BITPOS" | "DUMP" | "EXPIRETIME" | "GET" | "GETBIT" | "GETRANGE" | "HGET"
        | "HGETALL" | "HKEYS" | "HMGET" | "HRANDFIELD" | "HSCAN" | "HVALS" | "LCS" | "LINDEX" | "LPOS" | "LRANGE"
        | "MGET" | "OBJECT" | "PEXPIRETIME" | "PTTL" | "SDIFF" | "SINTER" | "SINTERCARD" | "SMEMBERS"
        | "SMISMEMBER" | "SRANDMEMBER" | "SSCAN" | "SUBSTR" | "SUNION" | "TTL" | "ZCOUNT" | "ZDIFF" | "ZINTER"
        | "ZINTERCARD" | "ZLEXCOUNT" | "ZMSCORE" | "ZRANDMEMBER" | "ZRANGE" | "ZRANGEBYLEX" | "ZRANGEBYSCORE"
        | "ZRANK" | "ZREVRANGE" | "ZREVRANGEBYLEX" | "ZREVRANGEBYSCORE" | "ZREVRANK" | "ZSCAN" | "ZSCORE"
        | "ZUNION" => Needs::Keys(Read, Read),
        "BLMOVE" | "BRPOPLPUSH" | "LMOVE" | "RENAME" | "RENAMENX" | "RPOPLPUSH" | "SMOVE" => Needs::Keys(Both, Write),
        "BITFIELD" | "BLMPOP" | "BLPOP" | "BRPOP" | "BZMPOP" | "BZPOPMAX" | "BZPOPMIN" | "DECR" | "DECRBY"
        | "GETDEL" | "GETEX" | "GETSET" | "HINCRBY" | "HINCRBYFLOAT" | "INCR" | "INCRBY" | "INCRBYFLOAT" | "LMPOP"
        | "LPOP" | "MOVE" | "RPOP" | "SETBIT" | "SPOP" | "ZINCRBY" | "ZMPOP" | "ZPOPMAX" | "ZPOPMIN" => {
            Needs::Keys(Both, Both)
        }
        "COPY" => Needs::Keys(Read, Write),
        "BITOP" | "SDIFFSTORE" | "SINTERSTORE" | "SUNIONSTORE" | "ZDIFFSTORE" | "ZINTERSTORE" | "ZRANGESTORE"
        | "ZUNIONSTORE" => Needs::Keys(Write, Read),
        // With NX, GT and their like they tell what was there, as in Redis.
        "APPEND" | "DEL" | "EXPIRE" | "EXPIREAT" | "HDEL" | "HMSET" | "HSET" | "HSETNX" | "LINSERT" | "LPUSH"
        | "LPUSHX" | "LREM" | "LSET" | "LTRIM" | "MSET" | "MSETNX" | "PERSIST" | "PEXPIRE" | "PEXPIREAT" | "PSETEX"
        | "RESTORE" | "RPUSH" | "RPUSHX" | "SADD" | "SETEX" | "SETNX" | "SETRANGE" | "SREM" | "UNLINK" | "ZADD"
        | "ZREM" | "ZREMRANGEBYLEX" | "ZREMRANGEBYRANK" | "ZREMRANGEBYSCORE" => Needs::Keys(Write, Write),
        "SET" => Needs::Set,
        "SORT" | "SORT_RO" => Needs::Sort,
        "KEYS" | "SCAN" | "DBSIZE" | "RANDOMKEY" => Needs::AllKeys,
        _ => return None,
    })
}

fn jobs(name: &str) -> Option<Needs> {
    Some(match name {
        "PLAN.SUBMIT" | "PLAN.VALIDATE" => Needs::Plans(&[Role::Submit]),
        "PLAN.GET" | "PLAN.LIST" => Needs::Plans(ON_QUEUE),
        // A plan is everybody's who submits its jobs.
        "PLAN.DELETE" => Needs::Act,
        "JOB.SUBMIT" | "JOB.MSUBMIT" => Needs::SubmitJobs,
        "JOB.GET" | "JOB.STATUS" | "JOB.RESULT" | "JOB.WAIT" | "JOB.LOG" => Needs::ReadJob,
        "JOB.CANCEL" | "JOB.PROMOTE" | "JOB.DELETE" => Needs::ManageJob,
        "JOB.RETRY" => Needs::RetryJobs,
        "JOB.LIST" | "EVENTS.READ" | "QUEUE.LIST" | "ACTION.LIST" => Needs::Shown(&[Role::Read]),
        "SCHEDULE.LIST" => Needs::Shown(ON_QUEUE),
        "WORKERS.LIST" => Needs::Shown(&[Role::Work, Role::Read]),
        // Its pages are counted over all jobs: JOB.LIST is the one for some.
        "JOBS.LIST" => Needs::ReadAll,
        "JOB.CLAIM" => Needs::Claim,
        "JOB.COMPLETE" | "JOB.FAIL" | "JOB.APPEND" | "JOB.PROGRESS" | "JOB.UPDATE" | "JOB.RELEASE" | "JOB.EXTEND" => {
            Needs::OwnJob
        }
        "WORKER.REGISTER" => Needs::Register,
        "WORKER.HEARTBEAT" | "WORKER.UNREGISTER" => Needs::Worker,
        "QUEUE.STATS" | "QUEUE.PEEK" => Needs::ReadQueue,
        "QUEUE.PAUSE" | "QUEUE.RESUME" | "QUEUE.PURGE" | "QUEUE.DELETE" => Needs::Act,
        "QUEUE.LIMIT" => Needs::Act,
        "ACTION.SUBMIT" => Needs::SubmitAction,
        "ACTION.GET" | "ACTION.STATUS" => Needs::ReadAction,
        "ACTION.CANCEL" | "ACTION.RETRY" => Needs::ManageAction,
        "SCHEDULE.PUT" => Needs::PutSchedule,
        "SCHEDULE.GET" | "SCHEDULE.NEXT" => Needs::ReadSchedule,
        "SCHEDULE.PAUSE" | "SCHEDULE.RESUME" | "SCHEDULE.DELETE" => Needs::ManageSchedule,
        "SCHEDULE.RUN" => Needs::RunSchedule,
        _ => return None,
    })
}
