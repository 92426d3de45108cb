"""The media of live calls: one adapter without I/O for each protocol, from messages to events.

An adapter takes what came over the wire and gives :class:`StreamStart`, :class:`AudioChunk` or
:class:`StreamStop`; :class:`Assembly` puts the chunks into their places. Nothing here opens a socket.
"""

from __future__ import annotations

from voiceguard.telephony.streams.assembly import Assembly, Losses
from voiceguard.telephony.streams.asterisk import AsteriskAdapter
from voiceguard.telephony.streams.audiosocket import AudioSocketAdapter
from voiceguard.telephony.streams.events import (
    AudioChunk,
    AudioFormat,
    Encoding,
    Event,
    MessageAdapter,
    StreamStart,
    StreamStop,
)
from voiceguard.telephony.streams.linear import LinearAdapter
from voiceguard.telephony.streams.pcm import PcmAdapter
from voiceguard.telephony.streams.samples import peek, wav_bytes, wav_pieces
from voiceguard.telephony.streams.twilio import TwilioAdapter

__all__ = [
    "Assembly",
    "AsteriskAdapter",
    "AudioChunk",
    "AudioFormat",
    "AudioSocketAdapter",
    "Encoding",
    "Event",
    "LinearAdapter",
    "Losses",
    "MessageAdapter",
    "PcmAdapter",
    "StreamStart",
    "StreamStop",
    "TwilioAdapter",
    "peek",
    "wav_bytes",
    "wav_pieces",
]
