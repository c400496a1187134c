//! SUBSCRIBE, PUBLISH and what belongs to them.
//!
//! A message leaves once the batch of its PUBLISH is durable, in the order of publishing.

use agq_resp::{Protocol, Reply, Request};
use bytes::Bytes;

use crate::access::{Role, Scopes};
use crate::command::channels::Topic;
use crate::command::{
    Command, CommandError, Context, Flags, Group, Halt, Message, Outcome, Run, Session, args, subcommand,
};
use crate::data::glob::Glob;

const SUBSCRIBE: Flags = Flags::PUBSUB.and(Flags::NO_MULTI);
const PUBLISH: Flags = Flags::PUBSUB.and(Flags::FAST);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    row("SUBSCRIBE", -2, Run::Write(|ctx, request| subscribe(ctx, request, Topic::Channel))).doc(
        "2.0.0",
        "channel [channel ...]",
        "Lets the connection have the messages of channels.",
    ),
    row("UNSUBSCRIBE", -1, Run::Write(|ctx, request| unsubscribe(ctx, request, Topic::Channel))).doc(
        "2.0.0",
        "[channel [channel ...]]",
        "Ends subscriptions to channels, or to all of them.",
    ),
    row("PSUBSCRIBE", -2, Run::Write(|ctx, request| subscribe(ctx, request, Topic::Pattern)))
        .doc(
            "2.0.0",
            "pattern [pattern ...]",
            "Lets the connection have the messages of all channels whose names match.",
        )
        .differs("Refused between MULTI and EXEC. A pattern has 1,024 bytes at most."),
    row("PUNSUBSCRIBE", -1, Run::Write(|ctx, request| unsubscribe(ctx, request, Topic::Pattern))).doc(
        "2.0.0",
        "[pattern [pattern ...]]",
        "Ends subscriptions to patterns, or to all of them.",
    ),
    row("SSUBSCRIBE", -2, Run::Write(|ctx, request| subscribe(ctx, request, Topic::Shard))).doc(
        "7.0.0",
        "shardchannel [shardchannel ...]",
        "Lets the connection have the messages of shard channels.",
    ),
    row("SUNSUBSCRIBE", -1, Run::Write(|ctx, request| unsubscribe(ctx, request, Topic::Shard))).doc(
        "7.0.0",
        "[shardchannel [shardchannel ...]]",
        "Ends subscriptions to shard channels, or to all of them.",
    ),
    Command::new(
        "PUBLISH",
        3,
        Group::PubSub,
        PUBLISH,
        Run::Write(|ctx, request| publish(ctx, request, Topic::Channel)),
    )
    .doc("2.0.0", "channel message", "Sends a message to who is subscribed; answers how many those are."),
    Command::new("SPUBLISH", 3, Group::PubSub, PUBLISH, Run::Write(|ctx, request| publish(ctx, request, Topic::Shard)))
        .doc("7.0.0", "shardchannel message", "Sends a message to who is subscribed to a shard channel."),
    Command::new("PUBSUB", -2, Group::PubSub, Flags::PUBSUB.and(Flags::CONTAINER), Run::Write(pubsub))
        .doc(
            "2.8.0",
            "CHANNELS [pattern] | NUMSUB [channel ...] | NUMPAT | SHARDCHANNELS [pattern] | SHARDNUMSUB [channel ...]",
            "Which channels have subscribers, and how many.",
        )
        .differs("A pattern has 1,024 bytes at most."),
];

const fn row(name: &'static str, arity: i32, run: Run) -> Command {
    Command::new(name, arity, Group::PubSub, SUBSCRIBE, run).differs("Refused between MULTI and EXEC.")
}

/// Whether a connection may run a command: with RESP2, one that is subscribed to something can be told only messages
/// and what concerns its subscriptions.
///
/// # Errors
/// Redis's words when it may not.
pub(crate) fn check(session: &Session, command: &Command) -> Result<(), CommandError> {
    if session.subscriptions == 0 || session.protocol == Protocol::Resp3 {
        return Ok(());
    }
    let allowed = matches!(
        command.name,
        "SUBSCRIBE"
            | "UNSUBSCRIBE"
            | "PSUBSCRIBE"
            | "PUNSUBSCRIBE"
            | "SSUBSCRIBE"
            | "SUNSUBSCRIBE"
            | "PING"
            | "QUIT"
            | "RESET"
    );
    if allowed {
        return Ok(());
    }
    let name = command.name.to_ascii_lowercase();
    let text = format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context"
    );
    Err(CommandError::new(text))
}

fn subscribe(ctx: &mut Context<'_, '_>, request: &Request, topic: Topic) -> Outcome {
    let conn = ctx.session.id;
    let word = match topic {
        Topic::Channel => "subscribe",
        Topic::Pattern => "psubscribe",
        Topic::Shard => "ssubscribe",
    };
    if topic == Topic::Pattern {
        request.iter().skip(1).try_for_each(|pattern| args::pattern(pattern).map(drop))?;
    }
    let mut replies = Vec::with_capacity(request.len() - 1);
    for name in request.iter().skip(1).map(Bytes::copy_from_slice) {
        ctx.server.channels.subscribe(conn, topic, name.clone());
        replies.push(told(ctx, topic, word, Reply::Bulk(name)));
    }
    Err(Halt::Several(replies))
}

fn unsubscribe(ctx: &mut Context<'_, '_>, request: &Request, topic: Topic) -> Outcome {
    let (conn, word) = (ctx.session.id, ended(topic));
    let names = match request.len() {
        1 => ctx.server.channels.of(conn, topic),
        _ => request.iter().skip(1).map(Bytes::copy_from_slice).collect(),
    };
    if names.is_empty() {
        return Err(Halt::Several(vec![told(ctx, topic, word, Reply::Null)]));
    }
    let mut replies = Vec::with_capacity(names.len());
    for name in names {
        ctx.server.channels.unsubscribe(conn, topic, name.clone());
        replies.push(told(ctx, topic, word, Reply::Bulk(name)));
    }
    Err(Halt::Several(replies))
}

/// Ends the subscriptions of the connection that its new key may not have; it is told of each as if it had asked for it.
pub(super) fn keep_permitted(ctx: &mut Context<'_, '_>, scopes: &Scopes) {
    let conn = ctx.session.id;
    if !ctx.server.channels.has(conn) {
        return;
    }
    for topic in [Topic::Channel, Topic::Pattern, Topic::Shard] {
        let permits = |name: &Bytes| match topic {
            Topic::Channel | Topic::Shard => scopes.has(Role::Channels, name),
            Topic::Pattern => scopes.may_follow(name),
        };
        for name in ctx.server.channels.of(conn, topic).into_iter().filter(|name| !permits(name)) {
            ctx.server.channels.unsubscribe(conn, topic, name.clone());
            let push = told(ctx, topic, ended(topic), Reply::Bulk(name));
            ctx.server.messages.push(Message { to: conn, push });
        }
    }
}

/// The word with which a subscription's end is told.
fn ended(topic: Topic) -> &'static str {
    match topic {
        Topic::Channel => "unsubscribe",
        Topic::Pattern => "punsubscribe",
        Topic::Shard => "sunsubscribe",
    }
}

/// What a subscriber is told of a subscription that came or went.
fn told(ctx: &mut Context<'_, '_>, topic: Topic, word: &'static str, name: Reply) -> Reply {
    let conn = ctx.session.id;
    let count = |topic| ctx.server.channels.count(conn, topic);
    ctx.session.subscriptions = count(Topic::Channel) + count(Topic::Shard);
    Reply::Push(vec![Reply::bulk(word), name, number(count(topic))])
}

fn number(count: usize) -> Reply {
    Reply::int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn publish(ctx: &mut Context<'_, '_>, request: &Request, topic: Topic) -> Outcome {
    let [channel, text] = [1, 2].map(|place| Bytes::copy_from_slice(request.arg(place)));
    Ok(number(ctx.server.channels.publish(topic, &channel, &text, &mut ctx.server.messages)))
}

fn pubsub(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let word = request.arg(1);
    let channels = &ctx.server.channels;
    let topics = [("CHANNELS", "NUMSUB", Topic::Channel), ("SHARDCHANNELS", "SHARDNUMSUB", Topic::Shard)];
    for (list, number_of, topic) in topics {
        if args::is(word, list) {
            if request.len() > 3 {
                let word = String::from_utf8_lossy(word);
                let text =
                    format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try PUBSUB HELP.");
                return Err(CommandError::new(text).into());
            }
            let pattern = request.get(2).map(args::pattern).transpose()?.map(Glob::new);
            let wanted = |name: &&Bytes| pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
            return Ok(Reply::array(channels.names(topic).filter(wanted).cloned().map(Reply::Bulk)));
        }
        if args::is(word, number_of) {
            let count =
                |name: &[u8]| [Reply::bulk(Bytes::copy_from_slice(name)), number(channels.subscribers(topic, name))];
            return Ok(Reply::array(request.iter().skip(2).flat_map(count)));
        }
    }
    if args::is(word, "NUMPAT") {
        subcommand::takes(request, 2..=2)?;
        return Ok(number(channels.names(Topic::Pattern).count()));
    }
    if args::is(word, "HELP") {
        subcommand::takes(request, 2..=2)?;
        return Ok(Reply::array(HELP.iter().map(|line| Reply::simple(line))));
    }
    Err(subcommand::unknown(request).into())
}

const HELP: &[&str] = &[
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
    "HELP",
    "    Prints this help.",
];
