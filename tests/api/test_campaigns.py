from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.api.conftest import Api, problem_of, unlike
from voiceguard.audio import RATE_HZ, decode
from voiceguard.store.keys import Scope
from voiceguard.telephony.channel import Channel, CodecPass

Wav = Callable[[str, int], bytes]
GONE = "campaign_" + "0" * 32
_WAYS = (
    Channel(1, -20.0, codecs=(CodecPass("g711_ulaw"),)),
    Channel(2, -26.0, band_hz=(300.0, 3400.0), codecs=(CodecPass("gsm"),)),
    Channel(3, -16.0, codecs=(CodecPass("amr_nb", 12200),)),
)


@pytest.fixture(scope="module")
def wav(audio_samples: Path) -> Wav:
    """Return eight seconds of a sample clip, sent through the telephone channel of a number."""

    def _wav(name: str, way: int) -> bytes:
        samples = decode(audio_samples / name).channels[0][: 8 * RATE_HZ]
        file = io.BytesIO()
        heard = _WAYS[way].apply(samples)
        soundfile.write(file, np.clip(heard, -1, 1), RATE_HZ, format="WAV", subtype="PCM_16")
        return file.getvalue()

    return _wav


@pytest.fixture(scope="module")
def spread(api: Api, wav: Wav) -> tuple[str, str, str]:
    """Two carriers with calls of one campaign: its id, the first carrier's key, the second's."""
    first, second = (api.key(carrier=name) for name in ("Spread One", "Spread Two"))
    ids = []
    for way, key in ((0, first), (1, first), (2, second)):
        call = {"caller": "+12025550123", "callee": f"+1202555019{way}", "attestation": "C"}
        response = api.post(wav("human-drascula-en-flac.flac", way), call, key=key)
        assert response.status_code == 201, response.text
        ids.append(response.json())
    assert [one["prerecorded"] for one in ids] == [False, True, True]
    (campaign_id,) = {one["campaign_id"] for one in ids}
    return campaign_id, first, second


def test_a_carrier_sees_numbers_of_all_and_calls_of_its_own(api: Api, spread: tuple[str, str, str]) -> None:
    campaign_id, first, second = spread
    answers = [api.get(f"/v1/campaigns/{campaign_id}", key=key).json() for key in (first, second)]
    for answer, own in zip(answers, (2, 1), strict=True):
        assert (answer["id"], answer["calls"], answer["own_calls"]) == (campaign_id, 3, own)
        assert (answer["carriers"], answer["callers"], answer["callees"]) == (2, 1, 3)
        assert answer["attestations"] == {"C": 3}
        assert answer["prerecorded"] is True
        assert answer["scores"]["copies"] == 3
        assert answer["scores"]["lowest"] <= answer["score"] <= answer["scores"]["highest"]
        assert len(answer["data"]) == own
        assert answer["merged_from"] is None
    # Who posted the copy that decides is told its name, the other only how good it is.
    named = [answer["strongest_recording"] for answer in answers]
    assert sorted(one["sha256"] is None for one in named) == [False, True]
    assert sorted(one["call_id"] is None for one in named) == [False, True]
    assert len({one["quality"] for one in named}) == 1
    assert problem_of(api.get(f"/v1/campaigns/{campaign_id}")) == "not_found"


def test_calls_of_a_campaign_come_in_pages(api: Api, spread: tuple[str, str, str]) -> None:
    campaign_id, first, _ = spread
    page = api.get(f"/v1/campaigns/{campaign_id}?limit=1", key=first).json()
    rest = api.get(f"/v1/campaigns/{campaign_id}?limit=1&cursor={page['next_cursor']}", key=first).json()
    listed = api.get(f"/v1/calls?campaign={campaign_id}", key=first).json()["data"]
    assert [one["id"] for one in page["data"] + rest["data"]] == [one["id"] for one in listed]
    assert rest["next_cursor"] is None
    assert all(one["prerecorded"] for one in listed)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", True),
        ("min_calls=3", True),
        ("min_calls=4", False),
        ("caller=%2B12025550123", True),
        ("callee=%2B12025550190", True),
        ("callee=%2B12025550192", False),  # the other carrier's
        ("seen_from=2026-03-01T14:05:00Z", True),
        ("seen_from=2026-03-01T14:05:01Z", False),
        ("seen_to=2026-03-01T14:05:01Z", True),
        ("seen_to=2026-03-01T14:05:00Z", False),
    ],
)
def test_filters(api: Api, spread: tuple[str, str, str], query: str, shown: bool) -> None:
    campaign_id, first, _ = spread
    data = api.get(f"/v1/campaigns?{query}", key=first).json()["data"]
    assert (campaign_id in [one["id"] for one in data]) is shown


def test_verdict_filter(api: Api, spread: tuple[str, str, str]) -> None:
    campaign_id, first, _ = spread
    verdict = api.get(f"/v1/campaigns/{campaign_id}", key=first).json()["verdict"]
    for one in ("synthetic", "human", "inconclusive"):
        data = api.get(f"/v1/campaigns?verdict={one}", key=first).json()["data"]
        assert (campaign_id in [found["id"] for found in data]) is (one == verdict)


def test_a_single_call_is_listed_when_asked_for(api: Api, wav: Wav) -> None:
    key = api.key(carrier="Single")
    posted = api.post(wav("human-fillets-nl-mp3.mp3", 0), key=key).json()
    assert posted["campaign_id"] is not None
    assert api.get("/v1/campaigns", key=key).json()["data"] == []
    (found,) = api.get("/v1/campaigns?min_calls=1", key=key).json()["data"]
    assert (found["id"], found["prerecorded"]) == (posted["campaign_id"], False)
    again = api.post(wav("human-fillets-nl-mp3.mp3", 0), key=key).json()
    assert (again["campaign_id"], again["prerecorded"]) == (posted["campaign_id"], True)
    assert api.get(f"/v1/calls/{posted['id']}", key=key).json()["prerecorded"] is True


def test_campaigns_come_in_pages(api: Api, wav: Wav) -> None:
    key = api.key(carrier="Pages")
    names = ("human-drascula-en-flac.flac", "human-fillets-nl-mp3.mp3", "synthetic-hibari-heart-flac.flac")
    posted = [api.post(wav(name, 1), key=key).json()["campaign_id"] for name in names]
    seen, cursor = [], ""
    for _ in range(3):
        page = api.get(f"/v1/campaigns?min_calls=1&limit=1{cursor}", key=key).json()
        seen += [one["id"] for one in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(posted)
    assert page["next_cursor"] is None


def test_ringing_joins_no_campaign(api: Api, short_clip: bytes) -> None:
    for number in range(2):
        answer = api.post(unlike(short_clip, number)).json()
        assert (answer["campaign_id"], answer["prerecorded"]) == (None, False)


def test_a_replayed_request_has_the_campaign_in_it(api: Api, clip: bytes) -> None:
    answers = [api.post(clip, Idempotency_Key='"one"').json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["campaign_id"].startswith("campaign_")


def test_what_is_not_there(api: Api) -> None:
    for campaign_id in (GONE, "campaign_1", "x" * 500, "%00"):
        assert problem_of(api.get(f"/v1/campaigns/{campaign_id}")) == "not_found"
    assert problem_of(api.get("/v1/campaigns?cursor=nonsense")) == "invalid_request"
    assert problem_of(api.get("/v1/campaigns?min_calls=0")) == "invalid_request"
    assert problem_of(api.get("/v1/campaigns", key=api.key(Scope.CALLS_WRITE))) == "insufficient_scope"
    assert api.client.get("/v1/campaigns").status_code == 401


def test_the_metrics_count_joins(api: Api, clip: bytes) -> None:
    api.post(unlike(clip, 77))
    text = api.client.get("/metrics").text
    assert "voiceguard_campaign_joins_total{how=" in text
    assert "voiceguard_campaign_lookup_seconds_count" in text
