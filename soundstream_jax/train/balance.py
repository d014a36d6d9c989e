"""Balance of the losses over a run: what a step keeps of it, and what it logs.

losses/balancer.py has the formula; without loss.balancer nothing is kept.
"""

import jax

from soundstream_jax import config as config_lib
from soundstream_jax import precision
from soundstream_jax.losses import balancer, objective


def start(config: config_lib.Config) -> balancer.Averages | None:
  """Returns the averages of a fresh state, None where the balancer is off."""
  if not config.loss.balancer:
    return None
  return balancer.start(
    list(objective.weights(config.loss, adversarial=True)),
    precision.of_parameters(config.model.compute_dtype),
  )


def update(
  config: config_lib.Config,
  averages: balancer.Averages | None,
  measured: balancer.Measured,
  *,
  adversarial: bool,
) -> balancer.Averages | None:
  """Returns the averages after a step with or without discriminators."""
  if averages is None:
    return None
  present = objective.weights(config.loss, adversarial=adversarial)
  return balancer.update(
    averages,
    {name: measured.norms[name] for name in present},
    decay=config.loss.balancer_decay,
  )


def metrics(measured: balancer.Measured) -> dict[str, jax.Array]:
  """Returns norms and shares of every loss that has a weight."""
  return balancer.metrics(measured)
