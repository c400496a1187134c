"""arq's side that runs jobs: `python -m arq job_libraries.arq_worker.WorkerSettings`."""

import asyncio
import os

from arq import Retry
from arq.connections import RedisSettings

from job_libraries import effects

SETTINGS = RedisSettings(port=int(os.environ["PORT"]), password=os.environ.get("PASSWORD"), conn_retry_delay=0.1)


async def work(_, name):
    effects.note(name)
    return f"done {name}"


async def slow(_, name):
    await asyncio.sleep(0.05)
    effects.note(name)


async def second_time(ctx, name):
    effects.note(name)
    if ctx["job_try"] == 1:
        raise Retry(defer=0.2)
    return ctx["job_try"]


async def fail(_, name):
    effects.note(name)
    raise ValueError(name)


class WorkerSettings:
    functions = [work, slow, second_time, fail]
    redis_settings = SETTINGS
    max_jobs = 4
    poll_delay = 0.05
    # A job that was running when the server was killed is begun again when so much time and ten seconds are over.
    job_timeout = 1
    handle_signals = False
