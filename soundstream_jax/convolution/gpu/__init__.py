"""Convolutions as GPUs compute them fastest."""
