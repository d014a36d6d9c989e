"""The only place where the weights of config.Loss apply (paper equation 6).

A schedule makes a weight a function of the step: `factors` has what it is
multiplied by, and is empty where all weights stay.

One function per cotangent that the train step takes. Each returns the weighted
scalar to differentiate and a flat dict of its unweighted terms, all float32
scalars. The commitment term is ours: equation 6 has none.

A new loss is a module of its own and one line of RECONSTRUCTION, or of
ADVERSARIAL where it compares outputs of discriminators; a weight that a user
may set is a field `*_weight` of config.Loss.
"""

import dataclasses
import functools
import operator
import types
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from soundstream_jax import config, precision
from soundstream_jax.losses import adversarial as gan
from soundstream_jax.losses import complex_stft, schedule, spectral, waveform

Metrics = dict[str, jax.Array]
# Loss -> what a schedule multiplies its weight by, a scalar.
Factors = Mapping[str, jax.Array]
CONSTANT: Factors = types.MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Term:
  """One loss of the generator."""

  weight: Callable[[config.Loss], float]
  # In RECONSTRUCTION (config.Loss, sample rate in Hz, target and prediction
  # [B, T, 1]) to metrics, of which the term's own is differentiated; in
  # ADVERSARIAL (real, fake), outputs of the discriminators, to a scalar.
  measure: Callable
  optional: bool = True  # not computed where its weight is 0
  fades: bool = False  # by loss.waveform_fade


def _spectral(
  weights: config.Loss,
  sample_rate_hz: int,
  target: jax.Array,
  prediction: jax.Array,
) -> Metrics:
  terms = spectral.distance(
    target,
    prediction,
    sample_rate_hz=sample_rate_hz,
    windows=weights.spectral_windows,
    mel_bins=weights.bins_of_windows,
    log_floor=weights.log_floor,
  )
  return {
    "loss/reconstruction": terms.weighted(
      weights.linear_weight, weights.log_weight
    ),
    "loss/reconstruction_linear": terms.linear,
    "loss/reconstruction_log": terms.log,
  }


def _waveform(weights, sample_rate_hz, target, prediction) -> Metrics:
  del weights, sample_rate_hz
  return {"loss/waveform": waveform.log_error(target, prediction)}


def _complex(weights, sample_rate_hz, target, prediction) -> Metrics:
  error = complex_stft.log_error(
    target,
    prediction,
    sample_rate_hz=sample_rate_hz,
    windows=weights.spectral_windows,
  )
  return {"loss/complex": error}


# Name of the metric -> loss of the reconstructed audio.
RECONSTRUCTION = {
  "loss/reconstruction": Term(
    lambda weights: weights.reconstruction_weight, _spectral, optional=False
  ),
  "loss/waveform": Term(
    lambda weights: weights.waveform_weight, _waveform, fades=True
  ),
  "loss/complex": Term(
    lambda weights: weights.complex_weight, _complex, fades=True
  ),
}

# Name of the metric -> loss of the generator by its discriminators' outputs.
ADVERSARIAL = {
  "loss/adversarial": Term(
    lambda weights: weights.adversarial_weight,
    lambda real, fake: gan.generator_hinge(fake),
  ),
  "loss/feature": Term(
    lambda weights: weights.feature_weight, gan.feature_distance
  ),
}

# Name of the metric -> measurement of the discriminators; they learn the first.
DISCRIMINATOR = {
  "loss/discriminator": gan.discriminator_hinge,
  "discriminator/accuracy_real": lambda real, fake: gan.share_positive(real),
  "discriminator/accuracy_fake": (
    lambda real, fake: 1.0 - gan.share_positive(fake)
  ),
}


def weights(settings: config.Loss, *, adversarial: bool) -> dict[str, float]:
  """Returns the weights above 0 of the losses that see the decoded audio.

  Args:
    adversarial: whether those that need discriminators are among them.
  """
  terms = RECONSTRUCTION | (ADVERSARIAL if adversarial else {})
  found = {name: term.weight(settings) for name, term in terms.items()}
  return {name: weight for name, weight in found.items() if weight}


def factors(settings: config.Config, step: jax.Array) -> dict[str, jax.Array]:
  """Returns loss -> factor of its weight, of the losses that have a schedule.

  Args:
    settings: whose weights above 0 and schedules count.
    step: int32, finished steps.
  """
  loss = settings.loss
  dtype = precision.of_parameters(settings.model.compute_dtype)
  found = {}
  for name in weights(loss, adversarial=True):
    if name in ADVERSARIAL and loss.adversarial_ramp_steps:
      found[name] = schedule.rise(
        step,
        start=settings.discriminator.start_step,
        steps=loss.adversarial_ramp_steps,
        dtype=dtype,
      )
    elif name in RECONSTRUCTION and RECONSTRUCTION[name].fades:
      first, last = loss.waveform_fade
      if last:
        found[name] = schedule.fall(step, first=first, last=last, dtype=dtype)
  return found


def scheduled(
  weights: Mapping[str, float], factors: Factors
) -> dict[str, float | jax.Array]:
  """Returns weights times their factors; those without are what they were."""
  return {
    name: weight * factors[name] if name in factors else weight
    for name, weight in weights.items()
  }


def reconstruction(
  weights: config.Loss,
  sample_rate_hz: int,
  target: jax.Array,
  prediction: jax.Array,
  factors: Factors = CONSTANT,
) -> tuple[jax.Array, Metrics]:
  """Weighted losses of waveforms [B, T, 1], and their terms.

  Raises:
    ValueError: the audio is shorter than the longest window.
  """
  total, metrics = None, {}
  for name, term in RECONSTRUCTION.items():
    weight = term.weight(weights)
    if term.optional and not weight:
      continue
    metrics |= term.measure(weights, sample_rate_hz, target, prediction)
    weighted = scheduled({name: weight}, factors)[name] * metrics[name]
    total = weighted if total is None else total + weighted
  return total, metrics


def adversarial(
  weights: config.Loss,
  real: Sequence[gan.Output],
  fake: Sequence[gan.Output],
  factors: Factors = CONSTANT,
) -> tuple[jax.Array, Metrics]:
  """Weighted generator hinge plus feature loss, one output per discriminator.

  Gradients flow into `fake` alone, and of a loss whose weight is 0 there are
  none; it is measured all the same.
  """
  metrics = {n: term.measure(real, fake) for n, term in ADVERSARIAL.items()}
  found = {n: term.weight(weights) for n, term in ADVERSARIAL.items()}
  weighted = [
    weight * metrics[name]
    for name, weight in scheduled(found, factors).items()
    if found[name]
  ]
  nothing = jnp.zeros_like(metrics["loss/adversarial"])
  return functools.reduce(operator.add, weighted or [nothing]), metrics


def discriminator(
  real: Sequence[gan.Output], fake: Sequence[gan.Output]
) -> tuple[jax.Array, Metrics]:
  """Hinge loss of the discriminators, and how often each side is right."""
  metrics = {name: of(real, fake) for name, of in DISCRIMINATOR.items()}
  return metrics["loss/discriminator"], metrics


def without_discriminators(dtype: jax.typing.DTypeLike) -> Metrics:
  """Returns the metrics that need discriminators as zeros of a dtype."""
  names = (*ADVERSARIAL, *DISCRIMINATOR)
  return {name: jnp.zeros((), dtype) for name in names}


def commitment(
  weights: config.Loss, per_layer: jax.Array
) -> tuple[jax.Array, Metrics]:
  """Weighted mean over quantizers of their commitment errors [Q].

  A mean: the weight does not depend on the number of quantizers.
  """
  loss = jnp.mean(precision.widened(per_layer))
  return weights.commitment_weight * loss, {"loss/commitment": loss}
