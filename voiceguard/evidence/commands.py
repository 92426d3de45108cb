"""The commands that make and verify evidence, and that check the audit log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, NoReturn

import sqlalchemy as sa
import typer

from voiceguard.errors import VoiceGuardError
from voiceguard.settings import Settings
from voiceguard.store.signing import PublicKey

evidence_app = typer.Typer(help="Evidence packages.", no_args_is_help=True, rich_markup_mode=None)
audit_app = typer.Typer(help="The audit log.", no_args_is_help=True, rich_markup_mode=None)

_FAILED, _WRONG_USE = 1, 2
Roots = Annotated[
    Path | None,
    typer.Option(
        "--timestamp-roots", metavar="FILE.pem", help="Root certificates of the time-stamping authority."
    ),
]


@evidence_app.command("make")
def make_package(
    subject: Annotated[str, typer.Argument(metavar="CALL|CAMPAIGN|CASE", help="Its id.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.zip", help="Where the package goes.")
    ],
) -> None:
    """Make a sealed package of a call, a campaign, a case or a notice."""
    from voiceguard.evidence.making import make_package as make
    from voiceguard.store import audit

    if not output.parent.is_dir():
        _wrong_use(f"the package's folder {output.parent} does not exist")
    settings = _settings()
    try:
        made = make(_database(settings), settings, subject, output, actor=audit.operator(), warn=_warn)
    except VoiceGuardError as error:
        _failed(f"{error} {error.remedy}")
    except OSError as error:
        _failed(f"can't write {output}: {error.strerror or error}")
    if made is None:
        _wrong_use(f"expected the id of a call, a campaign, a case or a notice, got {subject}")
    typer.echo(f"{made.sha256}  {output}")
    typer.echo(f"{made.files} files, {made.size_bytes:,} bytes", err=True)


@evidence_app.command("verify")
def verify_package(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="The package.")],
    key: Annotated[
        str | None,
        typer.Option(
            metavar="FINGERPRINT|FILE.pem",
            help="The signing key or its fingerprint, as the sender gave it by another way than the package.",
        ),
    ] = None,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Compute the score anew with the model in the package.")
    ] = False,
    timestamp_roots: Roots = None,
) -> None:
    """Verify a package, offline, from the package alone; exit code 0: it holds, 1: it does not."""
    from voiceguard.evidence.verify import verify
    from voiceguard.store.timestamps import read_roots

    if not file.is_file():
        _wrong_use(f"no such file: {file}")
    try:
        roots = read_roots(timestamp_roots) if timestamp_roots is not None else None
    except VoiceGuardError as error:
        _wrong_use(str(error))
    wanted = _key(key) if key is not None else None
    state = "ok"
    try:
        for step in verify(file, key=wanted, roots=roots, rescore=rescore):
            for number, detail in enumerate(step.details):
                head = f"{step.number}. {step.title:<11} {step.state:<9}" if number == 0 else ""
                typer.echo(f"{head:<24} {detail}")
            state = step.state if step.state == "failed" else state
    except OSError as error:
        _wrong_use(f"can't read {file}: {error.strerror or error}")
    if state == "failed":
        typer.echo("NOT VERIFIED: the package is not as it was sealed.", err=True)
        raise typer.Exit(_FAILED)
    typer.echo(
        "Verified: the package is as it was sealed."
        if wanted is not None
        else "Verified: nothing was changed since somebody with this key sealed it. Whose key it is, only the sender "
        "can tell you."
    )


@audit_app.command("verify")
def verify_log(
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE.pem",
            help="Public key that may have signed checkpoints; may be repeated.  [default: this machine's]",
        ),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Checkpoints kept elsewhere, one a line, as voiceguard audit checkpoint prints them; or a package.",
        ),
    ] = None,
    timestamp_roots: Roots = None,
) -> None:
    """Check every row, checkpoint and call; name what was changed, removed, added or moved."""
    from voiceguard.store import audit_verify, signing
    from voiceguard.store.engine import reading
    from voiceguard.store.timestamps import read_roots

    settings = _settings()
    try:
        trusted = [_public_key(one) for one in key or ()] or [signing.open_key(settings).public]
        kept = [statement for path in checkpoint or () for statement in _kept(path)]
        roots_file = timestamp_roots or settings.timestamp_roots
        roots = read_roots(roots_file) if roots_file is not None else None
        with reading(_database(settings)) as connection:
            report = audit_verify.verify(connection, trusted, kept=kept, roots=roots)
    except VoiceGuardError as error:
        _failed(f"{error} {error.remedy}")
    for finding in report.findings:
        typer.echo(f"{finding.where}: {finding.what}")
    after = report.rows - report.covered
    typer.echo(
        f"{report.rows:,} rows, {report.checkpoints:,} checkpoints"
        + (f"; the last {after:,} rows are under none yet" if after > 0 else ""),
        err=True,
    )
    if report.findings:
        typer.echo("NOT VERIFIED: the log is not as it was written.", err=True)
        raise typer.Exit(_FAILED)
    typer.echo("Verified: the log is as it was written.")


@audit_app.command("checkpoint")
def make_checkpoint() -> None:
    """Sign a checkpoint over all rows, and print the last one: keep it where nobody can change it."""
    from voiceguard.store import checkpoints, signing, timestamps
    from voiceguard.store.engine import reading

    settings = _settings()
    try:
        engine = _database(settings)
        checkpoints.seal(engine, signing.open_key(settings), stamp=timestamps.stamp(settings, _warn))
        with reading(engine) as connection:
            last = checkpoints.latest(connection)
    except VoiceGuardError as error:
        _failed(f"{error} {error.remedy}")
    if last is None:
        _failed("the log has no rows yet")
    typer.echo(last.statement)


@audit_app.command("key")
def show_key() -> None:
    """Print the public key that verifies, and its fingerprint: give it to whoever gets packages."""
    from voiceguard.store import signing

    try:
        public = signing.open_key(_settings()).public
    except VoiceGuardError as error:
        _failed(f"{error} {error.remedy}")
    typer.echo(public.pem.decode().rstrip())
    typer.echo(f"fingerprint {public.fingerprint}", err=True)


def _key(given: str) -> str | PublicKey:
    if Path(given).is_file():
        return _public_key(given)
    fingerprint = re.sub(r"[\s:]", "", given).lower()
    if not re.fullmatch("[0-9a-f]{64}", fingerprint):
        _wrong_use(f"expected a fingerprint of 64 hexadecimal digits or a key's file, got {given}")
    return fingerprint


def _public_key(path: str) -> PublicKey:
    try:
        return PublicKey.from_pem(Path(path).read_bytes())
    except OSError as error:
        _wrong_use(f"can't read {path}: {error.strerror or error}")
    except ValueError:
        _wrong_use(f"expected an Ed25519 public key in PEM in {path}")


def _kept(path: Path) -> list[str]:
    """Return the statements of checkpoints in a text file or in a package."""
    import json
    import zipfile

    from voiceguard.evidence.package import PROOF

    try:
        if not zipfile.is_zipfile(path):
            return [line for line in path.read_text().splitlines() if line]
        with zipfile.ZipFile(path) as file:
            return [one["statement"] for one in json.loads(file.read(PROOF))["checkpoints"]]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        _wrong_use(f"expected checkpoints or a package in {path}: {error}")


def _settings() -> Settings:
    try:
        return Settings()
    except ValueError as error:
        _wrong_use(str(error))


def _database(settings: Settings) -> sa.Engine:
    from voiceguard.store import migrate
    from voiceguard.store.engine import connect

    engine = connect(settings.database_url)
    if engine.dialect.name == "sqlite":
        migrate.upgrade(engine)
    else:
        migrate.check(engine)
    return engine


def _warn(message: str) -> None:
    typer.echo(f"voiceguard: {message}", err=True)


def _wrong_use(message: str) -> NoReturn:
    typer.echo(f"voiceguard: {message}", err=True)
    raise typer.Exit(_WRONG_USE)


def _failed(message: str) -> NoReturn:
    typer.echo(f"voiceguard: {message}", err=True)
    raise typer.Exit(_FAILED)
