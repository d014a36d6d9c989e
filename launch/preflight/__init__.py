"""Compiles a training step for chips that are elsewhere, and reports on it."""
