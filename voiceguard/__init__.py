"""VoiceGuard screens phone calls for AI-generated voices."""

__version__ = "0.1.0"
