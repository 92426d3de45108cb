"""How the clips in ``audio_samples/`` are made; ``scripts/make_audio_samples.py`` is the way in."""
