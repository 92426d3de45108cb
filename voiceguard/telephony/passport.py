"""The SIP ``Identity`` header, read as PASSporTs.

A PASSporT (RFC 8225) is a signed token in which an originating provider says who calls whom. In STIR/SHAKEN
(RFC 8588) it adds an attestation level and an identifier of the call's origin, which a traceback starts from.
The header (RFC 8224) may stand several times in one call: ``shaken``, ``div`` for each diversion (RFC 8946),
``rcd`` for caller names (RFC 9795), ``rph`` for emergency priority.

Reading is tolerant where switches are known to deviate, and says so in ``notes``. Nothing is fetched here:
:mod:`voiceguard.telephony.signature` checks a signature against certificates that the caller passes in.
"""

from __future__ import annotations

import enum
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jwt

from voiceguard.errors import InvalidPassport

MAX_HEADER_CHARS = 16_384
"""Longest ``Identity`` header read. SHAKEN needs some 600 characters, a jCard several thousand."""
MAX_HEADERS = 16
"""Most ``Identity`` headers read for one call; each diversion adds one."""
MAX_DESTINATIONS = 64
MAX_TEXT_CHARS = 2_048
"""Longest URI or identifier inside a token."""

_LATEST_IAT = 253_402_300_799  # the last second of year 9999, beyond which datetime can't go
_NUMBER = re.compile(r"[0-9*#]{1,20}")
_SEPARATORS = re.compile(r"[\s().\-]")
_PARAMETER = re.compile(
    r"""\s*;\s*(?P<name>[A-Za-z0-9.!%*_+`'~-]+)
        (?:\s*=\s*(?:<(?P<uri>[^<>]*)>|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s;"<>]*)))?""",
    re.VERBOSE,
)


class Level(enum.StrEnum):
    """How far the signing provider vouches for the caller (RFC 8588, section 4)."""

    A = "A"
    """Full: it knows the customer and that the customer may use the number."""
    B = "B"
    """Partial: it knows the customer, but not the right to the number."""
    C = "C"
    """Gateway: it only knows where the call came in."""


class Signature(enum.StrEnum):
    """What is known of a token's signature."""

    VERIFIED = "verified"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True)
class Party:
    """One end of a call as a token names it: telephone numbers (digits without ``+``) and URIs."""

    numbers: tuple[str, ...]
    uris: tuple[str, ...]


@dataclass(frozen=True)
class Passport:
    """One ``Identity`` header."""

    token: str
    """The JWS as received: the evidence."""
    ppt: str | None
    """Extension: ``shaken``, ``div``, ``rcd``, …; None for a token of plain RFC 8225."""
    algorithm: str
    certificate_url: str | None
    """Where the signer publishes its certificate (``x5u``). Attacker-controlled."""
    issued_at_s: float
    """Seconds since 1970 at which the token says it was signed (``iat``)."""
    orig: Party
    dest: Party
    attest: Level | None
    origid: str | None
    div: Party | None
    """Whom the call was first meant for, in a ``div`` token."""
    claims: tuple[str, ...]
    """Names of every claim, sorted; the values of those not read here stay in ``token``."""
    notes: tuple[str, ...]
    """How the header deviates from the RFCs, as stable words such as ``iat_quoted``."""
    signature: Signature = Signature.NOT_CHECKED
    signature_reason: str | None = None
    """Why the signature ``failed`` or could not be checked."""


def parse_identity(header: str | Iterable[str]) -> tuple[Passport, ...]:
    """Read the ``Identity`` headers of one call.

    Parameters
    ----------
    header
        One header's value, several lines with or without ``Identity:`` before each, values joined by commas,
        or an iterable of such strings.

    Returns
    -------
    tuple of Passport
        In the order received, signatures ``not_checked``. At least one.

    Raises
    ------
    InvalidPassport
        A header is too long, there are too many, or one isn't a PASSporT.
    """
    blocks = (header,) if isinstance(header, str) else header
    values: list[str] = []
    for block in blocks:
        if len(block) > MAX_HEADER_CHARS * MAX_HEADERS:
            raise InvalidPassport(
                f"Expected at most {MAX_HEADERS} Identity headers of {MAX_HEADER_CHARS} characters, "
                f"got {len(block)} characters."
            )
        values.extend(_split(block))
        if len(values) > MAX_HEADERS:
            raise InvalidPassport(f"Expected at most {MAX_HEADERS} Identity headers, got more.")
    if not values:
        raise InvalidPassport("Expected an Identity header, got an empty one.")
    return tuple(_parse_one(value) for value in values)


def _split(block: str) -> list[str]:
    """Cut a block into header values at line ends and at commas outside quotes and angle brackets."""
    # A header may go on in a line that begins with white space (RFC 3261, section 7.3.1).
    unfolded = re.sub(r"\r?\n[ \t]+", " ", block)
    values: list[str] = []
    for line in unfolded.splitlines():
        text = re.sub(r"\A\s*(?:identity|y)\s*:", "", line, flags=re.IGNORECASE)
        start, closing = 0, ""
        for position, character in enumerate(text):
            if closing:
                closing = "" if character == closing else closing
            elif character in '<"':
                closing = ">" if character == "<" else '"'
            elif character == ",":
                values.append(text[start:position])
                start = position + 1
        values.append(text[start:])
    return [value.strip() for value in values if value.strip()]


def _parse_one(value: str) -> Passport:
    if len(value) > MAX_HEADER_CHARS:
        raise InvalidPassport(
            f"Expected an Identity header of at most {MAX_HEADER_CHARS} characters, got {len(value)}."
        )
    notes: list[str] = []
    token, parameters = _token_and_parameters(value, notes)
    header, claims = _decode(token)
    ppt, algorithm, url = (_text(header, name) for name in ("ppt", "alg", "x5u"))
    if algorithm is None:
        raise InvalidPassport("Expected 'alg' in the PASSporT's header, got none.")
    if _text(header, "typ") != "passport":
        notes.append("typ_not_passport")
    if url is None:
        notes.append("x5u_missing")
    for name, inner in (("ppt", ppt), ("alg", algorithm), ("info", url)):
        if name in parameters and parameters[name] != inner:
            notes.append(f"{name}_differs")
    issued_at_s = _issued_at_s(claims, notes)
    orig = _party(claims, "orig", notes)
    dest = _party(claims, "dest", notes)
    div = _party(claims, "div", notes) if "div" in claims else None
    attest = _attest(claims, ppt, notes)
    origid = _origid(claims, ppt, notes)
    return Passport(
        token=token,
        ppt=ppt,
        algorithm=algorithm,
        certificate_url=url or parameters.get("info"),
        issued_at_s=issued_at_s,
        orig=orig,
        dest=dest,
        attest=attest,
        origid=origid,
        div=div,
        claims=tuple(sorted(claims)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _token_and_parameters(value: str, notes: list[str]) -> tuple[str, dict[str, str]]:
    """Cut ``token;info=<url>;alg=ES256;ppt=shaken`` into the token and its parameters by lower-case name."""
    end = value.find(";")
    token = (value if end < 0 else value[:end]).strip()
    parameters: dict[str, str] = {}
    position = len(value) if end < 0 else end
    while position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None:
            notes.append("parameters_malformed")
            break
        content = next((match[group] for group in ("uri", "quoted", "bare") if match[group] is not None), "")
        parameters.setdefault(match["name"].lower(), content)
        position = match.end()
    return token, parameters


def _decode(token: str) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Return the token's header and claims, unverified."""
    if ".." in token:
        raise InvalidPassport(
            "Expected a PASSporT in full form, got the compact form, which leaves the claims out."
        )
    try:
        parts = jwt.PyJWS().decode_complete(token, options={"verify_signature": False})
        claims = json.loads(parts["payload"], parse_constant=_no_constant)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        # The library's words can repeat the input: keep the kind of the mistake alone.
        raise InvalidPassport(
            f"Expected an Identity header that begins with a signed token of three parts, "
            f"but it can't be decoded ({type(error).__name__})."
        ) from error
    if not isinstance(claims, dict):
        raise InvalidPassport("Expected the PASSporT's claims as a JSON object, got another JSON value.")
    return parts["header"], claims


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _text(values: Mapping[str, object], name: str) -> str | None:
    """Return a member that must be a string of bounded length if it is there."""
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        raise InvalidPassport(
            f"Expected '{name}' as a string of at most {MAX_TEXT_CHARS} characters, got {_kind(value)}."
        )
    return value


def _kind(value: object) -> str:
    return f"a string of {len(value)}" if isinstance(value, str) else f"a JSON {type(value).__name__}"


def _issued_at_s(claims: Mapping[str, object], notes: list[str]) -> float:
    value = claims.get("iat")
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        # The example in RFC 8588 quotes the number (erratum 6656), and signers have copied it.
        notes.append("iat_quoted")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST_IAT:
        raise InvalidPassport("Expected 'iat' as a number of seconds since 1970, got none or something else.")
    return float(value)


def _party(claims: Mapping[str, object], name: str, notes: list[str]) -> Party:
    value = claims.get(name)
    if not isinstance(value, dict):
        raise InvalidPassport(f"Expected '{name}' as an object with 'tn' or 'uri', got {_kind(value)}.")
    numbers = tuple(_number(entry, name, notes) for entry in _entries(value, name, "tn"))
    uris = _entries(value, name, "uri")
    for uri in uris:
        if not isinstance(uri, str) or not 0 < len(uri) <= MAX_TEXT_CHARS:
            raise InvalidPassport(f"Expected '{name}.uri' as strings, got {_kind(uri)}.")
    if not numbers and not uris:
        raise InvalidPassport(f"Expected '{name}' to name a telephone number or a URI, got neither.")
    return Party(numbers=numbers, uris=tuple(str(uri) for uri in uris))


def _entries(party: Mapping[str, object], name: str, member: str) -> list[object]:
    # 'orig' and 'div' hold one value and 'dest' a list (RFC 8225, section 5.2.1); signers mix them up.
    value = party.get(member)
    if value is None:
        return []
    entries = value if isinstance(value, list) else [value]
    if len(entries) > MAX_DESTINATIONS:
        raise InvalidPassport(
            f"Expected at most {MAX_DESTINATIONS} entries in '{name}.{member}', got {len(entries)}."
        )
    return entries


def _number(entry: object, name: str, notes: list[str]) -> str:
    """Return a telephone number in the canonical form of RFC 8224, section 8.3: digits alone."""
    if isinstance(entry, int) and not isinstance(entry, bool):
        notes.append("tn_not_text")
        entry = str(entry) if 0 <= entry < 10**20 else ""
    if not isinstance(entry, str) or len(entry) > 64:
        raise InvalidPassport(f"Expected '{name}.tn' as digits, got {_kind(entry)}.")
    number = _SEPARATORS.sub("", entry).removeprefix("+")
    if _NUMBER.fullmatch(number) is None:
        raise InvalidPassport(f"Expected '{name}.tn' as 1 to 20 digits, got other characters or more.")
    if number != entry:
        notes.append("tn_not_canonical")
    return number


def _attest(claims: Mapping[str, object], ppt: str | None, notes: list[str]) -> Level | None:
    value = claims.get("attest")
    if value is None:
        if ppt == "shaken":
            notes.append("attest_missing")
        return None
    if not isinstance(value, str) or value.strip().upper() not in Level.__members__:
        raise InvalidPassport("Expected 'attest' as A, B or C, got something else.")
    if value not in Level.__members__:
        notes.append("attest_not_canonical")
    return Level(value.strip().upper())


def _origid(claims: Mapping[str, object], ppt: str | None, notes: list[str]) -> str | None:
    value = _text(claims, "origid")
    if value is None:
        if ppt == "shaken":
            notes.append("origid_missing")
        return None
    try:
        uuid.UUID(value)
    except ValueError:
        notes.append("origid_not_uuid")
    return value
