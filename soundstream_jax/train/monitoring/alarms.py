"""Alarms: a run is going wrong although every number is still finite."""

from collections.abc import Mapping

import numpy as np

# Logged steps in a row before an alarm is raised.
PATIENCE = 3

# Discriminators that are right this often no longer teach the generator.
HIGHEST_ACCURACY = 0.98

# Least share of a codebook that is in use, as perplexity over size.
LOWEST_PERPLEXITY = 0.02

# Most codes of a layer that may be dead: revival keeps up with less.
HIGHEST_DEAD = 0.5


class Alarms:
  """Turns metrics of logged steps into lines when an alarm starts or ends."""

  def __init__(self, *, codebook_size: int, learns: bool = True):
    """Starts without any.

    Args:
      codebook_size: K.
      learns: whether codebooks do, and fields of theirs are a remedy.
    """
    self._codebook_size = codebook_size
    self._learns = learns
    self._in_a_row: dict[str, int] = {}

  def update(self, metrics: Mapping[str, np.ndarray]) -> list[str]:
    """Returns a line for each alarm that starts or ends at this step."""
    lines = []
    for name, (bad, text) in self._signs(metrics).items():
      before = self._in_a_row.get(name, 0)
      self._in_a_row[name] = before + 1 if bad else 0
      if before + 1 == PATIENCE and bad:
        lines.append(f"alarm: {text}")
      if before >= PATIENCE and not bad:
        lines.append(f"alarm over: {text}")
    return lines

  def _signs(self, metrics) -> dict[str, tuple[bool, str]]:
    accuracy = float(
      metrics["discriminator/accuracy_real"]
      + metrics["discriminator/accuracy_fake"]
    )
    accuracy /= 2
    perplexity = np.asarray(metrics["codebook/perplexity"])
    least = int(np.argmin(perplexity))
    dead = np.asarray(metrics["codebook/dead"])
    most = int(np.argmax(dead))
    return {
      "accuracy": (
        accuracy > HIGHEST_ACCURACY,
        f"discriminators are right in {accuracy:.1%} of cases; at more than "
        f"{HIGHEST_ACCURACY:.0%} they teach the generator nothing. Lower "
        "optimizer.discriminator_learning_rate.",
      ),
      "perplexity": (
        perplexity[least] < LOWEST_PERPLEXITY * self._codebook_size,
        f"quantizer layer {least} has perplexity {perplexity[least]:.1f} of "
        f"{self._codebook_size}; its codebook is collapsing. Lower "
        "optimizer.learning_rate"
        + (", or quantizer.ema_decay." if self._learns else "."),
      ),
      "dead": (
        dead[most] > HIGHEST_DEAD,
        f"{dead[most]:.0%} of the codes of quantizer layer {most} are dead. "
        + (
          "Raise quantizer.revival_candidates, or the batch."
          if self._learns
          else "Lower quantizer.codebook_size, or optimizer.learning_rate."
        ),
      ),
    }
