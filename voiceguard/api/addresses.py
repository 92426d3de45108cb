"""Which addresses a webhook may go to: none inside the network that VoiceGuard runs in.

A carrier chooses where its events are sent. Without this check it could make the server knock at machines that
only the server reaches: a metadata service, a database, the server itself. The check is on the addresses that a
name resolves to, at the very moment of sending; the connection then goes to the checked address and no other.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable

import httpx2

MAX_URL_CHARS = 2_000
_HOST = re.compile(r"[a-z0-9_.-]{1,253}")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""A host name and a port to its addresses."""


def is_public(address: str) -> bool:
    """Say whether an IP address belongs to the open internet.

    Loopback, private, link-local, shared, multicast, documentation and reserved ranges don't, nor an IPv6 address
    that wraps such an IPv4 address (IPv4-mapped, NAT64, 6to4, Teredo).
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = [parsed.ipv4_mapped, parsed.sixtofour, *(parsed.teredo or ())]
        if parsed in _NAT64:
            inner.append(ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF))
        wrapped = [within for within in inner if within is not None]
        if wrapped:
            return all(is_public(str(within)) for within in wrapped)
        if parsed.is_site_local or parsed.scope_id is not None:
            return False
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed.is_unspecified)


def check_url(url: str, *, allow_private: bool) -> str:
    """Return an endpoint's URL as it will be used.

    Raises
    ------
    ValueError
        It isn't an absolute ``https`` URL (``http`` too where private addresses are allowed), names a user, or
        names an address that isn't public. What a host name resolves to is checked only when sending.
    """
    if len(url) > MAX_URL_CHARS:
        raise ValueError(f"expected a URL of at most {MAX_URL_CHARS} characters, got {len(url)}")
    try:
        parsed = httpx2.URL(url)
        host, port = parsed.raw_host.decode("ascii"), 443 if parsed.port is None else parsed.port
    except (httpx2.InvalidURL, UnicodeError):
        raise ValueError("expected a URL such as https://example.com/hooks, got something else") from None
    schemes = ("https", "http") if allow_private else ("https",)
    if parsed.scheme not in schemes:
        raise ValueError(f"expected an absolute URL of {' or '.join(schemes)}, got another")
    if not (_HOST.fullmatch(host) or _is_literal(host)) or port not in range(1, 65_536):
        raise ValueError("expected a URL with a host name and, if any, a port of 1 to 65535, got another")
    if parsed.userinfo:
        raise ValueError(
            "expected a URL without user and password, got one with; the signature proves who sends"
        )
    if not allow_private and _is_literal(host) and not is_public(host):
        raise ValueError("expected an address on the open internet, got one that isn't public")
    return str(parsed.copy_with(fragment=None))


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def resolve(host: str, port: int) -> list[str]:
    """Return a host's addresses in the order in which the system would try them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
