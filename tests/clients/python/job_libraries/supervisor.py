"""A worker that is started again when it ends, as whoever runs workers has it."""

import os
import subprocess
import threading


class Supervisor:
    def __init__(self, command):
        self._command = command
        self._stopping = threading.Event()
        self._process = self._spawn()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _spawn(self):
        return subprocess.Popen(self._command, env=os.environ, stdin=subprocess.DEVNULL)

    def _watch(self):
        while True:
            self._process.wait()
            if self._stopping.is_set():
                return
            self._process = self._spawn()

    def stop(self):
        """Ends it for good."""
        self._stopping.set()
        self._process.kill()
        self._thread.join()
