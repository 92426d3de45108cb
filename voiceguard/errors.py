"""Every error that VoiceGuard raises on purpose.

    VoiceGuardError
    ├── AudioError                 the recording, not the program, is at fault
    │   ├── EmptyRecording
    │   ├── UnsupportedFormat
    │   ├── RefusedContainer
    │   ├── DamagedRecording
    │   ├── InvalidSamples
    │   ├── RecordingTooLong
    │   ├── RecordingTooLarge
    │   ├── TooManyChannels
    │   └── NoSuchChannel
    ├── SignallingError            what the network said about the call can't be read
    │   ├── InvalidPassport
    │   ├── InvalidAttestation
    │   ├── MalformedStream
    │   └── UnsupportedStream
    ├── StoreError                 what VoiceGuard keeps can't be read or written
    │   ├── DatabaseUnavailable
    │   ├── RecordingsUnavailable
    │   ├── RecordingMissing
    │   ├── StorageFull
    │   └── InvalidFingerprint
    ├── EvidenceError              an evidence package can't be made
    ├── SigningKeyError            what signs checkpoints and evidence can't be read or made
    ├── TimestampError             the time-stamping authority doesn't answer as it should
    └── ModelError                 the detector's files are missing, altered or of another version

The first line of a type's docstring is its default message. ``code`` is stable: scan rows, HTTP problems
and the docs name an error by it. The message says what was expected and what came; ``remedy`` what to do.
"""

from __future__ import annotations


class VoiceGuardError(Exception):
    """Something went wrong in VoiceGuard."""

    code = "error"
    remedy = "See the log for the cause."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").split("\n", 1)[0])


class AudioError(VoiceGuardError):
    """The recording can't be screened."""

    code = "unreadable_audio"
    remedy = (
        "Send the recording as the switch or recorder wrote it, in one of the formats in docs/formats.md."
    )


class EmptyRecording(AudioError):
    """Expected an audio file, but it holds no bytes or no samples."""

    code = "empty_recording"
    remedy = "Check that the recorder had closed the file before it was sent."


class UnsupportedFormat(AudioError):
    """Expected call audio in a known format, but the bytes are of none."""

    code = "unsupported_format"


class RefusedContainer(AudioError):
    """Expected a self-contained audio file, but this container may point at other files or addresses."""

    code = "refused_container"
    remedy = "Send the audio itself, not a playlist."


class DamagedRecording(AudioError):
    """Expected decodable audio after the header, but decoding failed."""

    code = "damaged_recording"
    remedy = "Fetch the recording again from its source; the file is truncated or altered."


class InvalidSamples(AudioError):
    """Expected finite samples, but the audio holds NaN or infinity."""

    code = "invalid_samples"
    remedy = "Export the recording again; float WAV files must hold finite values."


class RecordingTooLong(AudioError):
    """The recording is longer than the limit."""

    code = "recording_too_long"
    remedy = "Cut the recording, or raise the limit on decoded seconds."


class RecordingTooLarge(AudioError):
    """The file is larger than the limit."""

    code = "recording_too_large"
    remedy = "Cut or compress the recording, or raise the limit on bytes."


class TooManyChannels(AudioError):
    """The recording has more channels than the limit."""

    code = "too_many_channels"
    remedy = "Send at most the caller's and the callee's channels."


class SignallingError(VoiceGuardError):
    """What the network said about the call can't be read."""

    code = "invalid_signalling"
    remedy = "Send the header or field as the switch wrote it, or leave it out."


class InvalidPassport(SignallingError):
    """Expected a SIP Identity header that holds a PASSporT."""

    code = "invalid_passport"


class InvalidAttestation(SignallingError):
    """Expected an attestation in one of the known forms."""

    code = "invalid_attestation"
    remedy = (
        "Send A, B or C, a verstat value, or the switch's own fields, as docs/api/attestation.md lists them."
    )


class MalformedStream(SignallingError):
    """Expected a stream in its protocol, but a message is none of it."""

    code = "malformed_stream"
    remedy = "Connect to the address of the protocol that you speak; docs/live/ has one page for each."


class UnsupportedStream(SignallingError):
    """Expected audio in a coding that can be screened live."""

    code = "unsupported_stream"
    remedy = "Set the sender to PCMU, PCMA, G.722 or 16-bit linear audio."


class NoSuchChannel(AudioError):
    """The recording has no channel of that number."""

    code = "no_such_channel"
    remedy = "Count channels from 0."


class ModelError(VoiceGuardError):
    """The detector can't be loaded."""

    code = "model_error"
    remedy = "Reinstall VoiceGuard, or point VOICEGUARD_MODEL at a folder that holds a complete model."


class EvidenceError(VoiceGuardError):
    """An evidence package can't be made of this."""

    code = "evidence_error"
    remedy = "See what is missing; for more calls than one package holds, make several."


class SigningKeyError(VoiceGuardError):
    """The key that signs checkpoints and evidence can't be read or made."""

    code = "signing_key_error"
    remedy = "Check VOICEGUARD_SIGNING_KEY, or that the data folder can be written."


class TimestampError(VoiceGuardError):
    """The time-stamping authority doesn't answer as it should."""

    code = "timestamp_error"
    remedy = "Check VOICEGUARD_TIMESTAMP_URL, VOICEGUARD_TIMESTAMP_ROOTS and that the authority is reachable."


class StoreError(VoiceGuardError):
    """What VoiceGuard keeps can't be read or written."""

    code = "store_error"


class DatabaseUnavailable(StoreError):
    """The database does not answer."""

    code = "database_unavailable"
    remedy = "Check VOICEGUARD_DATABASE_URL and the server behind it; run voiceguard db upgrade if it is new."


class RecordingsUnavailable(StoreError):
    """The recordings store does not answer."""

    code = "recordings_unavailable"
    remedy = "Check VOICEGUARD_RECORDINGS_URL, the disk or bucket behind it and its permissions."


class RecordingMissing(StoreError):
    """The recording is not in the store."""

    code = "recording_missing"
    remedy = "Look for its tombstone; without one, restore the recordings store from its backup."


class StorageFull(StoreError):
    """No space is left to store the recording."""

    code = "storage_full"
    remedy = "Free disk space or shorten the retention; the service goes on by itself."


class InvalidFingerprint(StoreError):
    """Expected a stored fingerprint of this version of VoiceGuard."""

    code = "invalid_fingerprint"
    remedy = "Compute the fingerprint again from the stored recording."
