//! Running one command: its own function, or the views' where a domain name is among its keys.

use agq_resp::{Reply, Request};

use crate::command::{Ask, Command, Context, Flags, Halt, Outcome, ReadContext, Run, Wait, args, subcommand, views};

/// What became of one command.
pub(super) enum Step {
    /// It is done.
    Reply(Reply),
    /// It is done, with several replies.
    Several(Vec<Reply>),
    /// The engine is to do something with connections.
    Ask(Ask),
    /// It is an EXEC of these.
    Execute(Vec<Request>),
    /// It waits.
    Parked(Wait),
    /// It reads so much that this is to run on a snapshot.
    Heavy(fn(&ReadContext<'_>, &Request) -> Outcome),
}

/// Runs a command's function, or has the views answer it.
pub(super) fn dispatch(ctx: &mut Context<'_, '_>, command: &Command, request: &Request) -> Result<Step, Halt> {
    if command.flags.has(Flags::CONTAINER) && request.get(1).is_some_and(|word| args::is(word, "HELP")) {
        subcommand::takes(request, 2..=2)?;
        return Ok(Step::Reply(subcommand::help(command)));
    }
    let concerns_views = views::concern(ctx.session, command, request);
    if concerns_views {
        match views::answer(ctx, command, request)? {
            views::Answer::Ordinary => {}
            views::Answer::Reply(reply) => return Ok(Step::Reply(reply)),
            views::Answer::Heavy(run) if ctx.in_transaction => return run(&ctx.reading(), request).map(Step::Reply),
            views::Answer::Heavy(run) => return Ok(Step::Heavy(run)),
        }
    }
    match command.run {
        Run::Write(run) => match run(ctx, request) {
            Err(Halt::Block(mut wait)) if concerns_views => {
                views::wait_for_queues(&mut wait, command, request);
                Err(Halt::Block(wait))
            }
            outcome => outcome.map(Step::Reply),
        },
        Run::Read(run) => {
            if let Some(prepare) = command.prepare.filter(|_| ctx.server.refusal.is_none())
                && let Err(Halt::Fatal(error)) = prepare(ctx, request)
            {
                return Err(Halt::Fatal(error));
            }
            let in_transaction = ctx.in_transaction;
            let allowance = ctx.batch.allowance();
            if !in_transaction {
                allowance.narrow();
            }
            let ctx = ctx.reading();
            if !in_transaction && command.is_heavy(&ctx, request)? {
                return Ok(Step::Heavy(run));
            }
            match run(&ctx, request) {
                Err(_) if !in_transaction && allowance.should_leave() => Ok(Step::Heavy(run)),
                outcome => outcome.map(Step::Reply),
            }
        }
    }
}
