from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from voiceguard.store import idempotency
from voiceguard.store.engine import reading, writing
from voiceguard.store.idempotency import InFlight, StoredAnswer

ANSWER = StoredAnswer("f" * 64, "call_1", 201, '{"id":"call_1"}')
only_postgres = pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
HOLD = """
import sys
from voiceguard.store.engine import connect
from voiceguard.store.idempotency import InFlight
held = InFlight(connect(sys.argv[1]))
print(held.take("carrier_1", "key"), flush=True)
sys.stdin.read()
"""


def test_an_answer_is_kept_by_carrier_and_key(engine: sa.Engine, carrier: str) -> None:
    with writing(engine) as connection:
        idempotency.remember(connection, carrier, "key", ANSWER)
    with reading(engine) as connection:
        assert idempotency.answer_for(connection, carrier, "key") == ANSWER
        assert idempotency.answer_for(connection, carrier, "other") is None
        assert idempotency.answer_for(connection, "carrier_2", "key") is None


def test_a_second_answer_for_a_key_is_refused(engine: sa.Engine, carrier: str) -> None:
    with writing(engine) as connection:
        idempotency.remember(connection, carrier, "key", ANSWER)
    with pytest.raises(sa.exc.IntegrityError), writing(engine) as connection:
        idempotency.remember(connection, carrier, "key", ANSWER)


def test_one_of_many_takes_a_key(engine: sa.Engine) -> None:
    held = InFlight(engine)
    taken: list[bool] = []
    threads = [
        threading.Thread(target=lambda: taken.append(held.take("carrier_1", "key"))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 15 + [True]
    assert held.take("carrier_2", "key")
    held.release("carrier_1", "key")
    assert held.take("carrier_1", "key")
    held.close()


def test_a_key_held_by_another_process_is_free_when_that_is_killed(engine: sa.Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        held = InFlight(engine)
        assert not held.take("carrier_1", "key")
        other.kill()
        other.wait()
        # PostgreSQL notices the broken connection a moment later.
        assert any(held.take("carrier_1", "key") or os.sched_yield() for _ in range(20_000))
        held.close()


def test_old_answers_are_forgotten(engine: sa.Engine, carrier: str) -> None:
    with writing(engine) as connection:
        idempotency.remember(connection, carrier, "key", ANSWER)
    now = dt.datetime.now(dt.UTC)
    assert idempotency.forget(engine, now - dt.timedelta(hours=1)) == 0
    assert idempotency.forget(engine, now + dt.timedelta(seconds=1)) == 1


@only_postgres
def test_lost_connection_to_postgres_does_not_block_keys(engine: sa.Engine) -> None:
    held = InFlight(engine)
    assert held.take("carrier_1", "a")
    with engine.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    held.release("carrier_1", "a")
    assert held.take("carrier_1", "a")
    held.close()
