//! What a server without clusters, replicas, functions and modules answers to those who ask for them.

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, args, subcommand};

const ADMIN: Flags = Flags::ADMIN;
const CONTAINER: Flags = Flags::CONTAINER;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("CLUSTER", -2, Group::Cluster, Flags::NONE, Run::Write(no_cluster))
        .doc("3.0.0", "subcommand [arg ...]", "Refused: there is no cluster.")
        .differs("Answers every subcommand as a server with cluster support disabled does, unknown ones too."),
    Command::new("READONLY", 1, Group::Cluster, Flags::FAST, Run::Write(no_cluster)).doc(
        "3.0.0",
        "",
        "Refused: there is no cluster.",
    ),
    Command::new("READWRITE", 1, Group::Cluster, Flags::FAST, Run::Write(no_cluster)).doc(
        "3.0.0",
        "",
        "Refused: there is no cluster.",
    ),
    Command::new("ASKING", 1, Group::Cluster, Flags::FAST, Run::Write(no_cluster)).doc(
        "3.0.0",
        "",
        "Refused: there is no cluster.",
    ),
    Command::new("REPLICAOF", 3, Group::Server, ADMIN, Run::Write(replica_of))
        .doc("5.0.0", "host port | NO ONE", "NO ONE: this server is a master already.")
        .differs("A host is refused: AGQ is nobody's replica."),
    Command::new("SLAVEOF", 3, Group::Server, ADMIN, Run::Write(replica_of))
        .doc("1.0.0", "host port | NO ONE", "The old name of REPLICAOF.")
        .differs("A host is refused: AGQ is nobody's replica."),
    Command::new("FAILOVER", -1, Group::Server, ADMIN, Run::Write(failover)).doc(
        "6.2.0",
        "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        "Refused: there is no replica to fail over to.",
    ),
    Command::new("MODULE", -2, Group::Server, CONTAINER, Run::Write(module))
        .doc("4.0.0", "LIST", "The modules that are loaded: none.")
        .differs("LOAD, LOADEX and UNLOAD are refused: there are no modules."),
    Command::new("FUNCTION", -2, Group::Scripting, CONTAINER, Run::Write(function))
        .doc(
            "7.0.0",
            "DELETE library-name | FLUSH [ASYNC | SYNC] | KILL | LIST [LIBRARYNAME pattern] [WITHCODE] | STATS",
            "The functions that are loaded: none.",
        )
        .differs("LOAD, RESTORE and DUMP are refused: AGQ runs no scripts."),
    Command::new("FCALL", -3, Group::Scripting, Flags::NONE, Run::Write(call)).keys_counted_at(2).doc(
        "7.0.0",
        "function numkeys [key [key ...]] [arg [arg ...]]",
        "Refused: there are no functions.",
    ),
    Command::new("FCALL_RO", -3, Group::Scripting, Flags::READONLY, Run::Write(call)).keys_counted_at(2).doc(
        "7.0.0",
        "function numkeys [key [key ...]] [arg [arg ...]]",
        "Refused: there are no functions.",
    ),
];

fn no_cluster(_: &mut Context<'_, '_>, _: &Request) -> Outcome {
    Err(CommandError::new("ERR This instance has cluster support disabled").into())
}

fn replica_of(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if args::is(request.arg(1), "NO") && args::is(request.arg(2), "ONE") {
        return Ok(Reply::ok());
    }
    Err(CommandError::new("ERR AGQ cannot be a replica: copy its data directory, or take a backup, instead").into())
}

fn failover(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if request.get(1).is_some_and(|word| args::is(word, "ABORT")) && request.len() == 2 {
        return Err(CommandError::new("ERR No failover in progress.").into());
    }
    Err(CommandError::new("ERR FAILOVER requires connected replicas.").into())
}

fn module(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let is = |name| args::is(request.arg(1), name);
    match () {
        () if is("LIST") => {
            subcommand::takes(request, 2..=2)?;
            Ok(Reply::array([]))
        }
        () if is("LOAD") || is("LOADEX") || is("UNLOAD") => {
            Err(CommandError::new("ERR AGQ has no modules: none can be loaded").into())
        }
        () => Err(subcommand::unknown(request).into()),
    }
}

fn function(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let is = |name| args::is(request.arg(1), name);
    match () {
        () if is("LIST") => {
            let mut options = args::Options::new(request, 2);
            while let Some(word) = options.word() {
                if args::is(word, "LIBRARYNAME") {
                    let missing = |_| CommandError::new("ERR library name argument was not given");
                    options.value().map_err(missing)?;
                } else if !args::is(word, "WITHCODE") {
                    let word = String::from_utf8_lossy(word);
                    return Err(CommandError::new(format!("ERR Unknown argument {word}")).into());
                }
            }
            Ok(Reply::array([]))
        }
        () if is("STATS") => {
            subcommand::takes(request, 2..=2)?;
            let fields = [("running_script", Reply::Null), ("engines", Reply::map([]))];
            Ok(Reply::map(fields.map(|(name, value)| (Reply::bulk(name), value))))
        }
        () if is("FLUSH") => {
            subcommand::takes(request, 2..=3)?;
            match request.get(2) {
                Some(word) if !args::is(word, "ASYNC") && !args::is(word, "SYNC") => {
                    Err(CommandError::new("ERR FUNCTION FLUSH only supports SYNC|ASYNC option").into())
                }
                _ => Ok(Reply::ok()),
            }
        }
        () if is("DELETE") => {
            subcommand::takes(request, 3..=3)?;
            Err(CommandError::new("ERR Library not found").into())
        }
        () if is("KILL") => {
            subcommand::takes(request, 2..=2)?;
            Err(CommandError::new("NOTBUSY No scripts in execution right now.").into())
        }
        () if is("LOAD") || is("RESTORE") || is("DUMP") => {
            Err(CommandError::new("ERR AGQ runs no scripts: there are no functions to load, dump or restore").into())
        }
        () => Err(subcommand::unknown(request).into()),
    }
}

fn call(_: &mut Context<'_, '_>, _: &Request) -> Outcome {
    Err(CommandError::new("ERR Function not found").into())
}
