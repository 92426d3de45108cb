"""Recordings, copies of them and rival families of fingerprints, to measure and train ``voiceguard.fingerprint``."""
