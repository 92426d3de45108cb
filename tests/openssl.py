"""The openssl command, where it is there: tests hold VoiceGuard's signatures and timestamps against it."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def _has_openssl_3() -> bool:
    if shutil.which("openssl") is None:
        return False
    said = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False).stdout
    return said.startswith("OpenSSL 3")  # LibreSSL, as on macOS, lacks some of its options


needs_openssl = pytest.mark.skipif(not _has_openssl_3(), reason="needs the command openssl of OpenSSL 3")
