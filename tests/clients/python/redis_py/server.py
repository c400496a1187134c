"""What is asked about server and connection, the types of the protocol's third version, and asyncio."""

import asyncio
import unittest

import redis
import redis.asyncio

from agq import PATIENCE
from redis_py import case
from redis_py.case import Case


class Server(Case):
    def test_info(self):
        self.r.set("a", "1", ex=100)
        info = self.r.info()
        self.assertTrue(info["redis_version"].startswith("7.0."), info["redis_version"])
        self.assertEqual(info["redis_mode"], "standalone")
        self.assertEqual(info["role"], "master")
        self.assertGreaterEqual(info["connected_clients"], 1)
        self.assertEqual((info["db0"]["keys"], info["db0"]["expires"]), (1, 1))
        self.assertEqual(set(self.r.info("clients")) & {"connected_clients", "db0"}, {"connected_clients"})

    def test_client(self):
        named = self.client(client_name="a-test")
        self.assertEqual(named.client_getname(), "a-test")
        self.assertIsInstance(named.client_id(), int)
        mine = [one for one in self.r.client_list() if one["name"] == "a-test"]
        self.assertEqual([int(one["id"]) for one in mine], [named.client_id()])
        self.assertEqual(named.client_info()["name"], "a-test")
        self.assertEqual(self.r.client_kill_filter(_id=mine[0]["id"]), 1)
        # redis-py connects again by itself, and so under a new id.
        self.assertNotEqual(named.client_id(), int(mine[0]["id"]))

    def test_client_unblock(self):
        waiting = self.client(single_connection_client=True)
        number = waiting.client_id()
        end = self.beside(lambda: waiting.blpop("none", timeout=PATIENCE))
        self.blocked(1)
        self.assertEqual(self.r.client_unblock(number), 1)
        self.assertIsNone(end())

    def test_config_and_commands(self):
        self.assertEqual(self.r.config_get("maxmemory"), {"maxmemory": "0"})
        self.assertIn("databases", self.r.config_get("*"))
        self.assertGreater(self.r.command_count(), 100)
        self.assertEqual(self.r.command_getkeys("MSET", "a", 1, "b", 2), ["a", "b"])
        self.assertEqual(self.r.command()["get"]["arity"], 2)
        self.assertEqual(self.r.echo("x"), "x")
        self.assertIs(self.r.ping(), True)
        self.assertEqual(len(self.r.time()), 2)
        self.assertEqual(self.r.lastsave().year, self.r.lastsave().year)
        self.assertIsInstance(self.r.slowlog_get(), list)
        self.assertEqual(self.r.wait(0, 10), 0)
        self.assertEqual(self.r.acl_whoami(), "default")

    def test_password(self):
        if case.server.password is None:
            # Redis's default user without a password takes any that comes with HELLO, and refuses one that comes alone.
            self.assertIs(self.client(username="default", password="any").ping(), True)
            return
        with self.assertRaises(redis.AuthenticationError):
            self.client(password=None).ping()
        with self.assertRaises(redis.AuthenticationError):
            self.client(password="wrong").ping()
        self.assertIs(self.client(username="default").ping(), True)
        with self.assertRaises(redis.AuthenticationError):
            self.client(username="somebody").ping()

    def test_scripts_are_refused(self):
        self.refused("unknown command", self.r.eval, "return 1", 0)


class Types(Case):
    """The types as they come, without what redis-py makes of some commands' replies."""

    def raw(self, *command):
        """A reply as the parser gives it."""
        connection = self.r.connection_pool.get_connection()
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            self.r.connection_pool.release(connection)

    def test_map(self):
        self.r.hset("h", mapping={"a": "1"})
        self.assertEqual(self.raw("HGETALL", "h"), self.by_protocol(["a", "1"], {"a": "1"}))
        self.assertEqual(self.raw("CONFIG", "GET", "maxmemory"), self.by_protocol(["maxmemory", "0"], {"maxmemory": "0"}))

    def test_set(self):
        self.r.sadd("s", "a")
        found = self.raw("SMEMBERS", "s")
        self.assertIsInstance(found, self.by_protocol(list, (set, list)))
        self.assertEqual(set(found), {"a"})

    def test_double(self):
        self.r.zadd("z", {"a": 1.5, "b": float("-inf")})
        self.assertEqual(self.raw("ZSCORE", "z", "a"), self.by_protocol("1.5", 1.5))
        self.assertEqual(self.raw("ZSCORE", "z", "b"), self.by_protocol("-inf", float("-inf")))
        expected = self.by_protocol(["b", "-inf", "a", "1.5"], [["b", float("-inf")], ["a", 1.5]])
        self.assertEqual(self.raw("ZRANGE", "z", "0", "-1", "WITHSCORES"), expected)

    def test_null(self):
        self.assertIsNone(self.raw("GET", "none"))
        self.assertIsNone(self.raw("LPOP", "none", "2"))
        self.assertEqual(self.raw("MGET", "none", "none"), [None, None])

    def test_verbatim(self):
        self.assertIn("# Server", self.raw("INFO", "server"))
        connection = case.server.connect()
        self.addCleanup(connection.close)
        key = "" if case.server.password is None else f" AUTH default {case.server.password}"
        connection.sendall(f"HELLO {case.protocol}{key}\r\nINFO server\r\n".encode())
        said = b""
        while b"# Server" not in said:
            said += connection.recv(65536) or self.fail(f"closed after {said}")
        self.assertIn(self.by_protocol(b"\r\n# Server", b"\r\ntxt:# Server"), said)

    def test_push(self):
        pubsub = self.client().pubsub()
        self.addCleanup(pubsub.close)
        pubsub.subscribe("news")
        self.assertEqual(pubsub.get_message(timeout=PATIENCE)["type"], "subscribe")
        # In the third version a subscribed connection can be used for other commands as well.
        connection = pubsub.connection
        connection.send_command("SET", "a", "1")
        if case.protocol == 2:
            with self.assertRaises(redis.ResponseError) as caught:
                connection.read_response()
            self.assertIn("Can't execute 'set'", str(caught.exception))
        else:
            self.assertEqual(connection.read_response(), "OK")
        self.r.publish("news", "hello")
        self.assertEqual(pubsub.get_message(timeout=PATIENCE)["data"], "hello")

    def test_hello(self):
        answer = self.raw("HELLO")
        fields = answer if case.protocol == 3 else dict(zip(answer[::2], answer[1::2]))
        self.assertEqual((fields["server"], fields["proto"], fields["role"]), ("redis", case.protocol, "master"))


class Asyncio(unittest.IsolatedAsyncioTestCase):
    """The asynchronous half of redis-py, which has connections of its own."""

    async def test_commands_and_blocking(self):
        r = redis.asyncio.Redis(
            port=case.server.port, password=case.server.password, protocol=case.protocol, decode_responses=True
        )
        await r.flushall()
        self.assertIs(await r.set("a", "1"), True)
        async with r.pipeline() as pipe:
            self.assertEqual(await pipe.incr("a").hset("h", "f", "v").hgetall("h").execute(), [2, 1, {"f": "v"}])
        waiting = asyncio.create_task(r.blpop("l", timeout=PATIENCE))
        await r.rpush("l", "x")
        self.assertEqual(list(await asyncio.wait_for(waiting, PATIENCE)), ["l", "x"])
        async with r.pubsub() as pubsub:
            await pubsub.subscribe("news")
            self.assertEqual((await pubsub.get_message(timeout=PATIENCE))["type"], "subscribe")
            self.assertEqual(await r.publish("news", "hello"), 1)
            self.assertEqual((await pubsub.get_message(timeout=PATIENCE))["data"], "hello")
        self.assertEqual([key async for key in r.scan_iter("*")], ["a", "h"])
        await (r.aclose() if hasattr(r, "aclose") else r.close())
