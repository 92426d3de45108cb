"""Know a recording again, however it arrives: fingerprints of telephone speech, their keys and their match."""

from voiceguard.fingerprint.matching import Match, match
from voiceguard.fingerprint.prints import VERSION, Fingerprint, compute

__all__ = ["VERSION", "Fingerprint", "Match", "compute", "match"]
