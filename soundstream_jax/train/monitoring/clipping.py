"""Share of steps whose gradients were clipped, between two lines of the log.

A line of metrics is of one step alone, which says little about how often. Every
step's norms are compared with what they were clipped to, on the host.
"""

from collections.abc import Mapping

import numpy as np

from soundstream_jax import config as config_lib

_NETWORKS = ("generator", "discriminator")


class Clipping:
  """Counts steps since the last one that is logged, of one start."""

  def __init__(self, config: config_lib.Config):
    self._every_steps = config.logging.every_steps
    self._clip_norm = config.optimizer.clip_norm or np.inf
    self._clips = bool(
      config.optimizer.clip_norm or config.optimizer.clip_to_median
    )
    self._seen: list[dict[str, bool]] = []

  def add(self, metrics: Mapping[str, np.ndarray], *, good: bool) -> None:
    """Takes a step's norms; those of a bad step clipped nothing."""
    self._seen.append(self._clipped(metrics) if good and self._clips else {})

  def take(self, step: int) -> dict[str, float]:
    """Returns "gradient_clipped/NETWORK", from 0 to 1, and starts anew.

    Of the steps since the last multiple of logging.every_steps in which the
    network had a gradient; nothing where there was none, or where this start
    has not seen them all: a resumed run logs what an uninterrupted one does.

    Args:
      step: that is logged.
    """
    seen, self._seen = self._seen, []
    if len(seen) != (step - 1) % self._every_steps + 1:
      return {}
    found = {name: [s[name] for s in seen if name in s] for name in _NETWORKS}
    return {
      f"gradient_clipped/{name}": float(np.mean(clipped))
      for name, clipped in found.items()
      if clipped
    }

  def _clipped(self, metrics) -> dict[str, bool]:
    clipped = {}
    for name in _NETWORKS:
      norm = float(metrics[f"gradient_norm/{name}"])
      limit = float(metrics.get(f"gradient_limit/{name}", self._clip_norm))
      if norm:
        clipped[name] = norm > limit
    return clipped
