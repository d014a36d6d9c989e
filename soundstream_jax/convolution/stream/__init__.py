"""Convolutions of streams: each has a memory of its past."""
