"""A call and a telephone-number PKI that the STIR/SHAKEN tests share."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

CALL_AT = dt.datetime(2026, 3, 1, 12, 0, 0, tzinfo=dt.UTC)
IAT = int(CALL_AT.timestamp())
ORIGID = "123e4567-e89b-12d3-a456-426655440000"
X5U = "https://certificates.example/shaken.pem"


@dataclasses.dataclass(frozen=True)
class Authority:
    """A telephone-number PKI: a root, an intermediate and whatever leaves a test asks for."""

    root: x509.Certificate
    intermediate: x509.Certificate
    issue: Callable[..., tuple[x509.Certificate, ec.EllipticCurvePrivateKey]]
