"""What jobs have done: lines of a file beside the store, which no kill of the server touches."""

import collections
import os
import time


def note(name):
    """Called by a job: it ran, now."""
    with open(os.environ["EFFECTS"], "a", encoding="utf-8") as file:
        file.write(f"{name} {time.time()}\n")


def times():
    """When each job ran, by name, in the order of running."""
    found = collections.defaultdict(list)
    if os.path.exists(os.environ["EFFECTS"]):
        with open(os.environ["EFFECTS"], encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    name, when = line.split(" ")
                    found[name].append(float(when))
    return found
