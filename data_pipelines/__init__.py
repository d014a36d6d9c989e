"""Prepares datasets on disk; never imported by training."""
