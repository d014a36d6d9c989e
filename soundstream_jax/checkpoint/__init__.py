"""Checkpoints of a run on disk: written, found, checked and read."""
