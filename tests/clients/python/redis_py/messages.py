"""Publish and subscribe."""

from agq import PATIENCE, eventually
from redis_py.case import Case


class Messages(Case):
    def subscriber(self, **more):
        """A connection for messages; what `next` takes from it are messages without what redis-py adds."""
        pubsub = self.client().pubsub(**more)
        self.addCleanup(pubsub.close)
        return pubsub

    def next(self, pubsub):
        """The next message: kind, pattern, channel, what it says."""
        message = pubsub.get_message(timeout=PATIENCE)
        self.assertIsNotNone(message, "no message came")
        return (message["type"], message["pattern"], message["channel"], message["data"])

    def test_channels_and_patterns(self):
        pubsub = self.subscriber()
        pubsub.subscribe("news")
        pubsub.psubscribe("n*")
        self.assertEqual(self.next(pubsub), ("subscribe", None, "news", 1))
        self.assertEqual(self.next(pubsub), ("psubscribe", None, "n*", 2))
        self.assertEqual(self.r.publish("news", "hello"), 2)
        self.assertEqual(self.next(pubsub), ("message", None, "news", "hello"))
        self.assertEqual(self.next(pubsub), ("pmessage", "n*", "news", "hello"))
        self.assertEqual(self.r.pubsub_channels(), ["news"])
        self.assertEqual([tuple(pair) for pair in self.r.pubsub_numsub("news", "none")], [("news", 1), ("none", 0)])
        self.assertEqual(self.r.pubsub_numpat(), 1)
        pubsub.unsubscribe()
        pubsub.punsubscribe()
        self.assertEqual(self.next(pubsub), ("unsubscribe", None, "news", 1))
        self.assertEqual(self.next(pubsub), ("punsubscribe", None, "n*", 0))
        self.assertEqual(self.r.publish("news", "nobody hears it"), 0)

    def test_handler_in_a_thread(self):
        heard = []
        pubsub = self.subscriber(ignore_subscribe_messages=True)
        pubsub.subscribe(news=lambda message: heard.append(message["data"]))
        thread = pubsub.run_in_thread(sleep_time=0.01, daemon=True)
        eventually(lambda: self.r.publish("news", "0") == 1, "the subscription")
        for number in range(1, 100):
            self.r.publish("news", number)
        eventually(lambda: len(heard) == 100, "every message")
        thread.stop()
        thread.join(PATIENCE)
        self.assertEqual(heard, [str(number) for number in range(100)])

    def test_ping_while_subscribed(self):
        if self.by_protocol(False, True):
            self.skipTest("over RESP3 the reply to a PING is no message, and redis-py takes it for one")
        pubsub = self.subscriber()
        pubsub.subscribe("news")
        self.assertEqual(self.next(pubsub)[0], "subscribe")
        pubsub.ping("still there")
        self.assertEqual(self.next(pubsub), ("pong", None, None, "still there"))

    def test_sharded(self):
        pubsub = self.subscriber()
        pubsub.ssubscribe("shard")
        self.assertEqual(self.next(pubsub), ("ssubscribe", None, "shard", 1))
        self.assertEqual(self.r.execute_command("SPUBLISH", "shard", "hello"), 1)
        message = pubsub.get_sharded_message(timeout=PATIENCE)
        self.assertEqual((message["type"], message["data"]), ("smessage", "hello"))

    def test_keyspace_notices(self):
        self.r.config_set("notify-keyspace-events", "KEA")
        self.addCleanup(self.r.config_set, "notify-keyspace-events", "")
        pubsub = self.subscriber()
        pubsub.psubscribe("__keyevent@0__:*")
        self.assertEqual(self.next(pubsub)[0], "psubscribe")
        self.r.set("a", "1")
        self.r.rpush("l", "x")
        self.r.delete("a")
        heard = [self.next(pubsub)[2:] for _ in range(3)]
        self.assertEqual(heard, [("__keyevent@0__:set", "a"), ("__keyevent@0__:rpush", "l"), ("__keyevent@0__:del", "a")])
