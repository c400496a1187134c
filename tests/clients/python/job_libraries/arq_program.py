"""arq against AGQ: `python -m job_libraries.arq_program --password with|without`."""

import asyncio
import sys
import time
import unittest

from arq import create_pool

from agq import eventually
from job_libraries import effects, program  # isort: skip; starts the server
from job_libraries.arq_worker import SETTINGS


class Arq(unittest.TestCase):
    def enqueue(self, function, names, **more):
        """Submits a job for each name; returns arq's handles."""

        async def submit():
            pool = await create_pool(SETTINGS)
            try:
                return [await pool.enqueue_job(function, name, **more) for name in names]
            finally:
                await pool.aclose()

        return asyncio.run(submit())

    def result(self, job):
        async def ask():
            pool = await create_pool(SETTINGS)
            job._redis = pool
            try:
                return await job.result(timeout=30, poll_delay=0.05)
            finally:
                await pool.aclose()

        return asyncio.run(ask())

    def test_every_job_runs_once(self):
        names = [f"once-{number}" for number in range(60)]
        jobs = self.enqueue("work", names)
        eventually(lambda: all(effects.times()[name] for name in names), "every job")
        self.assertEqual(self.result(jobs[7]), "done once-7")
        self.assertEqual({name: len(effects.times()[name]) for name in names}, dict.fromkeys(names, 1))

    def test_a_deferred_job_runs_when_it_is_due(self):
        from_now = time.time()
        self.enqueue("work", ["later"], _defer_by=1.5)
        eventually(lambda: effects.times()["later"], "the deferred job")
        self.assertGreaterEqual(effects.times()["later"][0], from_now + 1.5)

    def test_a_job_that_fails_is_tried_again(self):
        job = self.enqueue("second_time", ["again"])[0]
        self.assertEqual(self.result(job), 2)
        self.assertEqual(len(effects.times()["again"]), 2)
        job = self.enqueue("fail", ["never"])[0]
        with self.assertRaises(ValueError):
            self.result(job)

    def test_a_job_of_the_same_name_is_taken_once(self):
        first = self.enqueue("work", ["unique"], _job_id="unique", _defer_by=1)
        self.assertIsNotNone(first[0])
        self.assertEqual(self.enqueue("work", ["unique"], _job_id="unique"), [None])
        eventually(lambda: effects.times()["unique"], "the job")
        self.assertEqual(len(effects.times()["unique"]), 1)

    def test_no_job_is_lost_when_the_server_is_killed(self):
        names = [f"kept-{number}" for number in range(80)]
        self.enqueue("slow", names)
        ran = lambda: sum(1 for name in names if effects.times()[name])
        for share in (10, 40):
            eventually(lambda: ran() >= share, "some of the jobs")
            program.server.kill()
            program.server.start()
        eventually(lambda: ran() == len(names), "every job")
        # Only what was running at a kill may have run again.
        twice = sum(len(effects.times()[name]) - 1 for name in names)
        self.assertLessEqual(twice, 2 * 4)


sys.exit(program.main(Arq, [sys.executable, "-m", "arq", "job_libraries.arq_worker.WorkerSettings"]))
