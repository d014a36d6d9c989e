"""Datasets that `prepare` knows, one module each."""
