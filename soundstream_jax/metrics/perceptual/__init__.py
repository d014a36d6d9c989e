"""Scores that model a listener, by packages of the extra `metrics`."""
