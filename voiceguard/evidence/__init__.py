"""What a person needs to check a verdict: acoustic cues and pictures."""
