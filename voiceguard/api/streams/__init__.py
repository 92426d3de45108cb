"""Live calls: media comes over WebSockets or AudioSocket, verdicts go out while the caller still talks."""
