"""Settings behind `config`: fields, constraints, presets, flags, resuming."""
