"""Sweeps: sets of configurations to compare, by `config.load_sweep`."""
