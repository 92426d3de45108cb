"""The HTTP API that carriers talk to."""
