"""``python -m voiceguard`` is the command ``voiceguard``."""

from __future__ import annotations

from voiceguard.cli import main

if __name__ == "__main__":
    main()
