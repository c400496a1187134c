"""What the programs of the job libraries share: a server, a worker that is kept running, and the tests.

The library's modules read where the server is from the environment, so that it is started before they are imported.
"""

import argparse
import os
import sys
import unittest

import agq
from job_libraries.supervisor import Supervisor


def _start():
    options = argparse.ArgumentParser()
    options.add_argument("--protocol", type=int, choices=[2, 3], default=2)
    options.add_argument("--password", choices=["with", "without"], required=True)
    chosen = options.parse_args()
    agq.deadline(240)
    started = agq.Server("a-key-for-clients" if chosen.password == "with" else None)
    os.environ["PORT"] = str(started.port)
    os.environ["PROTOCOL"] = str(chosen.protocol)
    if started.password is not None:
        os.environ["PASSWORD"] = started.password
    os.environ["EFFECTS"] = os.path.join(started.folder, "effects")
    return started


server = _start()


def main(case, worker):
    """Runs the tests of `case` beside a worker; what the process should exit with."""
    supervisor = Supervisor(worker)
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    supervisor.stop()
    server.stop()
    return 0 if result.wasSuccessful() and result.testsRun > 0 else 1
