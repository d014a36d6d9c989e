"""Sweeps: def sweep() yields (name, overrides)."""
