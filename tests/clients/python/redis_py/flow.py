"""Pipelines, transactions, blocking commands, scans and expiry."""

import time

import redis

from agq import PATIENCE, eventually
from redis_py.case import Case


class Transactions(Case):
    def test_pipeline(self):
        pipe = self.r.pipeline(transaction=False)
        for number in range(1000):
            pipe.rpush("l", number)
        pipe.lrange("l", 998, -1)
        replies = pipe.execute()
        self.assertEqual(replies[:1000], list(range(1, 1001)))
        self.assertEqual(replies[1000], ["998", "999"])

    def test_pipeline_with_an_error_in_it(self):
        pipe = self.r.pipeline(transaction=False)
        pipe.set("a", "x").incr("a").get("a")
        replies = pipe.execute(raise_on_error=False)
        self.assertIs(replies[0], True)
        self.assertIsInstance(replies[1], redis.ResponseError)
        self.assertEqual(replies[2], "x")

    def test_transaction(self):
        with self.r.pipeline() as pipe:
            replies = pipe.set("a", "1").incr("a").hset("h", "f", "v").hgetall("h").zadd("z", {"m": 2}).zscore("z", "m").execute()
        self.assertEqual(replies, [True, 2, 1, {"f": "v"}, 1, 2.0])

    def test_transaction_with_an_error_in_it(self):
        pipe = self.r.pipeline().set("a", "x").incr("a").set("b", "y")
        self.refused("Command # 2 (INCRBY a 1) of pipeline caused error: value is not an integer", pipe.execute)
        self.assertEqual(self.r.get("b"), "y")
        pipe = self.r.pipeline().set("c", "1").execute_command("GET")
        self.refused("wrong number of arguments", pipe.execute)
        self.assertIsNone(self.r.get("c"))

    def test_watch(self):
        self.r.set("a", "1")
        with self.r.pipeline() as pipe:
            pipe.watch("a")
            self.assertEqual(pipe.get("a"), "1")
            self.r.set("a", "by another")
            pipe.multi()
            pipe.set("a", "2")
            with self.assertRaises(redis.WatchError):
                pipe.execute()
        self.assertEqual(self.r.get("a"), "by another")
        self.r.set("a", "5")
        replies = self.r.transaction(lambda pipe: (read := int(pipe.get("a")), pipe.multi(), pipe.set("a", read + 1)), "a")
        self.assertEqual(replies, [True])
        self.assertEqual(self.r.get("a"), "6")


class Blocking(Case):
    def test_pop_that_waits(self):
        waiting = self.beside(lambda: self.client().blpop(["none", "l"], timeout=PATIENCE))
        self.blocked(1)
        self.r.rpush("l", "a")
        self.assertIn(waiting(), [("l", "a"), ["l", "a"]])
        self.assertEqual(self.r.exists("l"), 0)

    def test_pop_in_vain(self):
        before = time.monotonic()
        self.assertIsNone(self.r.brpop("none", timeout=0.2))
        self.assertGreaterEqual(time.monotonic() - before, 0.2)
        self.assertIsNone(self.r.bzpopmin("none", timeout=0.01))
        self.assertIsNone(self.r.blmove("none", "to", 0.01))

    def test_moves_that_wait(self):
        waiting = self.beside(lambda: self.client().brpoplpush("from", "to", timeout=PATIENCE))
        self.blocked(1)
        self.r.rpush("from", "a")
        self.assertEqual(waiting(), "a")
        waiting = self.beside(lambda: self.client().blmove("to", "back", PATIENCE + 1, "LEFT", "RIGHT"))
        self.assertEqual(waiting(), "a")
        self.assertEqual(self.r.lrange("back", 0, -1), ["a"])
        waiting = self.beside(lambda: self.client().blmpop(PATIENCE, 2, "x", "y", direction="LEFT", count=2))
        self.blocked(1)
        self.r.rpush("y", "1", "2", "3")
        self.assertEqual(waiting(), ["y", ["1", "2"]])

    def test_sorted_set_that_waits(self):
        waiting = self.beside(lambda: self.client().bzpopmin(["z"], timeout=PATIENCE))
        self.blocked(1)
        self.r.zadd("z", {"b": 2, "a": 1.5})
        self.assertEqual(list(waiting()), ["z", "a", 1.5])

    def test_first_come_first_served(self):
        ends = []
        for count in range(1, 4):
            ends.append(self.beside(lambda: self.client().blpop("l", timeout=PATIENCE)))
            self.blocked(count)
        self.r.rpush("l", "first", "second", "third")
        self.assertEqual([end()[1] for end in ends], ["first", "second", "third"])


class Scans(Case):
    def test_all_of_them(self):
        pipe = self.r.pipeline()
        numbers = range(500)
        pipe.mset({f"key:{n}": n for n in numbers})
        pipe.hset("h", mapping={f"f{n}": n for n in numbers})
        pipe.sadd("s", *numbers)
        pipe.zadd("z", {f"m{n}": n for n in numbers})
        pipe.execute()
        self.assertEqual(sorted(self.r.scan_iter("key:*", count=7)), sorted(f"key:{n}" for n in numbers))
        self.assertEqual(list(self.r.scan_iter(_type="zset")), ["z"])
        self.assertEqual(dict(self.r.hscan_iter("h", count=7)), {f"f{n}": str(n) for n in numbers})
        self.assertEqual({int(member) for member in self.r.sscan_iter("s", count=7)}, set(numbers))
        self.assertEqual(dict(self.r.zscan_iter("z", match="m1?", count=7)), {f"m{n}": float(n) for n in range(10, 20)})


class Expiry(Case):
    def test_times(self):
        self.r.set("a", "1", ex=100)
        self.assertIn(self.r.ttl("a"), range(90, 101))
        self.assertIs(self.r.persist("a"), True)
        self.assertEqual(self.r.ttl("a"), -1)
        self.assertEqual(self.r.ttl("none"), -2)
        self.assertIs(self.r.pexpire("a", 50_000), True)
        self.assertIn(self.r.pttl("a"), range(40_000, 50_001))
        self.assertFalse(self.r.expire("a", 10, gt=True))
        self.assertIs(self.r.expireat("a", 4_000_000_000), True)
        self.assertEqual(self.r.expiretime("a"), 4_000_000_000)
        self.assertEqual(self.r.getex("a", persist=True), "1")
        self.assertEqual(self.r.ttl("a"), -1)

    def test_end(self):
        before = time.monotonic()
        self.r.set("a", "1", px=200)
        self.assertEqual(self.r.get("a"), "1")
        eventually(lambda: self.r.get("a") is None, "the key is gone")
        self.assertGreaterEqual(time.monotonic() - before, 0.199)
        self.assertEqual(self.r.exists("a"), 0)

    def test_lock_without_a_script(self):
        self.assertIs(self.r.set("lock", "mine", nx=True, px=100), True)
        self.assertIsNone(self.r.set("lock", "yours", nx=True, px=100))
        eventually(lambda: self.r.set("lock", "yours", nx=True, px=60_000), "the lock is free")
        self.assertEqual(self.r.get("lock"), "yours")
