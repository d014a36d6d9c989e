"""Computes sound: voices, instruments, noises."""
