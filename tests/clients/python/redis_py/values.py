"""Strings, lists, hashes, sets and sorted sets."""

from redis_py.case import Case


class Strings(Case):
    def test_set_and_get(self):
        self.assertIs(self.r.set("a", "1"), True)
        self.assertEqual(self.r.get("a"), "1")
        self.assertIsNone(self.r.get("none"))
        self.assertIsNone(self.r.set("a", "2", nx=True))
        self.assertEqual(self.r.set("a", "2", xx=True, get=True), "1")
