"""Is one model for all bitrates as good as one for each?

Figure 7c of the paper: a model with quantizer dropout, which codes at any of
its bitrates, the same without dropout, and models of a sixth, a third, a half
and two thirds of its layers, trained for their bitrate alone; 3, 6, 9 and 12 of
the paper's 18 kbit/s. Each is measured at all bitrates that it has. Nothing is
fixed: bitrate and depth are what it compares.
"""

FIXES = ""

SIXTHS = (1, 2, 3, 4)


def sweep(preset):
  most = preset.quantizer.num_quantizers
  yield "scalable", {"quantizer.dropout": True}
  yield "no_dropout", {"quantizer.dropout": False}
  layers = {max(1, round(most * share / 6)) for share in SIXTHS} - {most}
  for count in sorted(layers):
    yield (
      f"layers{count}",
      {"quantizer.num_quantizers": count, "quantizer.dropout": False},
    )
