"""Scans on a Ray cluster of several local nodes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests.archive.test_scan import After, interrupt
from voiceguard.archive import storage
from voiceguard.archive.links import Lost
from voiceguard.archive.progress import Progress
from voiceguard.archive.scan import ScanSettings, scan, worker_settings
from voiceguard.audio import RATE_HZ

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.alone,  # a cluster's processes leave little to others
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]
SETTINGS = ScanSettings(jobs=2)


@pytest.fixture
def nodes(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """A cluster whose two nodes have one core each; the head has none."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Ray lets its workers give way to all else, for minutes where a machine is busy with other tests.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster, workers
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def calls(tmp_path: Path, archive: Path, speech_pieces: list) -> Path:
    """The small archive and some more."""
    folder = tmp_path / "calls"
    folder.mkdir()
    (folder / "first").symlink_to(archive)
    for path in archive.rglob("*.*"):
        (folder / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    for index in range(40):
        piece = speech_pieces[index % len(speech_pieces)][index * 80 :]
        soundfile.write(folder / f"more-{index:02}.wav", piece, RATE_HZ, subtype="ALAW")
    return folder


def test_two_nodes_give_what_one_machine_gives_and_one_may_be_lost(
    nodes, calls: Path, tmp_path: Path, s3_url: str
):
    import ray

    from voiceguard.archive.ray_engine import RayCrew

    cluster, workers = nodes

    class Watched(RayCrew):
        def __init__(self, settings) -> None:
            super().__init__(settings)
            self.links: list = []
            self.lost: list[Lost] = []

        def start(self):
            link = super().start()
            receive = link.receive

            def watched():
                message = receive()
                if isinstance(message, Lost):
                    self.lost.append(message)
                return message

            link.receive = watched
            self.links.append(link)
            return link

    crew = Watched(worker_settings(SETTINGS))
    assert crew.size() == 2

    # Files and output of this machine, paths relative to where the scan is started.
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        scan(["calls"], "local.parquet", SETTINGS, Progress())
        scan(["calls"], "ray.parquet", SETTINGS, Progress(), crew=crew)
    finally:
        os.chdir(before)
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "local.parquet").read_bytes()

    # From a bucket to a bucket: stopped, gone on with, and one of the nodes killed on the way.
    prefix = f"{s3_url}/{secrets.token_hex(4)}"
    for path in calls.glob("*.*"):
        storage.upload(path, f"{prefix}/calls/{path.name}")
    scan([f"{prefix}/calls"], f"{prefix}/local.parquet", SETTINGS, Progress())
    with pytest.raises(KeyboardInterrupt):
        scan([f"{prefix}/calls"], f"{prefix}/ray.parquet", SETTINGS, After(10, interrupt), crew=crew)

    crew.links.clear()

    def lose_a_node() -> None:
        # Both actors are up: one that is lost while it starts, Ray itself would start elsewhere.
        answers = [link.pending for link in crew.links if link.pending is not None]
        assert len(crew.links) == 2
        ray.wait(answers, num_returns=len(answers))
        cluster.remove_node(workers[0], allow_graceful=False)

    lose = After(15, lose_a_node)
    tally = scan([f"{prefix}/calls"], f"{prefix}/ray.parquet", SETTINGS, lose, crew=crew)
    assert lose.done_before == 10
    assert tally.errors.keys() == {"empty_recording", "unsupported_format"}
    assert not workers[0].any_processes_alive()
    assert len(crew.lost) == 1, "its worker, whose file another one took over"
    with (
        storage.open_binary(f"{prefix}/local.parquet") as expected,
        storage.open_binary(f"{prefix}/ray.parquet") as found,
    ):
        assert found.read() == expected.read()
