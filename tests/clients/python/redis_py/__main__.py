"""Runs every test of redis-py against one server: `python -m redis_py --protocol 2|3 --password with|without`."""

import argparse
import sys
import unittest

import agq
from redis_py import case, flow, messages, server, values

MODULES = [values, flow, messages, server]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--protocol", type=int, choices=[2, 3], required=True)
    options.add_argument("--password", choices=["with", "without"], required=True)
    chosen = options.parse_args()
    agq.deadline(120)
    case.protocol = chosen.protocol
    case.server = agq.Server("a-key-for-clients" if chosen.password == "with" else None)
    tests = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromModule(module) for module in MODULES)
    result = unittest.TextTestRunner(verbosity=2).run(tests)
    case.server.stop()
    sys.exit(0 if result.wasSuccessful() and result.testsRun > 0 else 1)


main()
