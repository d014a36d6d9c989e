"""Reads one audio file, and measures how it sounds."""
