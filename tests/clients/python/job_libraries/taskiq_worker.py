"""taskiq's side that runs jobs: `python -m taskiq worker job_libraries.taskiq_worker:broker`."""

import asyncio
import os
from urllib.parse import quote

from taskiq import Context, SimpleRetryMiddleware, TaskiqDepends, TaskiqScheduler
from taskiq_redis import ListQueueBroker, ListRedisScheduleSource, RedisAsyncResultBackend

from job_libraries import effects

_LOGIN = f":{quote(os.environ['PASSWORD'])}@" if "PASSWORD" in os.environ else ""
URL = f"redis://{_LOGIN}127.0.0.1:{os.environ['PORT']}/0?protocol={os.environ['PROTOCOL']}"

broker = (
    ListQueueBroker(URL)
    .with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=600))
    .with_middlewares(SimpleRetryMiddleware(default_retry_count=3))
)
source = ListRedisScheduleSource(URL)
scheduler = TaskiqScheduler(broker, [source])


@broker.task
async def work(name: str) -> str:
    effects.note(name)
    return f"done {name}"


@broker.task
async def slow(name: str) -> None:
    await asyncio.sleep(0.05)
    effects.note(name)


@broker.task(retry_on_error=True)
async def second_time(name: str, context: Context = TaskiqDepends()) -> int:
    effects.note(name)
    tries = int(context.message.labels.get("_retries", 0))
    if tries == 0:
        raise ValueError(name)
    return tries
