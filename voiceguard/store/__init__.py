"""What VoiceGuard keeps: the database, the recordings and what must outlive a request."""
