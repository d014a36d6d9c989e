"""How far do runs differ that differ in nothing but chance?

Not in the paper: differences in its tables that are smaller than this say
nothing. Bitrate and depth are the preset's.
"""

FIXES = "depth"

COUNT = 3


def sweep(preset):
  for seed in range(preset.seed, preset.seed + COUNT):
    yield f"seed{seed}", {"seed": seed}
