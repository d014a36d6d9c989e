"""Sweeps: points of a configuration that are trained, evaluated and compared."""
