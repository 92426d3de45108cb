"""Where the files that come with VoiceGuard lie: the detectors and the sample clips."""

from __future__ import annotations

from pathlib import Path


def shipped(folder: str) -> Path:
    """Find a shipped folder: inside the installed package, else beside the package in a checkout."""
    package = Path(__file__).parent
    installed = package / folder
    return installed if installed.is_dir() else package.parent / folder


LIGHT_MODEL = "light"
"""Names the lighter of the shipped detectors, wherever a model's folder is asked for."""


def model_folder(named: str | Path) -> Path:
    """Folder of a detector: the one named, or the shipped light one for ``light``."""
    folder = Path(named)
    return shipped("models") / LIGHT_MODEL if str(named) == LIGHT_MODEL and not folder.is_dir() else folder
