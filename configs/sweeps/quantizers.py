"""Do codes of few dimensions, or no codebook at all, serve a depth better?

Not in the paper: its vectors of D dimensions that follow moving averages (ema),
Descript Audio Codec's codes of few dimensions between two projections (low_dim),
finite scalar quantization without a codebook (fsq; without commitment, as its
paper has none), and the paper's with quantizer dropout for half of the examples
alone, as DAC has it. Depth and bitrate are the preset's.
"""

from soundstream_jax import config

FIXES = "depth"

# What a preset may have for another kind, and these refuse.
_USUAL = {"quantizer.code_dim": config.Quantizer().code_dim}


def sweep(preset):
  ema = {"quantizer.kind": "ema", **_USUAL}
  yield "ema", ema
  yield "low_dim", {"quantizer.kind": "low_dim"}
  yield (
    "fsq",
    {"quantizer.kind": "fsq", "loss.commitment_weight": 0.0, **_USUAL},
  )
  yield (
    "dropout_half",
    {
      **ema,
      "quantizer.dropout": True,
      "quantizer.dropout_probability": 0.5,
    },
  )
