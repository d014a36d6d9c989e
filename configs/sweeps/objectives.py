"""Which objective settles phase, and what else helps a model of one's own?

Not in the paper, whose losses leave the waveform open. Each point changes one
thing of the preset, at the preset's depth, bitrate and number of steps; where
the preset has no waveform term, all points have one of weight 5, without which
phases stay open (docs/training.md).
"""

from soundstream_jax.settings import fields

FIXES = "depth"

WAVEFORM = {"loss.waveform_weight": 5.0}
CHANGES = {
  "waveform_25": {"loss.waveform_weight": 25.0},
  "waveform_100": {"loss.waveform_weight": 100.0},
  # Shares: half of the gradient for the waveform.
  "balancer": {"loss.balancer": True, "loss.waveform_weight": 1.0},
  "complex": {"loss.complex_weight": 60.0},
  # Windows and mel bins of Descript Audio Codec.
  "dac_windows": {
    "loss.spectral_windows": (32, 64, 128, 256, 512, 1024, 2048),
    "loss.mel_bins": (5, 10, 20, 40, 80, 160, 320),
  },
  "log_floor": {"loss.log_floor": 0.01},
  "input_gain": {"model.input_gain": 1.0},
  "snake": {"model.activation": "snake"},
  "clip_to_median": {
    "optimizer.clip_norm": 0.0,
    "optimizer.clip_to_median": 3.0,
  },
  "cosine": {"optimizer.schedule": "cosine"},
  "adamw": {"optimizer.weight_decay": 0.01},
}


def sweep(preset):
  waveform = {} if preset.loss.waveform_weight else WAVEFORM
  yield "baseline", waveform
  present = fields.flatten(preset)
  for name, changes in CHANGES.items():
    changes = waveform | changes
    if any(present[field] != value for field, value in changes.items()):
      yield name, changes
