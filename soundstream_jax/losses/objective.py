"""The only place where the weights of config.Loss apply (paper equation 6).

One function per cotangent that the train step takes. Each returns the weighted
scalar to differentiate and a flat dict of its unweighted terms, all float32
scalars. The commitment term is ours: equation 6 has none.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from soundstream_jax import config, precision
from soundstream_jax.losses import adversarial as gan
from soundstream_jax.losses import spectral, waveform

Metrics = dict[str, jax.Array]


def reconstruction(
  weights: config.Loss,
  sample_rate_hz: int,
  target: jax.Array,
  prediction: jax.Array,
) -> tuple[jax.Array, Metrics]:
  """Weighted spectral loss of waveforms [B, T, 1], and its two terms.

  With waveform_weight, the error of the waveform too.

  Raises:
    ValueError: the audio is shorter than the longest window.
  """
  terms = spectral.distance(
    target,
    prediction,
    sample_rate_hz=sample_rate_hz,
    windows=weights.spectral_windows,
    mel_bins=weights.mel_bins,
  )
  total = weights.reconstruction_weight * terms.total
  metrics = {
    "loss/reconstruction": terms.total,
    "loss/reconstruction_linear": terms.linear,
    "loss/reconstruction_log": terms.log,
  }
  if weights.waveform_weight:
    error = waveform.log_error(target, prediction)
    total += weights.waveform_weight * error
    metrics["loss/waveform"] = error
  return total, metrics


def adversarial(
  weights: config.Loss, real: Sequence[gan.Output], fake: Sequence[gan.Output]
) -> tuple[jax.Array, Metrics]:
  """Weighted generator hinge plus feature loss, one output per discriminator.

  Gradients flow into `fake` alone.
  """
  hinge = gan.generator_hinge(fake)
  feature = gan.feature_distance(real, fake)
  total = weights.adversarial_weight * hinge + weights.feature_weight * feature
  return total, {"loss/adversarial": hinge, "loss/feature": feature}


def discriminator(
  real: Sequence[gan.Output], fake: Sequence[gan.Output]
) -> tuple[jax.Array, Metrics]:
  """Hinge loss of the discriminators, and how often each side is right."""
  loss = gan.discriminator_hinge(real, fake)
  return loss, {
    "loss/discriminator": loss,
    "discriminator/accuracy_real": gan.share_positive(real),
    "discriminator/accuracy_fake": 1.0 - gan.share_positive(fake),
  }


def commitment(
  weights: config.Loss, per_layer: jax.Array
) -> tuple[jax.Array, Metrics]:
  """Weighted mean over quantizers of their commitment errors [Q].

  A mean: the weight does not depend on the number of quantizers.
  """
  loss = jnp.mean(precision.widened(per_layer))
  return weights.commitment_weight * loss, {"loss/commitment": loss}
