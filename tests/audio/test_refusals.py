"""What is no call audio gets an error that says what was expected and what came."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.audio.encode import by_ffmpeg, by_soundfile, tones
from voiceguard.audio import RATE_HZ, decode
from voiceguard.audio.ffmpeg import open_ffmpeg
from voiceguard.errors import (
    AudioError,
    DamagedRecording,
    EmptyRecording,
    InvalidSamples,
    RefusedContainer,
    UnsupportedFormat,
)

PLAYLISTS = {
    "hls": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "hls with a byte order mark": b"\xef\xbb\xbf#EXTM3U\nhttp://127.0.0.1/a.ts\n",
    "hls after white space": b"\n \n#EXTM3U\nhttp://127.0.0.1/a.ts\n",
    "concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "concat without its first line": b"file '/etc/passwd'\n",
    "dash": b'<?xml version="1.0"?>\n<!-- x -->\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "smooth streaming": b'<SmoothStreamingMedia MajorVersion="2"></SmoothStreamingMedia>',
    "smil": b'<!DOCTYPE smil><smil><body><audio src="http://127.0.0.1/a.wav"/></body></smil>',
    "xspf": b'<?xml version="1.0"?><playlist version="1"></playlist>',
    "asx": b'<ASX version="3.0"><entry><ref href="http://127.0.0.1/a"/></entry></ASX>',
    "pls": b"[playlist]\nFile1=http://127.0.0.1/a.mp3\n",
    "sdp": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n",
    "quicktime redirect": b"RTSPtextRTSP://127.0.0.1/a\r\n",
    "address": b"http://127.0.0.1/call.wav\n",
    "protocol": b"concat:/etc/passwd|/etc/hosts",
}

FOREIGN = {
    "text": (b"Dear sir or madam,\nthe recording is attached.\n", "text"),
    "text in UTF-8": ("Größe: 3 Anrufe\n".encode() * 300, "text"),
    "json": (b'{"audio": "none", "error": "not found"}', "text"),
    "html": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "text"),
    "zip": (b"PK\x03\x04" + bytes(500), "a ZIP archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(500), "a gzip archive"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(500), "a PNG image"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(500), "a JPEG image"),
    "pdf": (b"%PDF-1.7\n" + bytes(500), "a PDF document"),
    "elf": (b"\x7fELF\x02\x01\x01" + bytes(500), "an ELF executable"),
    "exe": (
        b"MZ" + bytes(76) + b"This program cannot be run in DOS mode." + bytes(500),
        "a Windows executable",
    ),
    "avi": (b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(500), "a RIFF file of type"),
    "wma": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(500), "a Windows Media"),
}


@pytest.mark.parametrize("data", PLAYLISTS.values(), ids=PLAYLISTS)
@pytest.mark.parametrize("name", [None, "call.wav", "call.ulaw", "list.m3u8"])
def test_playlists_are_refused_whatever_their_name(data, name):
    with pytest.raises(RefusedContainer, match="playlist"):
        decode(data, name=name)


@pytest.mark.parametrize(("data", "what"), FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("name", [None, "call.wav", "call.mp3"])
def test_other_files_are_named_for_what_they_are(data, what, name):
    with pytest.raises(UnsupportedFormat, match=f"Expected call audio, but the bytes are {what}"):
        decode(data, name=name)


@pytest.mark.parametrize("name", ["call.ulaw", "call.sln", "call.g729"])
@pytest.mark.parametrize("kind", ["text", "zip", "png", "elf", "exe"])
def test_a_headerless_name_opens_no_door(kind, name):
    with pytest.raises(UnsupportedFormat):
        decode(FOREIGN[kind][0], name=name)


def test_unknown_bytes_are_quoted():
    with pytest.raises(UnsupportedFormat, match="starts with 01 02 03 fe"):
        decode(b"\x01\x02\x03\xfe\x05" * 100, name="call.wav")


@pytest.mark.parametrize("name", ["call.pcm", "call.raw", "call.g726"])
def test_ambiguous_headerless_names_are_explained(name):
    with pytest.raises(UnsupportedFormat, match="several codings: name"):
        decode(b"\x01\x02\x03\xfe\x05" * 100, name=name)


def test_empty_file():
    with pytest.raises(EmptyRecording, match="no bytes"):
        decode(b"", name="call.wav")


def test_less_than_one_frame():
    with pytest.raises(EmptyRecording, match="frames of 10 bytes"):
        decode(b"\x80\x90\xa0", name="call.g729")


def test_cut_last_frame_is_noted():
    recording = decode(bytes(range(250)) * 4 + b"abc", name="call.g729")
    assert recording.duration_s == 1.0
    assert recording.notes == ("The last 3 bytes are no whole frame and were left out.",)


@pytest.mark.parametrize(
    "magic", [b"OggS", b"fLaC", b"caff", b".snd", b"\x1aE\xdf\xa3", b"#!AMR\n", b"ID3\x04"]
)
def test_magic_bytes_alone(magic):
    with pytest.raises(AudioError, match="Expected"):
        decode(magic)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("rate_hz", "subtype"), [(8000, "FLOAT"), (16000, "FLOAT"), (8000, "DOUBLE")])
def test_senseless_samples(value, rate_hz, subtype):
    samples = tones(rate_hz, 1.0, 2)
    samples[rate_hz // 2, 1] = value
    with pytest.raises(InvalidSamples, match=r"NaN or infinity came at 0\.500 s"):
        decode(by_soundfile(samples, rate_hz, format="WAV", subtype=subtype))


def test_samples_of_another_scale():
    with pytest.raises(InvalidSamples, match="within ±1"):
        decode(by_soundfile(tones(RATE_HZ, 1.0, 1) * 32768, RATE_HZ, format="WAV", subtype="FLOAT"))


def with_data_reference(kind: bytes, path: bytes, flags: int) -> bytes:
    """Return a QuickTime file whose audio lies where `path` says, if `flags` is 0."""
    data = by_ffmpeg(tones(RATE_HZ, 0.5, 1), RATE_HZ, muxer="mov", encoder="pcm_s16be")
    entry = struct.pack(">I4sI", 12 + len(path), kind, flags) + path
    start = data.rindex(b"dref") + 12
    (old_size,) = struct.unpack_from(">I", data, start)
    changed = bytearray(data[:start] + entry + data[start + old_size :])
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = data.rindex(box, 0, start) - 4
        struct.pack_into(">I", changed, at, struct.unpack_from(">I", data, at)[0] + len(entry) - old_size)
    return bytes(changed)


@pytest.mark.parametrize("kind", [b"url ", b"urn ", b"alis", b"rsrc"])
def test_audio_kept_outside_the_file_is_refused(kind):
    with pytest.raises(RefusedContainer, match="self-contained"):
        decode(with_data_reference(kind, b"file:///etc/passwd\x00", flags=0))


def test_reference_to_the_file_itself_is_fine():
    assert decode(with_data_reference(b"url ", b"", flags=1)).duration_s == 0.5


@pytest.mark.parametrize("demuxer", ["hls", "concat", "sdp"])
def test_ffmpeg_can_open_nothing_even_by_a_playlist_demuxer(demuxer, tmp_path):
    """Should sniffing ever fail: the fence around FFmpeg holds by itself."""
    target = tmp_path / "target.wav"
    target.write_bytes(by_soundfile(tones(RATE_HZ, 1.0, 1), RATE_HZ, format="WAV", subtype="PCM_16"))
    playlists = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{target}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{target}'\n",
        "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n",
    }
    with (
        pytest.raises(AudioError),
        open_ffmpeg(playlists[demuxer].encode(), demuxer, {"safe": "0"}) as stream,
    ):
        list(stream.blocks)


def test_video_without_audio_and_several_audio_streams():
    import io

    import av

    for streams, message in ((0, "has 0"), (2, "has 2")):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="matroska") as container:
            tracks = [container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono") for _ in range(streams)]
            if not streams:
                picture = container.add_stream("mpeg4", rate=5)
                picture.width = picture.height = 32
                container.mux(picture.encode(av.VideoFrame(32, 32, "yuv420p")))
                container.mux(picture.encode(None))
            for track in tracks:
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
                frame.sample_rate = RATE_HZ
                container.mux(track.encode(frame))
                container.mux(track.encode(None))
        with pytest.raises(UnsupportedFormat, match=f"one audio stream, but this one {message}"):
            decode(buffer.getvalue())


def test_paths_that_are_no_readable_file(tmp_path):
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, tmp_path / "missing.wav", Path(os.devnull)):
        with pytest.raises(AudioError, match=r"Expected a (regular|readable) file"):
            decode(path)


def test_damage_in_the_middle_is_skipped_and_noted():
    data = bytearray(by_soundfile(tones(16000, 4.0, 1), 16000, format="FLAC", subtype="PCM_16"))
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    recording = decode(bytes(data))
    assert 3.0 < recording.duration_s <= 4.0
    assert any("decoder" in note or "decoded" in note for note in recording.notes)


def test_mostly_undecodable_packets_are_damaged():
    data = bytearray(by_ffmpeg(tones(16000, 2.0, 1), 16000, muxer="ipod", encoder="aac"))
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = np.random.default_rng(3).bytes(end - start)
    with pytest.raises((DamagedRecording, InvalidSamples), match="Expected"):
        decode(bytes(data))
