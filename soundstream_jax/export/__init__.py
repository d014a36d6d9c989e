"""Models for other runtimes: one folder per format."""
