"""A run on disk: saved, found again, checked."""
