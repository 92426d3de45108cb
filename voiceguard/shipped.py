"""Where the files that come with VoiceGuard lie: the detectors and the sample clips."""

from __future__ import annotations

from pathlib import Path


def shipped(folder: str) -> Path:
    """Find a shipped folder: inside the installed package, else beside the package in a checkout."""
    package = Path(__file__).parent
    installed = package / folder
    return installed if installed.is_dir() else package.parent / folder
