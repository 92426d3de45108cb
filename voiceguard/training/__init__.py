"""Training, choosing and reporting the detector; needs the ``train`` extra.

Nothing that serves imports it.
"""
