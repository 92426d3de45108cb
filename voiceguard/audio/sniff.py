"""Which container the bytes are, by content; the name decides only between headerless formats."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath

from voiceguard.audio import boxes, frames
from voiceguard.audio.capture import PCAP_MAGICS, PCAPNG_MAGIC
from voiceguard.errors import DamagedRecording, RefusedContainer, UnsupportedFormat

HEAD_BYTES = 4096
"""Bytes from the start that decide what a file is."""


@dataclass(frozen=True)
class Raw:
    """How to read a headerless format."""

    codec: str
    rate_hz: int
    subtype: str | None = None
    """libsndfile's subtype for headerless reading, where it has one."""
    frame_bytes: int = 1
    """A whole number of these makes a readable file."""


@dataclass(frozen=True)
class Container:
    """Which readers may open a file.

    Attributes
    ----------
    name : str
        Stable short name, as in ``Recording.container``.
    libsndfile : bool
        Whether libsndfile is tried first.
    demuxer : str or None
        FFmpeg's demuxer for it, the only one that is ever opened; None where FFmpeg isn't needed.
    demuxer_options : dict
        Options for that demuxer.
    raw : Raw or None
        Set for headerless formats.
    packets : bool
        Whether it is a packet capture.
    """

    name: str
    libsndfile: bool = False
    demuxer: str | None = None
    demuxer_options: dict[str, str] = field(default_factory=dict)
    raw: Raw | None = None
    packets: bool = False


WAV = Container("wav", libsndfile=True, demuxer="wav")
_FLAC = Container("flac", libsndfile=True, demuxer="flac")
_MP3 = Container("mp3", demuxer="mp3")
_AAC = Container("aac", demuxer="aac")
_GSM = Container("raw", raw=Raw("gsm", 8000, "GSM610", 33))

_MAGIC: tuple[tuple[bytes, Container], ...] = (
    *((magic, Container("pcap", packets=True)) for magic in PCAP_MAGICS),
    (PCAPNG_MAGIC, Container("pcapng", packets=True)),
    (b"fLaC", _FLAC),
    (b"riff\x2e\x91\xcf\x11", Container("w64", libsndfile=True, demuxer="w64")),
    (b"caff", Container("caf", libsndfile=True, demuxer="caf")),
    (b".snd", Container("au", libsndfile=True, demuxer="au")),
    (b"#!AMR\n", Container("amr", demuxer="amr")),
    (b"#!AMR-WB\n", Container("amr", demuxer="amr")),
    (b"#!iLBC20\n", Container("ilbc", demuxer="ilbc")),
    (b"#!iLBC30\n", Container("ilbc", demuxer="ilbc")),
)
_AIFF = Container("aiff", libsndfile=True, demuxer="aiff")

_OGG_FIRST_PAGE = b"OggS\x00\x02"
_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_MP4_BRANDS = {b"3g": "3gp", b"qt": "mov", b"M4A": "m4a"}

_SLN_RATES_HZ = (12000, 16000, 24000, 32000, 44100, 48000, 96000, 192000)

_BY_SUFFIX: dict[str, Container] = {
    **dict.fromkeys(
        ("ulaw", "ul", "mulaw", "mu", "ulw", "pcmu"), Container("raw", raw=Raw("g711_ulaw", 8000, "ULAW"))
    ),
    **dict.fromkeys(("alaw", "al", "alw", "pcma"), Container("raw", raw=Raw("g711_alaw", 8000, "ALAW"))),
    "gsm": _GSM,
    "sln": Container("raw", raw=Raw("pcm_s16le", 8000, "PCM_16", 2)),
    **{
        f"sln{rate_hz // 1000}": Container("raw", raw=Raw("pcm_s16le", rate_hz, "PCM_16", 2))
        for rate_hz in _SLN_RATES_HZ
    },
    "g722": Container("raw", demuxer="g722", raw=Raw("g722", 16000)),
    "g729": Container("raw", demuxer="g729", raw=Raw("g729", 8000, frame_bytes=10)),
    **{
        f"g726-{2 * 4 * bits}": Container(
            "raw",
            demuxer="g726",
            demuxer_options={"code_size": str(bits)},
            raw=Raw("g726", 8000, frame_bytes=bits),
        )
        for bits in (2, 3, 4, 5)
    },
}
"""Headerless formats by the file name's last suffix; the names are Asterisk's."""

_AMBIGUOUS = {
    "raw": "name 16-bit linear audio .sln (8 kHz), .sln16 (16 kHz), ...",
    "pcm": "name it .ulaw, .alaw or .sln, as it is coded",
    "g726": "name it .g726-16, .g726-24, .g726-32 or .g726-40, by its rate",
}

# A playlist makes a player open what it names: other files of this machine, or addresses inside its network.
_PLAYLIST = re.compile(
    rb"""\s*(?: \#EXTM3U | ffconcat\s | file\s+['"/.\w] | v=0\s*[\r\n]+o= | \[playlist\] | \[reference\]
    | RTSPtext | SMILtext | (?:https?|rtsps?|rtmp|file|ftp|concat|subfile|crypto|data): )""",
    re.VERBOSE | re.IGNORECASE,
)
_MANIFEST_TAG = re.compile(rb"<[?]?(?:MPD|SmoothStreamingMedia|smil|asx|playlist|wpl)\b", re.IGNORECASE)

_NOT_AUDIO: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x7fELF", "an ELF executable"),
    (0, b"\xcf\xfa\xed\xfe", "a Mach-O executable"),
    (0, b"\xca\xfe\xba\xbe", "a Java class or Mach-O executable"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"PK\x05\x06", "a ZIP archive"),
    (0, b"\x1f\x8b\x08", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF87a", "a GIF image"),
    (0, b"GIF89a", "a GIF image"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media (ASF) file"),
    (0, b"FLV\x01", "a Flash video"),
    (0, b"MThd", "a MIDI file, which holds notes and no audio"),
    (0, b"#!AMR_MC1.0\n", "multichannel AMR"),
    (0, b"#!AMR-WB_MC1.0\n", "multichannel AMR-WB"),
    (0, b"#!SILK_V3", "Skype SILK audio"),
    (0, b"\x02#!SILK_V3", "WeChat SILK audio"),
)


def sniff(data: bytes, name: str | None) -> Container:
    """Say which container `data` is.

    Parameters
    ----------
    data : bytes
        The whole file, not empty.
    name : str or None
        The file's name; serves only where the content has no signature.

    Raises
    ------
    RefusedContainer
        For a playlist or manifest, whatever its name, and for audio kept outside the file.
    UnsupportedFormat
        For anything else that is no call audio; the message says what it is, if known.
    """
    head = data[:HEAD_BYTES]
    text = head.removeprefix(b"\xef\xbb\xbf")
    if _PLAYLIST.match(text) or (text.lstrip().startswith(b"<") and _MANIFEST_TAG.search(text)):
        raise RefusedContainer(
            "Expected a self-contained audio file, but this is a playlist or a manifest that points at other "
            "files or addresses."
        )
    if found := _by_signature(data, head):
        return found
    suffix = PurePath(name).suffix[1:].lower() if name else ""
    if what := _not_audio(head, strong_only=suffix in _BY_SUFFIX):
        raise UnsupportedFormat(f"Expected call audio, but the bytes are {what}.")
    if frames.is_gsm(data):
        return _GSM
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix in _AMBIGUOUS:
        raise UnsupportedFormat(
            "Expected a header, or a name that says how the samples are coded, but "
            f".{suffix} can mean several codings: {_AMBIGUOUS[suffix]}."
        )
    raise UnsupportedFormat(
        f"Expected call audio in a known format, but the file starts with {head[:8].hex(' ')}. "
        "Headerless audio needs a name that says its coding, such as .ulaw, .alaw, .sln, .g722 or .g729."
    )


def _by_signature(data: bytes, head: bytes) -> Container | None:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        if b"WAVE".startswith(head[8:12]) and len(head) < 12:
            raise DamagedRecording(f"Expected a WAV header, but the file ends after {len(data)} bytes.")
        if head[8:12] == b"WAVE":
            return WAV
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _AIFF
    if head.startswith(b"OggS"):
        # libsndfile stops after the first of several recordings that were appended to one another.
        appended = data.count(_OGG_FIRST_PAGE) > 1
        return Container("ogg", libsndfile=not appended, demuxer="ogg")
    for magic, container in _MAGIC:
        if head.startswith(magic):
            return container
    if head.startswith(b"\x1aE\xdf\xa3"):
        return Container("webm" if b"webm" in head[:64] else "matroska", demuxer="matroska")
    if head[4:8] in _MP4_BOXES:
        if boxes.points_elsewhere(data):
            raise RefusedContainer(
                "Expected a self-contained audio file, but this one keeps it in another file or place."
            )
        brand = head[8:12] if head[4:8] == b"ftyp" else b"qt  "
        name = next((name for prefix, name in _MP4_BRANDS.items() if brand.startswith(prefix)), "mp4")
        return Container(name, demuxer="mov", demuxer_options={"enable_drefs": "0", "use_absolute_path": "0"})
    start = frames.id3_size(data)
    if data[start : start + 4] == b"fLaC":
        return _FLAC
    if frames.is_mp3(data, start):
        return _MP3
    if frames.is_adts(data, start):
        return _AAC
    if start:
        raise UnsupportedFormat(
            "Expected MP3, AAC or FLAC after the ID3 tag, but the bytes after it are none."
        )
    return None


def _not_audio(head: bytes, strong_only: bool) -> str | None:
    """Say what `head` is, if known; `strong_only` skips marks so short that raw audio may hold them."""
    for offset, magic, what in _NOT_AUDIO:
        if head.startswith(magic, offset) and not (strong_only and len(magic) < 4):
            return what
    if head.startswith(b"MZ") and b"This program" in head[:512]:
        return "a Windows executable"
    if head.startswith(b"RIFF"):
        return f"a RIFF file of type {head[8:12]!r}; only WAVE holds call audio"
    return "text" if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    """Whether `head` is readable text: no control codes, and some white space as every text has."""
    if not re.search(rb"[ \n]", head) or re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", head):
        return False
    try:
        head[: len(head) - 3].decode("utf-8")  # the cut may split the last character
    except UnicodeDecodeError:
        return False
    return True
