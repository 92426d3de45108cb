"""The command ``voiceguard``.

Every import that takes time stands in the command that needs it, and the help is plain text: ``--help`` and
shell completion answer at once. Exit codes: 0 done, 1 some recordings failed, 2 wrong use.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from voiceguard.archive.importing import Importer
    from voiceguard.archive.ray_engine import RayCrew
    from voiceguard.archive.worker import WorkerSettings
    from voiceguard.audio import Recording
    from voiceguard.evidence.cues import Cues
    from voiceguard.explanation import CueWeight
    from voiceguard.screening import Screener, Screening


class Engine(enum.StrEnum):
    """What runs a scan."""

    LOCAL = "local"
    RAY = "ray"


class Device(enum.StrEnum):
    """What computes a scan's scores."""

    CPU = "cpu"
    CUDA = "cuda"


class Layout(enum.StrEnum):
    """What a scan's output looks like; :class:`voiceguard.archive.write.Layout`, whose module takes time."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
    PODONOS = "podonos"


FAILED = 1
WRONG_USE = 2
_STOPPED = 128


@dataclass(frozen=True)
class _Elsewhere:
    """A command whose module is imported when it is called: ``target`` is ``module:name``."""

    target: str
    help: str
    extra: str | None = None
    """The extra whose packages it needs."""

    def load(self, name: str) -> Any:
        """Import the function or the group of commands, as a command of that name."""
        module, _, attribute = self.target.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if self.extra is None:
                raise
            package = f"pip install 'voiceguard-screening[{self.extra}]'"
            _wrong_use(f"{name} needs {error.name}, which is not installed; {package} brings it")
        parent = typer.Typer(rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            parent.add_typer(found, name=name)
        else:
            parent.command(name)(found)
        return typer.main.get_group(parent).commands[name]


_ELSEWHERE = {
    "model": _Elsewhere("voiceguard.about:model_app", "Show the detector and its error rates."),
    "bench": _Elsewhere("voiceguard.bench:bench", "Time every stage of screening."),
    "train": _Elsewhere("voiceguard.training.commands:train", "Train the detector.", "train"),
    "evaluate": _Elsewhere(
        "voiceguard.training.commands:evaluate",
        "Report how wrong the detector is, on unheard voices.",
        "train",
    ),
    "probe": _Elsewhere(
        "voiceguard.training.commands:probe",
        "Ask what the detector lives on: trivial cues, the channel.",
        "train",
    ),
    "serve": _Elsewhere("voiceguard.api.commands:serve", "Run the API."),
    "demo": _Elsewhere(
        "voiceguard.review.demo:demo", "Run the API and the review pages, filled with sample calls."
    ),
    "key": _Elsewhere("voiceguard.api.commands:key_app", "Create, list and revoke API keys."),
    "campaign": _Elsewhere(
        "voiceguard.enforcement.commands:campaign_app", "List, show, split and merge campaigns."
    ),
    "case": _Elsewhere("voiceguard.enforcement.case_commands:case_app", "List, export and import cases."),
    "evidence": _Elsewhere("voiceguard.evidence.commands:evidence_app", "Make and verify evidence packages."),
    "audit": _Elsewhere("voiceguard.evidence.commands:audit_app", "Check the audit log."),
    "user": _Elsewhere(
        "voiceguard.review.commands:user_app", "Create, list and disable reviewers' accounts."
    ),
    "db": _Elsewhere("voiceguard.api.commands:db_app", "Prepare and upgrade the database."),
}


class _Commands(TyperGroup):
    """Lists the commands that live elsewhere by name and help, and imports one only to run it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_ELSEWHERE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _ELSEWHERE:
            return TyperCommand(cmd_name, help=_ELSEWHERE[cmd_name].help)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, _ELSEWHERE[name].load(name) if name in _ELSEWHERE else command, rest


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Screens phone calls for AI-generated voices.",
)


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name="voiceguard")
    except BrokenPipeError:
        # The reader of a pipe, such as head, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_STOPPED + signal.SIGPIPE)


def _print_version(asked: bool) -> None:
    if asked:
        from voiceguard import __version__

        typer.echo(f"voiceguard {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Screens phone calls for AI-generated voices."""


ModelDir = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="FOLDER",
        help="The detector's folder, or light for the lighter of those that came with VoiceGuard.  "
        "[default: VOICEGUARD_MODEL, else the other]",
    ),
]


@app.command()
def screen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording; - reads standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON document.")] = False,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Save waveform, spectrogram and scores over time."),
    ] = None,
    remote_channel: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="The channel to judge, from 0.  [default: the one with the highest score]",
        ),
    ] = None,
    model: ModelDir = None,
) -> None:
    """Screen one recording, for a person."""
    if picture is not None and not picture.parent.is_dir():
        _wrong_use(f"the picture's folder {picture.parent} does not exist")
    if picture is not None and picture.suffix.lower() != ".png":
        _wrong_use(f"expected a picture that ends in .png, but got {picture.name}")
    if str(file) == "-":
        source: Path | bytes = sys.stdin.buffer.read()
    else:
        source = _existing_file(file)

    from voiceguard.audio import decode
    from voiceguard.errors import VoiceGuardError
    from voiceguard.screening import Screener

    try:
        screener = Screener.load(model)
        recording = decode(source)
        screening = screener.screen_recording(recording, remote_channel)
    except VoiceGuardError as error:
        _failed(f"{file}: {error.code}: {error}\n{error.remedy}")
    if as_json:
        _print_document(str(file), recording, screening, screener)
    else:
        _print_view(file.name, recording, screening, screener)
    if picture is not None:
        from voiceguard.evidence.pictures import draw_screening, save_png

        try:
            save_png(draw_screening(recording, screening, title=file.name), picture)
        except OSError as error:
            _failed(f"can't write {picture}: {error.strerror or error}")


def _print_document(name: str, recording: Recording, screening: Screening, screener: Screener) -> None:
    import json

    from voiceguard.console import screening_document

    weights = _weights(recording, screening, screener)
    document = screening_document(name, screening, _cues(recording, screening), weights)
    typer.echo(json.dumps(document, indent=2, allow_nan=False))


def _print_view(name: str, recording: Recording, screening: Screening, screener: Screener) -> None:
    from rich.console import Console

    from voiceguard.console import console, cues_view, screening_view, weights_view
    from voiceguard.evidence.cue_ranges import load_ranges

    out = console()
    out.print(screening_view(name, screening))
    if weights := _weights(recording, screening, screener)[screening.deciding_channel]:
        out.print()
        out.print(weights_view(weights))
    if screening.decision.quality.speech_s:
        # The verdict is on the screen already: librosa compiles parts of itself when it is first used.
        with Console(stderr=True).status("Measuring acoustic cues (the first time can take a minute)"):
            cues = _cues(recording, screening)
        out.print()
        out.print(cues_view(cues, load_ranges(screener.detector.folder)))


def _cues(recording: Recording, screening: Screening) -> tuple[Cues, ...]:
    from voiceguard.evidence.cues import measure_cues

    return tuple(
        measure_cues(samples, channel.speech)
        for samples, channel in zip(recording.channels, screening.channels, strict=True)
    )


def _weights(
    recording: Recording, screening: Screening, screener: Screener
) -> tuple[tuple[CueWeight, ...], ...]:
    """Say what moved each channel's score; nothing where there is none."""
    from voiceguard.explanation import weigh_channel

    return tuple(
        weigh_channel(screener.detector, samples) if channel.windows else ()
        for samples, channel in zip(recording.channels, screening.channels, strict=True)
    )


@app.command()
def scan(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Files, folders, tar and zip files, 'glob/**/*.wav' patterns, addresses such as "
            "s3://bucket/prefix, @LIST (a file with a path a line) or - (such a list on standard input).",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the rows go: .parquet, .csv or .jsonl, here or at s3://. After a stop the same "
            "command goes on.",
        ),
    ] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(
            "--format",
            help="What the output looks like; podonos is that benchmark's CSV.  [default: by its extension]",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            help="Worker processes.  [default: one a core, of the cluster]",
        ),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="What runs the scan: processes of this machine, or a Ray cluster (RAY_ADDRESS; needs the "
            "ray extra)."
        ),
    ] = Engine.LOCAL,
    device: Annotated[
        Device,
        typer.Option(help="What computes scores; cuda is a GPU that torch sees (needs the train extra)."),
    ] = Device.CPU,
    time_limit: Annotated[
        float, typer.Option(metavar="SECONDS", min=1.0, help="Time that one file may take.")
    ] = 600.0,
    memory_limit: Annotated[
        int, typer.Option(metavar="MIB", min=64, help="Memory that one file may take (Linux).")
    ] = 4096,
    into_review: Annotated[
        bool,
        typer.Option("--import", help="Take recordings and results into the review database, each once."),
    ] = False,
    carrier: Annotated[
        str, typer.Option(metavar="NAME", help="With --import: whose calls these are.")
    ] = "archive",
    model: ModelDir = None,
) -> None:
    """Score archives of recordings."""
    from voiceguard.archive.find import NothingThere
    from voiceguard.archive.journal import JournalError
    from voiceguard.archive.output import OutputError
    from voiceguard.archive.pool import WorkersFailed
    from voiceguard.archive.progress import on_stderr
    from voiceguard.archive.scan import ScanSettings, worker_settings
    from voiceguard.archive.scan import scan as run_scan
    from voiceguard.archive.storage import AddressError
    from voiceguard.archive.summary import rows_table, summary
    from voiceguard.archive.worker import DeviceUnavailable
    from voiceguard.archive.write import Layout as Written
    from voiceguard.console import console
    from voiceguard.errors import ModelError, StoreError

    settings = ScanSettings(
        jobs=jobs or _cores(),
        time_limit_s=time_limit,
        memory_limit_bytes=memory_limit << 20,
        model_dir=model,
        layout=None if layout is None else Written(layout.value),
        device=None if device is Device.CPU else device.value,
        keep_screenings=into_review,
    )
    progress = on_stderr(keeps_rows=output is not None)
    try:
        with (
            _stop_on_sigterm(),
            _crew(engine, worker_settings(settings)) as crew,
            _importer(into_review, carrier) as importer,
            progress,
        ):
            if jobs is None and crew is not None:
                settings = dataclasses.replace(settings, jobs=crew.size())
            take = None if importer is None else importer.take
            tally = run_scan(sources, output, settings, progress, crew=crew, take=take)
            imported = None if importer is None else importer.imported
    except (NothingThere, OutputError) as error:
        _wrong_use(str(error))
    except (JournalError, AddressError) as error:
        _failed(str(error))
    except (DeviceUnavailable, ModelError, StoreError, WorkersFailed) as error:
        _failed(f"{error} {error.remedy}")
    except KeyboardInterrupt as stop:
        goes_on = " The same command goes on from here." if output is not None else ""
        typer.echo(f"Stopped after {progress.done:,} of {progress.total:,} recordings.{goes_on}", err=True)
        raise typer.Exit(_STOPPED + (stop.args[0] if stop.args else signal.SIGINT)) from None
    out = console()
    if output is None and tally.rows:
        out.print(rows_table(tally.rows))
    elif output is None and tally.recordings:
        out.print("Too many rows to show here: -o FILE.parquet keeps them.")
    out.print(summary(tally, progress.elapsed_s, output, imported))
    if tally.failed:
        raise typer.Exit(FAILED)


@contextlib.contextmanager
def _crew(engine: Engine, settings: WorkerSettings) -> Iterator[RayCrew | None]:
    """Join the cluster; None stands for processes of this machine."""
    if engine is Engine.LOCAL:
        yield None
        return
    try:
        from voiceguard.archive.ray_engine import cluster
    except ModuleNotFoundError as error:
        package = "pip install 'voiceguard-screening[ray]'"
        _wrong_use(f"--engine ray needs {error.name}, which is not installed; {package} brings it")
    with contextlib.ExitStack() as stack:
        try:
            crew = stack.enter_context(cluster(settings))
        except (ConnectionError, RuntimeError) as error:
            _failed(f"can't join the Ray cluster: {error}; check RAY_ADDRESS")
        yield crew


@contextlib.contextmanager
def _importer(wanted: bool, carrier: str) -> Iterator[Importer | None]:
    """Open the review database, before the work."""
    if not wanted:
        yield None
        return
    from pydantic import ValidationError

    from voiceguard.archive.importing import Importer
    from voiceguard.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        _wrong_use(str(error))
    importer = Importer(settings, carrier)
    try:
        yield importer
    finally:
        importer.close()


@contextlib.contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """Let a service manager's stop end the block as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _existing_file(path: Path) -> Path:
    if path.is_dir():
        _wrong_use(f"{path} is a folder; voiceguard scan {path} scores every recording in it")
    if not path.exists():
        _wrong_use(f"no such file: {path}")
    if not os.access(path, os.R_OK):
        _wrong_use(f"no permission to read {path}")
    return path


def _wrong_use(message: str) -> NoReturn:
    typer.echo(f"voiceguard: {message}", err=True)
    raise typer.Exit(WRONG_USE)


def _failed(message: str) -> NoReturn:
    typer.echo(f"voiceguard: {message}", err=True)
    raise typer.Exit(FAILED)
