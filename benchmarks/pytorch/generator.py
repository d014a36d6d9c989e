"""Encoder, residual vector quantizer and decoder. Audio is [B, 1, T]."""

import torch
import torch.nn.functional as F
from torch import nn

from soundstream_jax import config as config_lib

_DILATIONS = (1, 3, 9)


class CausalConv(nn.Conv1d):
  def forward(self, x):
    past = self.dilation[0] * (self.kernel_size[0] - 1)
    return super().forward(F.pad(x, (past + 1 - self.stride[0], 0)))


class CausalUpsample(nn.ConvTranspose1d):
  def forward(self, x):
    return super().forward(x)[:, :, : x.shape[2] * self.stride[0]]


class ResidualUnit(nn.Module):
  def __init__(self, width, kernel_size, hidden_ratio, dilation):
    super().__init__()
    hidden = max(1, round(width * hidden_ratio))
    self.dilated = CausalConv(width, hidden, kernel_size, dilation=dilation)
    self.pointwise = nn.Conv1d(hidden, width, 1)

  def forward(self, x):
    return x + self.pointwise(F.elu(self.dilated(F.elu(x))))


class Encoder(nn.Module):
  def __init__(self, m: config_lib.Model):
    super().__init__()
    width = m.encoder_channels
    self.input = CausalConv(1, width, 7)
    self.stages = nn.ModuleList()
    for stride in m.strides:
      units = [
        ResidualUnit(width, m.residual_kernel, m.residual_hidden_ratio, d)
        for d in _DILATIONS
      ]
      down = CausalConv(width, 2 * width, 2 * stride, stride=stride)
      self.stages.append(nn.ModuleList([*units, down]))
      width *= 2
    self.output = CausalConv(width, m.embedding_dim, 3)

  def forward(self, x):
    x = self.input(x)
    for *units, down in self.stages:
      for unit in units:
        x = unit(x)
      x = down(F.elu(x))
    return self.output(F.elu(x))


class Decoder(nn.Module):
  def __init__(self, m: config_lib.Model):
    super().__init__()
    width = m.decoder_channels * 2 ** len(m.strides)
    self.input = CausalConv(m.embedding_dim, width, 7)
    self.stages = nn.ModuleList()
    for stride in reversed(m.strides):
      width //= 2
      up = CausalUpsample(2 * width, width, 2 * stride, stride=stride)
      units = [
        ResidualUnit(width, m.residual_kernel, m.residual_hidden_ratio, d)
        for d in _DILATIONS
      ]
      self.stages.append(nn.ModuleList([up, *units]))
    self.output = CausalConv(width, 1, 7)

  def forward(self, x):
    x = self.input(x)
    for up, *units in self.stages:
      x = up(F.elu(x))
      for unit in units:
        x = unit(x)
    return self.output(F.elu(x))


class Quantizer(nn.Module):
  """RVQ whose codebooks follow moving averages; dropout of layers."""

  def __init__(self, q: config_lib.Quantizer, dim: int):
    super().__init__()
    self.decay = q.ema_decay
    shape = (q.num_quantizers, q.codebook_size)
    self.register_buffer("vectors", torch.zeros(*shape, dim))
    self.register_buffer("counts", torch.ones(shape))
    self.register_buffer("sums", torch.zeros(*shape, dim))

  def forward(self, latents, depths):
    """latents [B, D, F], depths [B]; returns quantized, commitment, codes."""
    x = latents.transpose(1, 2)
    residual, total = x, torch.zeros_like(x)
    commitments, codes = [], []
    for index, codebook in enumerate(self.vectors):
      with torch.no_grad():
        norms = codebook.square().sum(1)
        code = (norms - 2 * residual.detach() @ codebook.T).argmin(2)
      chosen = codebook[code]
      active = (depths > index).to(x.dtype)[:, None, None]
      commitments.append(((residual - chosen).square() * active).mean())
      if self.training:
        self._learn(index, residual.detach(), code, active)
      residual = residual - chosen
      total = total + chosen * active
      codes.append(code)
    quantized = x + (total - x).detach()
    return (
      quantized.transpose(1, 2),
      torch.stack(commitments),
      torch.stack(codes, 2),
    )

  @torch.no_grad()
  def _learn(self, index, residual, code, active):
    size = self.vectors.shape[1]
    one_hot = (F.one_hot(code, size) * active).reshape(-1, size)
    counts, sums = one_hot.sum(0), one_hot.T @ residual.flatten(0, 1)
    if counts.sum() > 0:
      self.counts[index].lerp_(counts, 1 - self.decay)
      self.sums[index].lerp_(sums, 1 - self.decay)
      seen = self.counts[index].clamp(min=1e-5)[:, None]
      self.vectors[index].copy_(self.sums[index] / seen)


class Generator(nn.Module):
  def __init__(self, config: config_lib.Config):
    super().__init__()
    self.encoder = Encoder(config.model)
    self.quantizer = Quantizer(config.quantizer, config.model.embedding_dim)
    self.decoder = Decoder(config.model)

  def forward(self, audio, depths):
    """audio [B, 1, T]; returns (audio [B, 1, T], commitment [Q], codes)."""
    latents = self.encoder(audio)
    with torch.autocast(latents.device.type, enabled=False):
      quantized, commitment, codes = self.quantizer(latents.float(), depths)
    return self.decoder(quantized), commitment, codes
