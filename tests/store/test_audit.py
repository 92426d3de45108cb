from __future__ import annotations

import datetime as dt
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.conftest import NOW
from tests.store.tamper import Log, random_edit
from voiceguard.screening import Screening
from voiceguard.store import audit, audit_verify, checkpoints, commitments, keys, merkle, retention, schema
from voiceguard.store.audit import Act, Action
from voiceguard.store.calls import NewCall
from voiceguard.store.engine import reading, writing
from voiceguard.store.keys import Scope
from voiceguard.store.recordings import Recordings
from voiceguard.store.signing import SigningKey

SEED = 20240208


def act(number: int = 0) -> Act:
    return Act("key_1", Action.CALL_AUDIO_FETCHED, f"call_{number}", {"bytes": [0, number]})


def fill(engine: sa.Engine, count: int) -> None:
    for number in range(count):
        with writing(engine) as connection:
            audit.append(connection, act(number))


def findings(engine: sa.Engine, key: SigningKey, **options: object) -> list[str]:
    with reading(engine) as connection:
        report = audit_verify.verify(connection, [key.public], **options)  # type: ignore[arg-type]
    return [f"{one.where}: {one.what}" for one in report.findings]


def test_rows_follow_one_another_and_any_sha256_tool_can_check_them(engine: sa.Engine) -> None:
    fill(engine, 3)
    with reading(engine) as connection:
        rows = audit.rows_of(connection, [f"call_{number}" for number in range(3)])
    assert [row.seq for row in rows] == [1, 2, 3]
    previous = audit.NO_ROW
    for row in rows:
        assert audit.digest(row.entry) == row.hash
        assert row.fields["previous"] == previous
        previous = row.hash
    assert rows[1].fields["actor"] == "key_1"
    assert rows[1].fields["data"] == {"bytes": [0, 1]}


def test_an_act_and_its_row_stand_and_fall_together(engine: sa.Engine) -> None:
    def _fail_after_the_row() -> None:
        with writing(engine) as connection:
            audit.append(connection, act())
            raise RuntimeError

    def _fail_at_the_row() -> None:
        with writing(engine) as connection:
            connection.execute(sa.insert(schema.carriers).values(id="carrier_2", name="Second"))
            audit.append(connection, Act("a", Action.CALL_DELETED, "b", {"no_number": float("nan")}))

    with pytest.raises(RuntimeError):
        _fail_after_the_row()
    with pytest.raises(ValueError, match="representable"):
        _fail_at_the_row()
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.audit_log)) == 0
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.carriers)) == 0


def test_the_database_refuses_to_change_the_log(engine: sa.Engine, signer: SigningKey) -> None:
    fill(engine, 2)
    checkpoints.seal(engine, signer)
    for statement in (
        "UPDATE audit_log SET actor = 'x' WHERE seq = 1",
        "DELETE FROM audit_log",
        "INSERT INTO audit_log SELECT 9, at, actor, action, object, entry, hash FROM audit_log WHERE seq = 1",
        "UPDATE audit_checkpoints SET signature = ''",
        "DELETE FROM audit_checkpoints",
    ):
        with (
            pytest.raises(sa.exc.DBAPIError, match=r"append-only|without gaps"),
            writing(engine) as connection,
        ):
            connection.execute(sa.text(statement))
    assert findings(engine, signer) == []


def test_sqlite_does_not_replace_a_row(tmp_path: Path, engine: sa.Engine) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("only SQLite has INSERT OR REPLACE")
    fill(engine, 2)
    columns = "at, 'x', action, object, entry, hash"
    replace = f"INSERT OR REPLACE INTO audit_log SELECT 1, {columns} FROM audit_log WHERE seq = 1"
    with sqlite3.connect(str(engine.url.database)) as raw, pytest.raises(sqlite3.IntegrityError):
        raw.execute(replace)
    raw.close()


@pytest.mark.postgres
def test_postgresql_does_not_truncate_the_log(engine: sa.Engine) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has TRUNCATE")
    fill(engine, 1)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), writing(engine) as connection:
        connection.execute(sa.text("TRUNCATE audit_log"))


def test_writers_side_by_side_make_one_chain(engine: sa.Engine, signer: SigningKey) -> None:
    gate = threading.Barrier(8)

    def _write(number: int) -> None:
        gate.wait()
        for _ in range(10):
            with writing(engine) as connection:
                connection.execute(sa.select(schema.carriers.c.id))
                audit.append(connection, act(number), act(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_write, range(8)))
    with reading(engine) as connection:
        report = audit_verify.verify(connection, [signer.public])
    assert (report.rows, report.findings) == (160, [])


def test_sealers_side_by_side_make_one_line_of_checkpoints(engine: sa.Engine, signer: SigningKey) -> None:
    def _seal(number: int) -> None:
        for _ in range(5):
            fill(engine, 1)
            checkpoints.seal(engine, signer)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_seal, range(4)))
    with reading(engine) as connection:
        report = audit_verify.verify(connection, [signer.public])
    assert (report.rows, report.covered, report.findings) == (20, 20, [])


def test_every_row_has_a_proof(
    engine: sa.Engine, signer: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MAX_ROWS", 7)
    fill(engine, 17)
    assert [one.last_seq for one in checkpoints.seal(engine, signer)] == [7, 14, 17]
    assert checkpoints.seal(engine, signer) == []
    with reading(engine) as connection:
        rows = audit.rows_of(connection, [f"call_{number}" for number in range(17)])
        covering, proofs = checkpoints.prove(connection, rows)
    statements = {one.number: one.fields for one in covering}
    for row, proof in zip(rows, proofs, strict=True):
        fields = statements[proof.checkpoint]
        size = fields["last_seq"] - fields["first_seq"] + 1
        steps = [bytes.fromhex(step) for step in proof.path]
        index = row.seq - fields["first_seq"]
        root = merkle.root_from_path(bytes.fromhex(row.hash), index, size, steps)
        assert root is not None
        assert root.hex() == fields["root"]
        assert merkle.root_from_path(bytes.fromhex(row.hash), index, size, [*steps, bytes(32)]) is None


def test_a_row_without_a_checkpoint_has_no_proof(engine: sa.Engine) -> None:
    fill(engine, 1)
    with reading(engine) as connection, pytest.raises(LookupError, match="seal the log first"):
        checkpoints.prove(connection, audit.rows_of(connection, ["call_0"]))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_merkle_trees_are_those_of_rfc_6962(size: int) -> None:
    leaves = [bytes([number]) for number in range(size)]

    def _root(part: list[bytes]) -> bytes:  # the RFC's own recursive definition
        if len(part) == 1:
            return merkle._leaf(part[0])
        split = 1 << ((len(part) - 1).bit_length() - 1)
        return merkle._node(_root(part[:split]), _root(part[split:]))

    tree = merkle.Tree(leaves)
    assert tree.root == _root(leaves)
    for index, leaf in enumerate(leaves):
        assert merkle.root_from_path(leaf, index, size, tree.path(index)) == tree.root


# What an owner of the database can do to the log.


@pytest.fixture
def log(engine: sa.Engine, signer: SigningKey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """A log of 60 rows under 6 checkpoints, whose triggers are gone."""
    for _ in range(6):
        fill(engine, 10)
        checkpoints.seal(engine, signer)
    with Log(engine) as log:
        yield log


def test_a_sound_log_is_found_sound(log: Log, signer: SigningKey) -> None:
    assert findings(log.engine, signer) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE audit_log SET actor = 'key_2' WHERE seq = 17", "row 17: changed"),
        ("UPDATE audit_log SET entry = replace(entry, 'key_1', 'key_2') WHERE seq = 17", "row 17: changed"),
        ("UPDATE audit_log SET hash = upper(hash) WHERE seq = 17", "row 17: changed"),
        ("DELETE FROM audit_log WHERE seq = 17", "row 17: missing"),
        ("DELETE FROM audit_log WHERE seq BETWEEN 17 AND 20", "rows 17 to 20: missing"),
        ("DELETE FROM audit_log WHERE seq > 55", "rows 56 to 60: missing at the end"),
        ("UPDATE audit_log SET seq = 9000000 WHERE seq = 60", "row 9000000: added or renumbered"),
        (
            "UPDATE audit_checkpoints SET statement = replace(statement, 'a', 'b') WHERE number = 3",
            "checkpoint 3",
        ),
        (
            "UPDATE audit_checkpoints SET signature = upper(signature) WHERE number = 3",
            "checkpoint 3: changed",
        ),
        ("DELETE FROM audit_checkpoints WHERE number = 3", "checkpoint 4: comes where checkpoint 3 should"),
        (
            "UPDATE audit_checkpoints SET timestamp_token = 'AAAA' WHERE number = 6",
            "checkpoint 6: its timestamp",
        ),
    ],
)
def test_an_edit_is_found_and_named(log: Log, signer: SigningKey, statement: str, named: str) -> None:
    log.execute(statement)
    found = findings(log.engine, signer)
    assert any(one.startswith(named) for one in found), found


def test_rows_written_anew_with_all_later_hashes_are_found(log: Log, signer: SigningKey) -> None:
    log.rewrite_from(17, actor="key_2")
    assert "checkpoint 2: covers rows 11 to 20, of which at least one was changed since" in findings(
        log.engine, signer
    )


def test_checkpoints_written_anew_need_the_key_or_meet_a_kept_copy(log: Log, signer: SigningKey) -> None:
    with reading(log.engine) as connection:
        kept = [one.statement for one in checkpoints.every(connection)][2:3]
    log.rewrite_from(17, actor="key_2")
    log.execute("DELETE FROM audit_checkpoints")
    thief = SigningKey.generate()
    checkpoints.seal(log.engine, thief)
    assert any("signed with a key that is not trusted" in one for one in findings(log.engine, signer))
    assert findings(log.engine, thief) == []
    assert findings(log.engine, thief, kept=kept) == [
        f"a checkpoint kept elsewhere: is not among those of the log: {kept[0]}"
    ]


def test_random_edits_are_all_found(log: Log, signer: SigningKey) -> None:
    random_ = random.Random(SEED)
    log.remember()
    with reading(log.engine) as connection:
        last = checkpoints.latest(connection)
    assert last is not None
    for _ in range(100 if log.engine.dialect.name == "sqlite" else 20):
        what = random_edit(log, random_)
        # Who deletes the last checkpoint too is found by the copy that was kept of it.
        assert findings(log.engine, signer, kept=[last.statement]) != [], what
        log.restore()
    assert findings(log.engine, signer) == []


# Acts of the store.


def _actions(engine: sa.Engine, about: str) -> list[tuple[str, str]]:
    with reading(engine) as connection:
        return [(row.fields["actor"], row.fields["action"]) for row in audit.rows_of(connection, [about])]


def test_keys_leave_their_mark(engine: sa.Engine) -> None:
    key, secret = keys.create(
        engine, "recorder", carrier="First", scopes=frozenset({Scope.CALLS_READ}), actor="os:a"
    )
    keys.revoke(engine, key.id, NOW, actor="os:b")
    keys.revoke(engine, key.id, NOW, actor="os:c")  # nothing is left to revoke
    assert _actions(engine, key.id) == [("os:a", "key.created"), ("os:b", "key.revoked")]
    with reading(engine) as connection:
        for row in audit.rows_of(connection, [key.id]):
            assert secret not in row.entry


def test_a_deletion_leaves_its_mark_and_takes_the_salt_along(
    engine: sa.Engine,
    recordings: Recordings,
    signer: SigningKey,
    store_call: Callable[..., tuple[NewCall, Screening]],
) -> None:
    call, screening = store_call(salt="5a" * 16, caller="+12025550123")
    with writing(engine) as connection:
        audit.append(connection, *commitments.received(call, screening, actor="key_1", carrier="First"))
    assert findings(engine, signer) == []
    retention.delete_call(engine, recordings, call.id, actor="retention", reason="human after 90 days")
    assert _actions(engine, call.id) == [
        ("key_1", "call.received"),
        ("voiceguard", "call.screened"),
        ("retention", "call.deleted"),
    ]
    assert findings(engine, signer) == []
    with reading(engine) as connection:
        entries = [row.entry for row in audit.rows_of(connection, [call.id])]
    assert not any("2025550123" in entry or "5a5a" in entry for entry in entries)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE calls SET caller = '+12125559876'", "is not what the row call.received says"),
        ("UPDATE calls SET started_at = '2026-03-02 14:05:00'", "is not what the row call.received says"),
        ("UPDATE screenings SET threshold = 2.0", "is not what the row call.screened says"),
    ],
)
def test_a_call_that_was_changed_behind_the_log_is_found(
    engine: sa.Engine,
    signer: SigningKey,
    store_call: Callable[..., tuple[NewCall, Screening]],
    statement: str,
    named: str,
) -> None:
    call, screening = store_call(
        salt="5a" * 16, caller="+12025550123", attestation={"level": "A", "notes": []}
    )
    with writing(engine) as connection:
        audit.append(connection, *commitments.received(call, screening, actor="key_1", carrier="First"))
    assert findings(engine, signer) == []
    with writing(engine) as connection:
        connection.execute(sa.text(statement))
    assert findings(engine, signer) == [f"call {call.id}: {named}"]


def test_a_call_or_a_deletion_without_its_row_is_found(
    engine: sa.Engine,
    recordings: Recordings,
    signer: SigningKey,
    store_call: Callable[..., tuple[NewCall, Screening]],
) -> None:
    call, _ = store_call(salt="5a" * 16)
    assert findings(engine, signer) == [
        f"call {call.id}: has no row call.received",
        f"call {call.id}: has no row call.screened",
    ]
    before_the_log, _ = store_call(b"other audio")
    assert not any(before_the_log.id in one for one in findings(engine, signer))


def test_the_configuration_is_written_when_it_changes(engine: sa.Engine) -> None:
    for data, new in (({"model": "a"}, True), ({"model": "a"}, False), ({"model": "b"}, True)):
        with writing(engine) as connection:
            assert audit.note_configuration(connection, data) is new


def test_moments_are_written_in_one_way() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    assert audit.moment(dt.datetime(2026, 3, 1, 16, 5, tzinfo=zone)) == "2026-03-01T14:05:00.000000Z"
