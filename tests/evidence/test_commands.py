from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from tests.evidence.conftest import Archive, Sealed
from voiceguard.evidence.commands import audit_app, evidence_app
from voiceguard.store import checkpoints
from voiceguard.store.engine import writing

DOCS = Path(__file__).parents[2] / "docs" / "evidence"


@pytest.fixture(autouse=True)
def _environment(archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOICEGUARD_DATA_DIR", str(archive.settings.data_dir))
    monkeypatch.chdir(tmp_path)


def run(command: str) -> Result:
    group, *arguments = shlex.split(command)
    return CliRunner().invoke({"evidence": evidence_app, "audit": audit_app}[group], arguments)


def test_verify_prints_numbered_steps_and_says_what_it_knows(archive: Archive, sealed: Sealed) -> None:
    known = run(f"evidence verify {sealed.path} --key {archive.key.public.fingerprint}")
    assert known.exit_code == 0
    assert [int(line[0]) for line in known.stdout.splitlines() if line[:1].isdigit()] == [1, 2, 3, 4, 5, 6, 7]
    assert known.stdout.endswith("Verified: the package is as it was sealed.\n")
    unknown = run(f"evidence verify {sealed.path}")
    assert unknown.exit_code == 0
    assert "Whose key it is, only the sender can tell you" in unknown.stdout


def test_a_package_that_does_not_hold_ends_with_1(sealed: Sealed, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(sealed.data.replace(b"README", b"READNE", 1))
    result = run(f"evidence verify {broken}")
    assert (result.exit_code, "NOT VERIFIED" in result.output) == (1, True)
    assert "README.txt: its zip header was changed" in result.output
    broken.write_bytes(b"")
    assert run(f"evidence verify {broken}").exit_code == 1


@pytest.mark.parametrize(
    "command",
    [
        "evidence verify missing.zip",
        "evidence verify .",
        "evidence verify {package} --key missing.pem",
        "evidence verify {package} --timestamp-roots missing.pem",
        "evidence make call_0 -o x.zip",
        "evidence make call_0 -o missing/x.zip",
        "audit verify --key missing.pem",
        "audit verify --checkpoint missing.txt",
    ],
)
def test_wrong_use_ends_with_2(sealed: Sealed, command: str) -> None:
    result = run(command.format(package=sealed.path))
    assert (result.exit_code, result.output.startswith("voiceguard: ")) == (2, True), result.output


def test_every_command_of_the_docs_works(
    archive: Archive, sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package.zip").write_bytes(sealed.data)
    (tmp_path / "FILE.pem").write_bytes(archive.key.public.pem)
    said = "\n".join(path.read_text() for path in sorted(DOCS.glob("*.md")))
    commands = re.findall(r"^voiceguard (.*)$", said, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        text, _, output = command.partition(" >> ")
        text = text.replace("FINGERPRINT", archive.key.public.fingerprint)
        text = re.sub(r"call_[0-9a-f]{32}", sealed.call_id, text)
        result = run(text)
        assert result.exit_code == 0, (command, result.output)
        if output:
            (tmp_path / output).write_text(result.stdout)
    for option in re.findall(r"`(--[a-z-]+)", said):
        assert any(option in run(f"{name} --help").output for name in ("evidence verify", "audit verify")), (
            option
        )


def test_a_log_that_was_cut_is_found_by_the_checkpoint_that_was_kept(
    archive: Archive, tmp_path: Path
) -> None:
    """The last checkpoint is taken away, and put back at the end."""
    archive.store("ringing-ulaw.wav")
    kept = tmp_path / "kept.txt"
    kept.write_text(run("audit checkpoint").stdout)
    assert run(f"audit verify --checkpoint {kept}").exit_code == 0
    with writing(archive.engine) as connection:
        last = checkpoints.latest(connection)
        assert last is not None
        refuse = connection.scalar(
            sa.text("SELECT sql FROM sqlite_master WHERE name = 'audit_checkpoints_no_delete'")
        )
        connection.execute(sa.text("DROP TRIGGER audit_checkpoints_no_delete"))
        connection.execute(
            sa.text("DELETE FROM audit_checkpoints WHERE number = :last"), {"last": last.number}
        )
    assert run("audit verify").exit_code == 0
    result = run(f"audit verify --checkpoint {kept}")
    assert (result.exit_code, "a checkpoint kept elsewhere" in result.output) == (1, True)
    with writing(archive.engine) as connection:
        connection.execute(sa.insert(checkpoints.schema.audit_checkpoints).values(**vars(last)))
        connection.execute(sa.text(refuse))
    assert run(f"audit verify --checkpoint {kept}").exit_code == 0
