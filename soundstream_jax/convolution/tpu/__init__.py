"""Convolutions as TPUs compute them fastest."""
