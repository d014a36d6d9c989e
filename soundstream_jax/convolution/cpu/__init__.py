"""Convolutions as CPUs compute them fastest."""
