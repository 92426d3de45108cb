"""Archive scans: find recordings, score them in worker processes, write one row for each channel."""
