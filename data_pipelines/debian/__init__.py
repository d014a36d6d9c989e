"""Fetches and sorts the audio of Debian packages."""
