"""Parts of `config`: building, rules for values, presets and flags."""
