"""Against a real time-stamping authority: OpenSSL's behind an HTTP server of our own."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.openssl import needs_openssl
from voiceguard.errors import TimestampError
from voiceguard.settings import Settings
from voiceguard.store import audit, audit_verify, checkpoints, timestamps
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import reading, writing
from voiceguard.store.signing import SigningKey

pytestmark = needs_openssl

_CONFIG = """
[tsa]
default_tsa = it
[it]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[req]
distinguished_name = dn
[dn]
"""


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _certificates(folder: Path) -> None:
    (folder / "tsa.cnf").write_text(_CONFIG)
    (folder / "serial").write_text("01\n")
    new_key = ("-newkey", "rsa:2048", "-nodes", "-config", "tsa.cnf")
    _openssl(folder, "req", "-x509", *new_key, "-subj", "/CN=root", "-extensions", "root", "-keyout", "root.key",
             "-out", "root.pem", "-days", "30")  # fmt: skip
    _openssl(folder, "req", *new_key, "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
    _openssl(folder, "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
             "-extfile", "tsa.cnf", "-extensions", "leaf", "-out", "tsa.pem", "-days", "30")  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address and root certificate of an authority on loopback; /down answers 500."""
    folder = tmp_path_factory.mktemp("tsa")
    _certificates(folder)

    class _Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/down":
                self.send_error(500)
                return
            (folder / "query.tsq").write_bytes(asked)
            _openssl(folder, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-inkey", "tsa.key",
                     "-signer", "tsa.pem", "-out", "reply.tsr")  # fmt: skip
            reply = (folder / "reply.tsr").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder / "root.pem"
    server.shutdown()
    thread.join()
    server.server_close()


def _settings(tmp_path: Path, url: str, roots: Path) -> Settings:
    return Settings(data_dir=tmp_path, timestamp_url=url, timestamp_roots=roots)


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    with writing(engine) as connection:
        audit.append(connection, Act("a", Action.KEY_CREATED, "key_1", {}))
    return engine


def test_checkpoints_are_stamped_and_the_stamp_is_checked(
    filled: sa.Engine, tmp_path: Path, authority: tuple[str, Path]
) -> None:
    key = SigningKey.generate()
    stamp = timestamps.stamp(_settings(tmp_path, *authority), pytest.fail)
    (made,) = checkpoints.seal(filled, key, stamp=stamp)
    assert made.token is not None
    roots = timestamps.read_roots(authority[1])
    at = timestamps.verify(made.token, made.statement.encode(), roots)
    assert at == timestamps.claimed_time(made.token, made.statement.encode())
    with reading(filled) as connection:
        assert audit_verify.verify(connection, [key.public], roots=roots).findings == []
    with pytest.raises(TimestampError, match="stand up"):
        timestamps.verify(made.token, b"something else", roots)
    with pytest.raises(TimestampError, match="something else"):
        timestamps.claimed_time(made.token, b"something else")


def test_a_stamp_of_another_authority_does_not_count(tmp_path: Path, authority: tuple[str, Path]) -> None:
    token = timestamps.Authority(*authority).stamp(b"data")
    _certificates(tmp_path)
    with pytest.raises(TimestampError, match="stand up"):
        timestamps.verify(token, b"data", timestamps.read_roots(tmp_path / "root.pem"))


@pytest.mark.parametrize("path", ["/down", ":1"])
def test_without_an_answer_the_checkpoint_is_signed_all_the_same(
    filled: sa.Engine, tmp_path: Path, authority: tuple[str, Path], path: str
) -> None:
    said: list[str] = []
    url = "http://127.0.0.1:1" if path == ":1" else authority[0] + path
    stamp = timestamps.stamp(_settings(tmp_path, url, authority[1]), said.append)
    (made,) = checkpoints.seal(filled, SigningKey.generate(), stamp=stamp)
    assert made.timestamp_token is None
    assert len(said) == 1


@pytest.mark.parametrize("data", [b"", b"\x30\x03\x02\x01\x00", b"nonsense"])
def test_what_is_no_response_is_refused(data: bytes) -> None:
    with pytest.raises(TimestampError):
        timestamps.claimed_time(data, b"data")


def test_roots_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TimestampError, match="No such file"):
        timestamps.read_roots(tmp_path / "missing.pem")
    (tmp_path / "roots.pem").write_text("nothing")
    with pytest.raises(TimestampError, match="in PEM"):
        timestamps.read_roots(tmp_path / "roots.pem")
