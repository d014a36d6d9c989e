"""Sections of a configuration: frozen dataclasses with their defaults."""
