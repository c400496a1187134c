"""Job libraries, unmodified, whose jobs must run once, on time, again when they fail, and be there after a SIGKILL."""
