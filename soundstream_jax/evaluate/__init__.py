"""Evaluation of a checkpoint: measurements, reports and pictures."""
