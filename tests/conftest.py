from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

RATE_HZ = 8000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too")
    parser.addoption("--not-passed", action="store_true", help="leave out tests that passed in the last run")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that hears of all tests
        config.pluginmanager.register(_Passed(config))


class _Passed:
    """Remembers which tests passed, so that CI need not run them a second time beside the slow ones."""

    KEY = "voiceguard/passed"

    def __init__(self, config: pytest.Config) -> None:
        self.cache = config.cache
        self.outcomes: dict[str, set[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.outcomes.setdefault(report.nodeid, set()).add(report.outcome)

    def pytest_sessionfinish(self) -> None:
        if self.cache:
            passed = [test for test, outcomes in self.outcomes.items() if outcomes == {"passed"}]
            self.cache.set(self.KEY, sorted(passed))


def _left_out(item: pytest.Item) -> str | None:
    """Say why a test can't run here and how to run it."""
    if "slow" in item.keywords and not item.config.getoption("--slow"):
        return "slow: run pytest --slow"
    if "train" in item.keywords and not (
        importlib.util.find_spec("torch") and importlib.util.find_spec("torchaudio")
    ):
        return "needs torch and torchaudio: pip install '.[train]'"
    if "postgres" in item.keywords and not (
        os.environ.get("VOICEGUARD_TEST_POSTGRES_URL") and importlib.util.find_spec("psycopg")
    ):
        return (
            "needs PostgreSQL: pip install '.[postgres]', then set VOICEGUARD_TEST_POSTGRES_URL "
            "(scripts/test_postgres.sh starts a server and prints it)"
        )
    if "s3" in item.keywords and not (importlib.util.find_spec("s3fs") and importlib.util.find_spec("moto")):
        return "needs an S3 server: pip install '.[s3]' 'moto[server]'"
    if "ray" in item.keywords and not all(importlib.util.find_spec(name) for name in ("ray", "s3fs", "moto")):
        return "needs Ray and an S3 server: pip install '.[ray,s3]' 'moto[server]'"
    if "browser" in item.keywords and not (
        importlib.util.find_spec("playwright") and shutil.which("chromium") and shutil.which("npm")
    ):
        return "needs Chromium and npm: apt-get install chromium npm, then pip install playwright"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--not-passed") and config.cache:
        passed = set(config.cache.get(_Passed.KEY, []))
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
        items[:] = [item for item in items if item.nodeid not in passed]
    for item in items:
        if reason := _left_out(item):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240208)


@pytest.fixture
def babble(rng: np.random.Generator) -> np.ndarray:
    """Four seconds of voiced and unvoiced sound that moves like speech, shape (32000,), float32."""
    seconds = np.arange(4 * RATE_HZ) / RATE_HZ
    pitch_hz = (
        120 + 20 * np.sin(2 * np.pi * 0.7 * seconds) + np.cumsum(rng.standard_normal(len(seconds))) * 0.02
    )
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    voiced = sum(np.sin(k * phase) / k for k in range(1, 20))
    unvoiced = rng.standard_normal(len(seconds))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * seconds) + 0.4, 0, None)
    mix = np.where(np.sin(2 * np.pi * 1.3 * seconds) > -0.4, voiced, 0.3 * unvoiced)
    signal = syllables * mix + 1e-3 * unvoiced
    return (0.3 * signal / np.abs(signal).max()).astype(np.float32)


@pytest.fixture(scope="session")
def audio_samples() -> Path:
    return Path(__file__).parents[1] / "audio_samples"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of either kind, gone after the test: migrated if the test also takes `engine`, else empty."""
    migrated = "engine" in request.fixturenames
    if request.param == "sqlite":
        file = tmp_path / "voiceguard.db"
        if migrated:
            shutil.copy(request.getfixturevalue("migrated_sqlite"), file)
        yield f"sqlite:///{file}"
    else:
        template = request.getfixturevalue("migrated_postgres") if migrated else None
        with new_postgres_database(template) as url:
            yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to be copied: that is far quicker than to migrate each one."""
    file = tmp_path_factory.mktemp("migrated") / "voiceguard.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def migrated_postgres() -> Iterator[str]:
    """Name of a migrated database to be copied."""
    with new_postgres_database() as url:
        _migrate(url)
        yield str(sa.make_url(url).database)


def _migrate(url: str) -> None:
    from voiceguard.store import migrate
    from voiceguard.store.engine import connect

    engine = connect(url)
    migrate.upgrade(engine)
    engine.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A migrated database of either kind."""
    from voiceguard.store import migrate
    from voiceguard.store.engine import connect

    engine = connect(database_url)
    migrate.upgrade(engine)  # a test may have a `database_url` of its own
    yield engine
    engine.dispose()


@contextlib.contextmanager
def new_postgres_database(template: str | None = None) -> Iterator[str]:
    """Create a database on the server that VOICEGUARD_TEST_POSTGRES_URL names, drop it at the end.

    It is a copy of ``template``, to which nobody may be connected, or empty.
    """
    server = sa.make_url(os.environ["VOICEGUARD_TEST_POSTGRES_URL"])
    admin = sa.create_engine(
        server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    name = f"voiceguard_test_{secrets.token_hex(6)}"
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """A bucket on moto's server, which listens on loopback; the environment points fsspec there."""
    from moto.server import ThreadedMotoServer

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        s3fs.S3FileSystem().mkdir("recordings")
        yield "s3://recordings"
    server.stop()
