"""What every test of redis-py begins with: a server for all of them, emptied before each, and a client."""

import threading
import unittest

import redis

from agq import PATIENCE, Server, eventually

# Set by `__main__` before a test runs.
protocol = 2
server: Server


class Case(unittest.TestCase):
    """A test with a client, `self.r`, on an empty server."""

    def setUp(self):
        self.r = self.client()
        self.r.flushall()

    def client(self, **more):
        """Another client. It answers with `str`, as `decode_responses` has it, unless told otherwise."""
        options = {
            "host": "127.0.0.1",
            "port": server.port,
            "password": server.password,
            "protocol": protocol,
            "decode_responses": True,
            "socket_timeout": PATIENCE,
        }
        client = redis.Redis(**{**options, **more})
        self.addCleanup(client.close)
        return client

    def by_protocol(self, two, three):
        """What a reply is that differs between the versions of the protocol."""
        return two if protocol == 2 else three

    def refused(self, words, call, *arguments, **more):
        """Checks that a call is answered with an error that says this."""
        with self.assertRaises(redis.ResponseError) as caught:
            call(*arguments, **more)
        self.assertIn(words, str(caught.exception))

    def beside(self, call):
        """Runs `call` in a thread; what is returned waits for its end and gives its result."""
        result = []
        thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
        thread.start()

        def end():
            thread.join(PATIENCE)
            self.assertTrue(result, "the call has not come back")
            return result[0]

        return end

    def blocked(self, count):
        """Waits until that many clients stand in a blocking command."""
        eventually(lambda: self.r.info("clients")["blocked_clients"] == count, f"{count} blocked clients")
