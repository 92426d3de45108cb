"""Time the review pages over a database that scripts/fill_calls.py filled, through a real server.

    python scripts/measure_review.py --database postgresql://user@host/database --most-ms 200
    python scripts/measure_review.py --database sqlite:///calls.db --most-ms 1000

Starts ``voiceguard serve``, opens a session, and asks for the queue in every state and order, with each filter
and search (also such that nothing or little matches), for later pages by cursor, the campaigns, the figures,
and calls' pages. Each address is asked for ``--repeats`` times in each of ``--rounds`` rounds; printed are
median and maximum of its quietest round, which other load on the machine disturbed least, and of all rounds.
Exit code 1 if a median of a quietest round is above ``--most-ms``; figures and agreement, which count over years,
may take ``--most-figures-ms``.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx2
import pyotp
import sqlalchemy as sa

from voiceguard.store import people, queue, schema
from voiceguard.store.engine import connect, reading
from voiceguard.store.people import Role

_calls, _screenings, _reviews = schema.calls.c, schema.screenings.c, schema.reviews.c
COUNTING = ("figures", "agreement")
_NEXT = re.compile(r'rel="next" href="([^"]+)"')


@contextlib.contextmanager
def serving(database: str) -> Iterator[str]:
    """Run a server over the database; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "VOICEGUARD_DATABASE_URL": database,
            "VOICEGUARD_DATA_DIR": folder,
            "VOICEGUARD_SCREENING_WORKERS": "1",
            "VOICEGUARD_LOG_LEVEL": "error",
        }
        command = [sys.executable, "-m", "voiceguard", "serve", "--port", str(port)]
        server = subprocess.Popen(command, env=environment)
        try:
            while True:
                if server.poll() is not None:
                    raise SystemExit("expected the server to start; see above")
                with contextlib.suppress(httpx2.HTTPError):
                    httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=5)
                    break
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)


def session(engine: sa.Engine) -> dict[str, str]:
    """Create an administrator and open a session; return its cookie."""
    name, password = f"measure-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    account = people.create(engine, name, Role.ADMIN, password=password)
    now = dt.datetime.now(dt.UTC)
    found = people.sign_in(engine, name, password, pyotp.TOTP(account.totp_secret or "").at(now), now)
    assert found is not None
    return {"vg_session": found[1]}


def addresses(engine: sa.Engine) -> dict[str, str]:
    """Return what to ask for, by name; the filters' values are taken from what the database holds."""
    with reading(engine) as connection:

        def one(query: sa.Select[tuple[str]]) -> str:
            return str(connection.scalar(query.limit(1)))

        by_count = sa.func.count().desc()
        named = _calls.upstream_provider.is_not(None)
        provider = sa.select(_calls.upstream_provider).where(named).group_by(_calls.upstream_provider)
        common, rare = one(provider.order_by(by_count)), one(provider.order_by(sa.func.count()))
        middle = sa.select(sa.func.max(_calls.seq) / 2).scalar_subquery()
        number = one(sa.select(_calls.caller).where(_calls.seq > middle, _calls.caller.is_not(None)))
        large, second = connection.scalars(
            sa.select(schema.campaigns.c.id)
            .where(schema.campaigns.c.verdict == "synthetic")
            .order_by(schema.campaigns.c.calls.desc())
            .limit(2)
        ).all()
        flagged = one(
            sa.select(_calls.id)
            .join(schema.reviews)
            .where(_reviews.state == "open", _reviews.why == "flagged")
        )
        of_large = one(sa.select(_calls.id).where(_calls.campaign_id == large))
        old = one(sa.select(_calls.id).order_by(_calls.seq))
        ends = {}
        for state in ("open", "decided"):
            for order in (queue.Order.STRENGTH, queue.Order.OLDEST):
                wanted = queue.Wanted(state=queue.State(state), order=order)
                near_end = queue.page(connection, wanted, after=None, limit=200, backwards=True)
                if near_end:
                    ends[state, order.value] = queue.cursor_of(near_end[-1])
    filters = {
        "number, whole": f"number={quote(number)}",
        "number, its first 6 digits": f"number={quote(number[:7])}",
        "number, its first 3 digits": f"number={quote(number[:4])}",
        "number of nobody": "number=%2B4930123456",
        "provider, common": f"provider={quote(common)}",
        "provider, rare": f"provider={quote(rare)}",
        "provider, unknown": "provider=Nobody",
        **{f"attestation {level}": f"level={level}" for level in ("A", "C", "none")},
        **{f"verdict {one}": f"verdict={one}" for one in ("synthetic", "human", "inconclusive")},
        "score from 1": "score=1",
        "score from 8": "score=8",
        "score from 9 (none)": "score=9",
        "campaign, the largest": f"campaign={large}",
        "campaign, unknown": "campaign=campaign_0",
        "reviewer": "reviewer=jonas",
        "reviewer, unknown": "reviewer=nobody",
        **{f"why {one}": f"why={one}" for one in ("flagged", "random", "asked")},
        "rare provider, attestation C, score from 5": f"provider={quote(rare)}&level=C&score=5",
        "attestation C, human, reviewer": "level=C&verdict=human&reviewer=mara",
    }
    found = {}
    for state in ("open", "second", "escalated", "decided", "all"):
        found[f"queue: {state}"] = f"/review?state={state}"
    for state in ("open", "decided"):
        for order in ("oldest", "newest"):
            found[f"queue: {state}, {order} first"] = f"/review?state={state}&order={order}"
    for state in ("open", "decided", "all"):
        for name, query in filters.items():
            found[f"queue: {state}, {name}"] = f"/review?state={state}&{query}"
    for (state, order), cursor in ends.items():
        found[f"queue: {state}, {order}, near the end"] = (
            f"/review?state={state}&order={order}&after={cursor}"
        )
    for order in ("strength", "size", "oldest", "newest"):
        found[f"campaigns: {order}"] = f"/review/campaigns?order={order}"
    found["campaigns: decided"] = "/review/campaigns?decided=true"
    found["campaign: the largest"] = f"/review/campaigns/{large}"
    found["campaign: the second largest"] = f"/review/campaigns/{second}"
    found["call: flagged"] = f"/review/calls/{flagged}"
    found["call: flagged, from a filtered queue"] = f"/review/calls/{flagged}?list=level%3DC%26score%3D9"
    found["call: of the largest campaign"] = f"/review/calls/{of_large}"
    found["call: the oldest, from the list of all"] = f"/review/calls/{old}?list=state%3Dall"
    found["agreement"] = "/review/agreement"
    whole = "first=2024-11-01&last=2026-10-31"
    found["figures: two years by month"] = f"/review/figures?{whole}"
    found["figures: a year by day"] = "/review/figures?by=day&first=2025-11-01&last=2026-10-31"
    found["figures: campaigns as CSV"] = f"/review/figures.csv?by=campaign&{whole}"
    return found


def later_pages(client: httpx2.Client, first: str, count: int) -> list[str]:
    """Follow the link to the next page; return the addresses of the pages."""
    found = [first]
    while len(found) < count and (link := _NEXT.search(client.get(found[-1]).text)):
        found.append(link[1].replace("&amp;", "&"))
    return found


def main() -> int:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--database", required=True)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most-ms", type=float, default=200.0)
    parser.add_argument("--most-figures-ms", type=float, default=500.0)
    parser.add_argument("--only", default="", help="addresses whose name holds this text")
    options = parser.parse_args()
    engine = connect(options.database)
    with serving(options.database) as url, httpx2.Client(base_url=url, timeout=120) as client:
        client.cookies.update(session(engine))
        wanted = addresses(engine)
        for state in ("open", "all"):
            pages = later_pages(client, f"/review?state={state}", 20)
            wanted[f"queue: {state}, page {len(pages)}"] = pages[-1]
        wanted = {name: path for name, path in wanted.items() if options.only in name}
        taken: dict[str, list[list[float]]] = {name: [] for name in wanted}
        for _ in range(options.rounds):
            for name, path in wanted.items():
                times = []
                for _ in range(options.repeats):
                    began = time.perf_counter()
                    answer = client.get(path)
                    times.append((time.perf_counter() - began) * 1e3)
                    assert answer.status_code == 200, (name, answer.status_code, answer.text[:2000])
                taken[name].append(times)
    engine.dispose()
    print(f"{'':60} {'quietest round':>16} {'all rounds':>16}")
    print(f"{'milliseconds':60} {'p50':>8}{'max':>8} {'p50':>8}{'max':>8}")
    slow = []
    for name, rounds in taken.items():
        quiet = min(rounds, key=statistics.median)
        every = [one for times in rounds for one in times]
        print(
            f"{name:60} {statistics.median(quiet):8.0f}{max(quiet):8.0f} "
            f"{statistics.median(every):8.0f}{max(every):8.0f}"
        )
        most_ms = options.most_figures_ms if name.startswith(COUNTING) else options.most_ms
        if statistics.median(quiet) > most_ms:
            slow.append(name)
    worst = max(statistics.median(min(rounds, key=statistics.median)) for rounds in taken.values())
    print(f"{len(taken)} addresses; slowest median of a quietest round {worst:.0f} ms, {len(slow)} too slow")
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
