"""Do few large codebooks or many small ones serve a bitrate best?

Table II of the paper, (layers, codes) at 6 kbit/s and 75 frames a second:
(8, 1024), (16, 32) and (80, 2). The bitrate is fixed, the depth follows from it
and from the preset's frame rate.
"""

from soundstream_jax.settings import sweeps

FIXES = "bitrate"
BITRATE_BPS = 6_000


def sweep(preset):
  for size in (1024, 32, 2):
    yield (
      f"codes{size}",
      sweeps.at_bitrate(preset, BITRATE_BPS, {"quantizer.codebook_size": size}),
    )
