"""Measures exported models: parity, size and speed in each runtime."""
