"""redis-py against AGQ: each module has the tests of one subject, `__main__` runs them all."""
