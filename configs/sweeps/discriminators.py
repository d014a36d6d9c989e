"""Which discriminators teach the most, and does a tenth of them suffice?

Not in the paper, which has three on the waveform and one STFT (section III-D).
EnCodec (arXiv 2210.13438) takes STFTs of five windows instead: its own
comparison gives MUSHRA 77.5 against 62.9. Each is here at the paper's size
and, by fewer channels, at about a tenth of it. The generator, its depth and
bitrate, and the number of steps are the preset's, and so is the step at which
discriminators start; what a step costs is not the same.
"""

FIXES = "depth"

WINDOWS = (2048, 1024, 512, 256, 128)

# Overrides for any preset, with the parameters that they make, in millions.
PAPER = {  # 22.5
  "discriminator.wave_scales": 3,
  "discriminator.wave_channels": 16,
  "discriminator.wave_max_channels": 1024,
  "discriminator.stft_channels": 32,
  "discriminator.stft_window": 1024,
  "discriminator.stft_hop": 256,
  "discriminator.stft_windows": (),
}
# Most of a wave network's 5.6 are in its widest layer.
LIGHT = PAPER | {  # 2.2
  "discriminator.wave_max_channels": 256,
  "discriminator.stft_channels": 12,
}
MULTI_SCALE = {  # 21.3
  "discriminator.wave_scales": 0,
  "discriminator.stft_channels": 28,
  "discriminator.stft_windows": WINDOWS,
}
MULTI_SCALE_LIGHT = MULTI_SCALE | {"discriminator.stft_channels": 8}  # 1.7


def sweep(preset):
  del preset  # the same for presets of all sizes
  yield "paper", PAPER
  yield "light", LIGHT
  yield "multi_scale", MULTI_SCALE
  yield "multi_scale_light", MULTI_SCALE_LIGHT
