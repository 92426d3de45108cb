"""A server whose clock for cases and notices is set by a file: ``python -m tests.review.clocked_server PORT FILE``."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import uvicorn

from voiceguard.api.app import create_app
from voiceguard.api.observe import configure_logs
from voiceguard.settings import Settings


def main(port: int, ahead: Path) -> None:
    """Serve; the file holds how many seconds the clock is ahead."""

    def _now() -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=float(ahead.read_text()))

    configure_logs("error")
    app = create_app(Settings(public_url=f"http://127.0.0.1:{port}"), clock=_now)
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


if __name__ == "__main__":  # the screening processes import this module too
    main(int(sys.argv[1]), Path(sys.argv[2]))
