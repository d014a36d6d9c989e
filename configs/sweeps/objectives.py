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
  # Windows and mel bins of Descript Audio Codec.
  "dac_windows": {
    "loss.spectral_windows": (32, 64, 128, 256, 512, 1024, 2048),
    "loss.mel_bins": (5, 10, 20, 40, 80, 160, 320),
  },
  "log_floor": {"loss.log_floor": 0.01},
  "complex": {"loss.complex_weight": 60.0},
  "bypass": {"quantizer.bypass_probability": 0.5},
  "commitment": {"loss.commitment_weight": 0.1},
  "input_gain_1": {"model.input_gain": 1.0},
  "input_gain_10": {"model.input_gain": 10.0},
  "snake": {"model.activation": "snake", "model.input_gain": 0.0},  # its own
  "clip_to_median": {
    "optimizer.clip_norm": 0.0,
    "optimizer.clip_to_median": 3.0,
  },
  "cosine": {"optimizer.schedule": "cosine"},
  "adamw": {"optimizer.weight_decay": 0.01},
}


def of_preset(preset):
  """Returns changes of the preset's own numbers, for the same examples."""
  steps = preset.num_steps
  second_half = {"discriminator.start_step": steps // 2}
  return {
    "discriminators": second_half,
    "multi_scale": {
      **second_half,
      "discriminator.wave_scales": 0,
      "discriminator.stft_windows": (2048, 1024, 512, 256, 128),
    },
    # Averages over as many examples as before.
    "half_batch": {
      "batch_size": preset.batch_size // 2,
      "num_steps": 2 * steps,
      "discriminator.start_step": 2 * preset.discriminator.start_step,
      "optimizer.warmup_steps": 2 * preset.optimizer.warmup_steps,
      "optimizer.ema_decay": preset.optimizer.ema_decay**0.5,
      "quantizer.ema_decay": preset.quantizer.ema_decay**0.5,
    },
    "learning_rate": {
      "optimizer.learning_rate": 2 * preset.optimizer.learning_rate
    },
  }


def sweep(preset):
  waveform = {} if preset.loss.waveform_weight else WAVEFORM
  yield "baseline", waveform
  present = fields.flatten(preset)
  for name, changes in (CHANGES | of_preset(preset)).items():
    changes = waveform | changes
    if any(present[field] != value for field, value in changes.items()):
      yield name, changes
