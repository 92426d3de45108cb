"""A decoded recording, and the limits within which it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE_HZ = 8000
"""Sample rate of everything after decoding: the telephone's."""


@dataclass(frozen=True)
class Limits:
    """What a recording may cost; each limit holds while decoding, whatever the header says.

    Attributes
    ----------
    max_bytes : int
        A larger file is refused unread.
    max_duration_s : float
        A longer recording is refused as soon as its header says so or its samples show it.
    max_channels : int
        More channels are refused before decoding.
    max_decoded_bytes : int
        Memory for the decoded samples of all channels together; 1 GiB holds two channels of 4 hours.
    """

    max_bytes: int = 512 << 20
    max_duration_s: float = 4 * 3600.0
    max_channels: int = 8
    max_decoded_bytes: int = 1 << 30


@dataclass(frozen=True)
class Recording:
    """A recording as received, and its samples.

    Attributes
    ----------
    sha256 : str
        Of the bytes as received, hexadecimal.
    container, codec : str
        Stable short names, such as ``wav`` and ``g711_ulaw``; docs/formats.md lists them.
    rate_hz : int
        Native sample rate.
    duration_s : float
        Native frames over the native rate.
    channels : tuple of np.ndarray [shape=(n,), float32, −1..1]
        Each native channel at ``RATE_HZ``, never mixed with another.
    clipped_share : tuple of float
        For each channel the share of native samples at full scale, 0–1.
    decoder : str
        What decoded it, with versions.
    notes : tuple of str
        What was odd but could be decoded: a data chunk cut short, packets skipped.
    """

    sha256: str
    size_bytes: int
    container: str
    codec: str
    rate_hz: int
    duration_s: float
    channels: tuple[np.ndarray, ...]
    clipped_share: tuple[float, ...]
    decoder: str
    notes: tuple[str, ...] = ()
