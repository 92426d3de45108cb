from __future__ import annotations

import asyncio
import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceguard.api.addresses import MAX_URL_CHARS, check_url, is_public, resolve


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2001:4860:4860::8888"])
def test_addresses_of_the_open_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2002:c0a8:101::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700:4700::1111%1",
        "fec0::1",
        "ff02::1",
        "localhost",
        "",
    ],
)
def test_all_others_are_not(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_in_ipv6_changes_nothing(address: ipaddress.IPv4Address) -> None:
    wrapped = [f"::ffff:{address}", f"64:ff9b::{address}"]
    assert [is_public(text) for text in wrapped] == [is_public(str(address))] * 2


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.com/hooks?x=1", "https://example.com/hooks?x=1"),
        ("https://example.com:8443/#part", "https://example.com:8443/"),
        ("https://Bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
    ],
)
def test_an_https_url_is_kept_without_its_fragment(url: str, kept: str) -> None:
    assert check_url(url, allow_private=False) == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "https://",
        "https:///path",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user:password@example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "https://example.com/" + "x" * MAX_URL_CHARS,
    ],
)
def test_other_urls_are_refused_with_reason(url: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .+, got .+"):
        check_url(url, allow_private=False)


def test_private_addresses_and_plain_http_can_be_allowed() -> None:
    assert check_url("http://127.0.0.1:9/x", allow_private=True) == "http://127.0.0.1:9/x"
    with pytest.raises(ValueError, match="https or http"):
        check_url("ftp://127.0.0.1/", allow_private=True)


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"https://{text}"))
def test_any_text_is_kept_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert check_url(text, allow_private=False).startswith("https://")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.0.0.1", "2130706433", "localhost"])
def test_every_spelling_of_loopback_resolves_to_an_address_that_is_refused(host: str) -> None:
    found = asyncio.run(resolve(host, 443))
    assert found
    assert not any(is_public(address) for address in found)
