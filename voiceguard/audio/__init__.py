"""Any call recording in, samples per channel out: the first stage, and the one that reads strangers' bytes.

What a recording is comes from its bytes (:mod:`~voiceguard.audio.sniff`), never from FFmpeg's guessing.
libsndfile decodes what it can, because it is bit-exact and fast; FFmpeg the rest, with a demuxer and decoders
that are named here. Both read from memory, so no container can make them open another file or an address,
and every cap holds while decoding.
"""

from __future__ import annotations

from voiceguard.audio.decoding import decode
from voiceguard.audio.recording import RATE_HZ, Limits, Recording

__all__ = ["RATE_HZ", "Limits", "Recording", "decode"]
