"""Presets: config.default() plus a difference."""
