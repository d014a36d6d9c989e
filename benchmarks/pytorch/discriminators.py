"""The wave and STFT discriminators, on audio [B, 1, T]."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from soundstream_jax import config as config_lib
from soundstream_jax.audio import spectral

_LEAK = 0.2
_STFT_UNITS = (
  ((1, 2), 1, 2),
  ((2, 2), 2, 4),
  ((1, 2), 4, 4),
  ((2, 2), 4, 8),
  ((1, 2), 8, 8),
  ((2, 2), 8, 16),
)


def _normed(conv, norm):
  """A convolution with weight norm, or without."""
  if norm == "weight":
    return nn.utils.parametrizations.weight_norm(conv)
  return conv


class WaveDiscriminator(nn.Module):
  def __init__(self, c: config_lib.Discriminator):
    super().__init__()
    channels, norm = c.wave_channels, c.wave_norm
    self.first = _normed(nn.Conv1d(1, channels, 15), norm)
    stages = []
    for _ in range(4):
      groups = max(1, channels // 4)
      wider = min(4 * channels, c.wave_max_channels)
      stages.append(
        nn.Conv1d(channels, wider, 41, stride=4, padding=20, groups=groups)
      )
      channels = wider
    self.stages = nn.ModuleList([_normed(stage, norm) for stage in stages])
    self.mix = _normed(nn.Conv1d(channels, channels, 5, padding=2), norm)
    self.logits = _normed(nn.Conv1d(channels, 1, 3, padding=1), norm)

  def forward(self, x):
    x = F.leaky_relu(self.first(F.pad(x, (7, 7), mode="reflect")), _LEAK)
    features = [x]
    for layer in (*self.stages, self.mix):
      x = F.leaky_relu(layer(x), _LEAK)
      features.append(x)
    return self.logits(x), features


class FrameNorm(nn.Module):
  """Layer norm of x [B, C, N, F] per time step."""

  def __init__(self, channels):
    super().__init__()
    self.scale = nn.Parameter(torch.ones(channels))
    self.bias = nn.Parameter(torch.zeros(channels))

  def forward(self, x):
    y = x - x.mean((1, 3), keepdim=True)
    y = y * torch.rsqrt(y.square().mean((1, 3), keepdim=True) + 1e-5)
    return y * self.scale[:, None, None] + self.bias[:, None, None]


class StftUnit(nn.Module):
  def __init__(self, inputs, hidden, outputs, strides, norm):
    super().__init__()
    self.strides = strides
    self.size = tuple(s + 2 for s in strides)
    self.first = _normed(nn.Conv2d(inputs, hidden, 3, padding=1), norm)
    self.second = _normed(nn.Conv2d(hidden, outputs, self.size, strides), norm)
    self.skip = _normed(nn.Conv2d(inputs, outputs, 1, strides), norm)
    layer = norm == "layer"
    self.first_norm = FrameNorm(hidden) if layer else nn.Identity()
    self.second_norm = FrameNorm(outputs) if layer else nn.Identity()

  def forward(self, x):
    y = F.leaky_relu(self.first_norm(self.first(x)), _LEAK)
    pads = []
    for axis in (1, 0):
      length, size, stride = y.shape[2 + axis], self.size[axis], self.strides
      covered = (math.ceil(length / stride[axis]) - 1) * stride[axis] + size
      total = max(0, covered - length)
      pads += [total // 2, total - total // 2]
    y = self.second(F.pad(y, pads)) + self.skip(x)
    return F.leaky_relu(self.second_norm(y), _LEAK)


class StftDiscriminator(nn.Module):
  def __init__(self, c: config_lib.Discriminator):
    super().__init__()
    self.window, self.hop = c.stft_window, c.stft_hop
    hann = spectral.hann(c.stft_window)
    self.register_buffer("hann", torch.from_numpy(hann))
    self.scale = float(np.linalg.norm(hann))
    inner = c.stft_norm
    outer = "weight" if inner == "weight" else "none"
    width = c.stft_channels
    self.first = _normed(nn.Conv2d(2, width, 7, padding=3), outer)
    inputs, bins = width, c.stft_window // 2
    self.units = nn.ModuleList()
    for strides, hidden, outputs in _STFT_UNITS:
      self.units.append(
        StftUnit(inputs, hidden * width, outputs * width, strides, inner)
      )
      inputs, bins = outputs * width, bins // strides[1]
    self.logits = _normed(nn.Conv2d(inputs, 1, (1, bins)), outer)

  def forward(self, audio):
    spectrum = torch.stft(
      audio[:, 0],
      self.window,
      self.hop,
      window=self.hann,
      center=False,
      return_complex=True,
    )[:, :-1]
    x = torch.view_as_real(spectrum / self.scale).permute(0, 3, 2, 1)
    x = F.leaky_relu(self.first(x), _LEAK)
    features = [x]
    for unit in self.units:
      x = unit(x)
      features.append(x)
    return self.logits(x), features


class Discriminators(nn.Module):
  def __init__(self, config: config_lib.Config):
    super().__init__()
    c = config.discriminator
    self.stft = StftDiscriminator(c)
    self.waves = nn.ModuleList(
      [WaveDiscriminator(c) for _ in range(c.wave_scales)]
    )

  def forward(self, audio):
    """audio [B, 1, T]; returns [(logits, features)], the STFT network first."""
    outputs = [self.stft(audio)]
    for scale, wave in enumerate(self.waves):
      if scale:
        audio = F.avg_pool1d(audio, 4, 2, padding=1, count_include_pad=False)
      outputs.append(wave(audio))
    return outputs
