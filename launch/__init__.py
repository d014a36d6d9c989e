"""Starts one job on one or many machines; no ML code."""
