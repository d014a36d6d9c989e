"""Copies the parameters of our modules into those of PyTorch."""

import numpy as np
import torch
from torch import nn

from benchmarks.pytorch import discriminators, generator


def load_generator(module: generator.Generator, params, vectors) -> None:
  """Fills the generator with our parameters and codebooks [Q, K, D]."""
  _load_half(module.encoder, params["encoder"])
  _load_half(module.decoder, params["decoder"])
  with torch.no_grad():
    module.quantizer.vectors.copy_(_tensor(vectors))
    module.quantizer.sums.copy_(_tensor(vectors))


def load_discriminators(module: discriminators.Discriminators, params) -> None:
  """Fills the discriminators with our parameters."""
  stft = params["stft"]
  _load_conv(module.stft.first, stft["first"])
  _load_conv(module.stft.logits, stft["logits"])
  for index, unit in enumerate(module.stft.units):
    ours = stft[f"unit_{index}"]
    for name in ("first", "second", "skip"):
      _load_conv(getattr(unit, name), ours[name])
    for name in ("first_norm", "second_norm"):
      if name in ours:
        with torch.no_grad():
          getattr(unit, name).scale.copy_(_tensor(ours[name]["scale"]))
          getattr(unit, name).bias.copy_(_tensor(ours[name]["bias"]))
  for scale, wave in enumerate(module.waves):
    ours = params[f"wave_{scale}"]
    for name in ("first", "mix", "logits"):
      _load_conv(getattr(wave, name), ours[name])
    for index, stage in enumerate(wave.stages):
      _load_conv(stage, ours[f"stage_{index}"])


def _load_half(half, params):
  _load_conv(half.input, params["input"])
  _load_conv(half.output, params["output"])
  for index, stage in enumerate(half.stages):
    if isinstance(half, generator.Decoder):
      change, *units = stage
      ours = params[f"stage{index}_up"]
    else:
      *units, change = stage
      ours = params[f"stage{index}_down"]
    _load_conv(change, ours)
    for number, unit in enumerate(units):
      ours = params[f"stage{index}_unit{number}"]
      _load_conv(unit.dilated, ours["dilated"])
      _load_conv(unit.pointwise, ours["pointwise"])


def _load_conv(conv, ours):
  """Kernels [*k, in, out] become [out, in, *k]; transposed, [in, out, k]."""
  kernel = np.asarray(ours["kernel"])
  if isinstance(conv, nn.ConvTranspose1d):
    kernel = kernel.transpose(1, 2, 0)
  else:
    kernel = np.moveaxis(np.moveaxis(kernel, -1, 0), -1, 1)
  with torch.no_grad():
    if "scale" in ours:
      magnitude, direction = (
        conv.parametrizations.weight.original0,
        conv.parametrizations.weight.original1,
      )
      direction.copy_(_tensor(kernel))
      magnitude.copy_(_tensor(ours["scale"]).reshape(magnitude.shape))
    else:
      conv.weight.copy_(_tensor(kernel))
    conv.bias.copy_(_tensor(ours["bias"]))


def _tensor(array):
  return torch.from_numpy(np.array(array))
