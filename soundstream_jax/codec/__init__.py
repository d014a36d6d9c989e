"""Encode, decode and the .sstr file."""
