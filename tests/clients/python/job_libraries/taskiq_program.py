"""taskiq with its list broker against AGQ: `python -m job_libraries.taskiq_program --protocol 2|3 --password with|without`."""

import asyncio
import datetime
import sys
import unittest

import redis

from agq import eventually
from job_libraries import program  # isort: skip; starts the server
from job_libraries import effects, taskiq_worker
from job_libraries.supervisor import Supervisor
from job_libraries.taskiq_worker import broker, source


def run(submit):
    """Runs `submit` with the broker and the source started."""

    async def started():
        await broker.startup()
        await source.startup()
        return await submit()

    return _loop.run_until_complete(started())


_loop = asyncio.new_event_loop()


class Taskiq(unittest.TestCase):
    def kick(self, task, names):
        async def submit():
            return [await task.kiq(name) for name in names]

        return run(submit)

    def result(self, task):
        return run(lambda: task.wait_result(check_interval=0.05, timeout=30))

    def test_every_job_runs_once(self):
        names = [f"once-{number}" for number in range(60)]
        tasks = self.kick(taskiq_worker.work, names)
        self.assertEqual(self.result(tasks[7]).return_value, "done once-7")
        eventually(lambda: all(effects.times()[name] for name in names), "every job")
        self.assertEqual({name: len(effects.times()[name]) for name in names}, dict.fromkeys(names, 1))

    def test_a_scheduled_job_runs_when_it_is_due(self):
        due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
        run(lambda: taskiq_worker.work.schedule_by_time(source, due, "later"))
        scheduler = Supervisor(
            [sys.executable, "-m", "taskiq", "scheduler", "job_libraries.taskiq_worker:scheduler", "--update-interval", "1"]
        )
        self.addCleanup(scheduler.stop)
        eventually(lambda: effects.times()["later"], "the scheduled job")
        self.assertGreaterEqual(effects.times()["later"][0], due.timestamp() - 0.01)
        self.assertEqual(len(effects.times()["later"]), 1)

    def test_a_job_that_fails_is_tried_again(self):
        tasks = self.kick(taskiq_worker.second_time, ["again"])
        self.assertEqual(self.result(tasks[0]).return_value, 1)
        self.assertEqual(len(effects.times()["again"]), 2)

    def test_no_job_is_lost_when_the_server_is_killed(self):
        names = [f"kept-{number}" for number in range(80)]
        self.kick(taskiq_worker.slow, names)
        program.server.kill()
        program.server.start()
        # All that are queued are on the disk. The list broker takes off what it runs, so that the worker's end with its
        # connection loses what it had in hand: four that ran and one that came next.
        queued = b"".join(redis.Redis.from_url(taskiq_worker.URL).lrange("taskiq", 0, -1))
        kept = [name for name in names if f'"{name}"'.encode() in queued]
        self.assertTrue(kept)
        eventually(lambda: all(effects.times()[name] for name in kept), "every job that was queued")
        times = [len(effects.times()[name]) for name in names]
        self.assertLessEqual(max(times), 1)
        self.assertLessEqual(times.count(0), 5)


worker = ["-m", "taskiq", "worker", "job_libraries.taskiq_worker:broker", "--workers", "1", "--max-async-tasks", "4"]
sys.exit(program.main(Taskiq, [sys.executable, *worker]))
