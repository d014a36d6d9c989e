"""Streams: codes and audio as they come, block after block of frames."""
