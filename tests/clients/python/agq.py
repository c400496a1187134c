"""Servers of a test's own: the built `agq`, in a folder of its own, on a port of its own.

AGQ_BIN names the program. A server keeps its port over a kill and a restart, as a client that connects again expects.
"""

import atexit
import faulthandler
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

# Seconds that a test waits for something that should happen at once: long enough for a slow machine.
PATIENCE = 30

_running = []


class Server:
    """A running `agq` over an empty store, with a password or without."""

    def __init__(self, password=None):
        self.password = password
        self.folder = tempfile.mkdtemp(prefix="agq-clients-")
        self.port = 0
        self.process = None
        self._log = None
        _running.append(self)
        self.start()

    def start(self):
        """Starts it over what its folder holds, and returns when it listens."""
        command = [os.environ["AGQ_BIN"], "--data-dir", self.folder, "--bind", f"127.0.0.1:{self.port}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AGQ_")}
        environment["AGQ_LOG"] = "info"
        if self.password is None:
            command.append("--no-auth")
        else:
            environment["AGQ_SESSION_KEY"] = self.password
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        log = ""
        for line in self.process.stderr:
            log += line
            if " ready " in line:
                self.port = int(line.rsplit(":", 1)[1].strip().strip('"'))
                break
        else:
            raise AssertionError(f"agq did not start, and said:\n{log}")
        # Nobody reads the rest; a pipe that nobody empties would hold the server up.
        self._log = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._log.start()

    def kill(self):
        """Ends it with SIGKILL. What was not on the disk is lost."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks it to end, and checks that it ended well."""
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        assert code == 0, f"agq ended with {code}"

    def url(self, database=0):
        """Where it is, as job libraries want it."""
        secret = "" if self.password is None else f":{self.password}@"
        return f"redis://{secret}127.0.0.1:{self.port}/{database}"

    def connect(self):
        """A bare connection, for what no client would send."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)


def eventually(condition, what, patience=PATIENCE):
    """Waits until `condition()` is true, and returns what it gave. `what` is told when it never is."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        time.sleep(0.005)
    return found


def deadline(seconds):
    """Ends the program, with the stack of every thread, if it runs for longer than that."""

    def give_up():
        print(f"still running after {seconds} s; its threads stand here:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)
        _kill_all()
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()


@atexit.register
def _kill_all():
    for server in _running:
        if server.process is not None:
            server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)
