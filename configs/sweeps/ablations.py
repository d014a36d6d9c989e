"""Which parts of the recipe earn their place?

One part at a time is left out of the preset, or changed. Of the paper: the
fixed mel encoder (section V-C: ViSQOL 3.33 instead of 3.96 at 6 kbit/s), no
quantizer dropout (Fig. 7c), denoising at the encoder or at the decoder (Fig. 8);
the rest asks what the paper takes for granted. Depth and bitrate are the
preset's. A point that is the preset itself is left out, and the two that denoise
are there where the preset, or --config.data.noise, names noise.
"""

from soundstream_jax.settings import fields

FIXES = "depth"

CHANGES = {
  # No discriminators: then neither adversarial nor feature losses.
  "no_adversarial": {
    "discriminator.wave_scales": 0,
    "discriminator.stft_channels": 0,
  },
  "no_feature": {"loss.feature_weight": 0.0},
  "wave_only": {"discriminator.stft_channels": 0},
  "stft_only": {"discriminator.wave_scales": 0},
  "no_dropout": {"quantizer.dropout": False},
  "no_average": {"optimizer.ema_decay": 0.0},
  "no_kmeans": {"quantizer.kmeans_batches": 0},
  "no_revival": {"quantizer.revival_threshold": 0.0},
  "balancer": {"loss.balancer": True},
  "mel_encoder": {"model.encoder": "mel"},
}


def sweep(preset):
  yield "baseline", {}
  points = dict(CHANGES)
  points["balancer_encodec"] = _encodec(preset)
  if preset.data.noise:
    mixture = _with_noise(preset)
    for side in ("encoder", "decoder"):
      points[f"denoise_{side}"] = {"model.film": side, **mixture}
  present = fields.flatten(preset)
  for name, changes in points.items():
    if any(present.get(field) != value for field, value in changes.items()):
      yield name, changes


def _encodec(preset) -> dict:
  """The balancer with EnCodec's weights: the preset's may be no good shares."""
  weights = {"reconstruction": 1.0, "adversarial": 3.0, "feature": 3.0}
  if preset.loss.waveform_weight:
    weights["waveform"] = 0.1
  return {"loss.balancer": True} | {
    f"loss.{name}_weight": weight for name, weight in weights.items()
  }


def _with_noise(preset) -> dict:
  """Half of the speech in noise, where the preset's mixture has none."""
  data, mixture = preset.data, preset.data.mixture
  if mixture.noisy_speech or mixture.noisy_reverberant_speech:
    return {}
  half = (mixture.speech or 1.0) / 2
  return {
    "data.sources": "",
    "data.speech": data.speech or data.sources,
    "data.mixture.speech": half,
    "data.mixture.noisy_speech": half,
  }
