"""The spectral loss and one GAN step.

A step judges real and decoded audio once to teach the discriminators and once
more, after their update, to teach the generator; the discriminators' own
gradients are not computed the second time.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.pytorch import discriminators, generator
from soundstream_jax import config as config_lib
from soundstream_jax.audio import spectral


class SpectralLoss(nn.Module):
  def __init__(self, config: config_lib.Config):
    super().__init__()
    windows, bins = config.loss.spectral_windows, config.loss.bins_of_windows
    self.bins = dict(zip(windows, bins, strict=True))
    rate = config.audio.sample_rate_hz
    for window in windows:
      mel = spectral.mel_filterbank(rate, window, self.bins[window])
      self.register_buffer(f"mel_{window}", torch.from_numpy(mel.T.copy()))
      hann = torch.from_numpy(spectral.hann(window))
      self.register_buffer(f"hann_{window}", hann)

  def forward(self, target, prediction):
    """target, prediction [B, 1, T]; linear plus log term, over all windows."""
    total = 0.0
    for window, bins in self.bins.items():
      with torch.no_grad():
        expected = self._mel(target, window)
      actual = self._mel(prediction, window)
      squares = (expected.log() - actual.log()).square().mean(1)
      weight = math.sqrt(window / 2 / bins)
      root = squares / ((squares + 1e-12).sqrt() + 1e-6)
      total = total + (expected - actual).abs().mean() + weight * root.mean()
    return total

  def _mel(self, audio, window):
    spectrum = torch.stft(
      audio[:, 0],
      window,
      window // 4,
      window=getattr(self, f"hann_{window}"),
      center=False,
      return_complex=True,
    )
    power = torch.view_as_real(spectrum).square().sum(3)
    magnitude = (power + spectral.POWER_FLOOR).sqrt()
    return getattr(self, f"mel_{window}") @ magnitude


@dataclasses.dataclass
class Trainer:
  """Both networks with their optimizers; `step` is one GAN step."""

  config: config_lib.Config
  device: str = "cpu"

  def __post_init__(self):
    c = self.config
    self.generator = generator.Generator(c).to(self.device)
    self.discriminators = discriminators.Discriminators(c).to(self.device)
    self.spectral = SpectralLoss(c).to(self.device)
    betas = (c.optimizer.beta1, c.optimizer.beta2)
    self.optimizer = torch.optim.Adam(
      self.generator.parameters(), c.optimizer.learning_rate, betas
    )
    self.disc_optimizer = torch.optim.Adam(
      self.discriminators.parameters(),
      c.optimizer.discriminator_learning_rate,
      betas,
    )
    self.average = [p.detach().clone() for p in self.generator.parameters()]

  def compile(self):
    """torch.compile of all networks and of the spectral loss, on first use."""
    for module in (self.generator, self.discriminators, self.spectral):
      module.compile()

  def lower_precision(self):
    """The context in which convolutions compute in training."""
    dtype = self.config.dtype_in_training
    return torch.autocast(
      self.device, torch.bfloat16, enabled=dtype == "bfloat16"
    )

  def generate(self, audio, depths):
    with self.lower_precision():
      recon, commitment, _ = self.generator(audio, depths)
    return recon.float(), commitment

  def judge(self, audio):
    with self.lower_precision():
      outputs = self.discriminators(audio)
    return [(a.float(), [b.float() for b in rest]) for a, rest in outputs]

  def step(self, audio, depths):
    """audio [B, 1, T] float32, depths int64 [B]; returns the two losses."""
    weights, clip = self.config.loss, self.config.optimizer.clip_norm
    recon, commitment = self.generate(audio, depths)

    self.disc_optimizer.zero_grad(set_to_none=True)
    outputs = self.judge(torch.cat([audio, recon.detach()]))
    disc_loss = 0.0
    for logits, _ in outputs:
      real, fake = logits.chunk(2)
      disc_loss = disc_loss + F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    disc_loss = disc_loss / len(outputs)
    disc_loss.backward()
    nn.utils.clip_grad_norm_(self.discriminators.parameters(), clip)
    self.disc_optimizer.step()

    self.optimizer.zero_grad(set_to_none=True)
    self.discriminators.requires_grad_(False)
    with torch.no_grad():
      real_outputs = self.judge(audio)
    adversarial = feature = 0.0
    for (_, real), (logits, fake) in zip(
      real_outputs, self.judge(recon), strict=True
    ):
      adversarial = adversarial + F.relu(1 - logits).mean()
      distances = [
        (a - b).abs().mean() for a, b in zip(real, fake, strict=True)
      ]
      feature = feature + sum(distances) / len(distances)
    loss = (
      weights.reconstruction_weight * self.spectral(audio, recon)
      + weights.commitment_weight * commitment.mean()
      + weights.adversarial_weight * adversarial / len(outputs)
      + weights.feature_weight * feature / len(outputs)
    )
    loss.backward()
    self.discriminators.requires_grad_(True)
    nn.utils.clip_grad_norm_(self.generator.parameters(), clip)
    self.optimizer.step()
    with torch.no_grad():
      torch._foreach_lerp_(
        self.average,
        list(self.generator.parameters()),
        1 - self.config.optimizer.ema_decay,
      )
    return loss.detach(), disc_loss.detach()
