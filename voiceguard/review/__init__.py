"""The pages that people review calls on, under ``/review`` of ``voiceguard serve``."""
