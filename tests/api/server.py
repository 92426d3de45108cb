"""A real server in a process of its own, to be killed, drained and measured."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

START_TIMEOUT_S = 120.0


def answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    """Wait until a server that was started answers; False if it ends before, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        # Not httpx2, which reads the system's certificates each time: that takes as long as it sleeps here.
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5)
            return True
        time.sleep(0.05)
    return False


class Server:
    """``voiceguard serve`` on a free port of loopback."""

    def __init__(self, folder: Path, **settings: object) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"serve-{self.port}.log"
        self._environment = {
            **os.environ,
            "VOICEGUARD_DATA_DIR": str(folder),
            "VOICEGUARD_SCREENING_WORKERS": "1",
            "VOICEGUARD_MIN_FREE_BYTES": "0",
            **{f"VOICEGUARD_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "voiceguard", "serve", "--port", str(self.port)],
                env=self._environment,
                stderr=log,
                stdout=log,
            )
        if not answers(f"{self.url}/livez", self._process):
            raise RuntimeError(f"expected a server, got: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(60)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
