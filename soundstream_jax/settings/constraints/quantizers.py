"""Constraints on the quantizer."""

import dataclasses
from typing import Any

from soundstream_jax import errors
from soundstream_jax.settings.constraints import rules


@dataclasses.dataclass(frozen=True)
class Traits:
  """Which fields a kind reads."""

  learns: bool = True  # codebooks: k-means, moving averages, revival
  code_dim: bool = False


# One for each kind of model/quantizers/.
KINDS = {
  "ema": Traits(),
  "low_dim": Traits(code_dim=True),
  "fsq": Traits(learns=False),
}

# Of the field, where no kind reads it.
_CODE_DIM = 8


def check(config: Any) -> None:
  """Refuses quantizers that cannot be built, and fields that do nothing."""
  q, dim = config.quantizer, config.model.embedding_dim
  rules.one_of(config, "quantizer.kind", tuple(KINDS))
  rules.at_least(config, "quantizer.code_dim", 1)
  if not KINDS[q.kind].code_dim and q.code_dim != _CODE_DIM:
    those = " or ".join(name for name, has in KINDS.items() if has.code_dim)
    raise errors.InputError(
      f"quantizer.code_dim={q.code_dim} does nothing with quantizer.kind="
      f"{q.kind}. Leave it at {_CODE_DIM}, or use quantizer.kind={those}."
    )
  if KINDS[q.kind].code_dim and q.code_dim > dim:
    raise errors.InputError(
      f"quantizer.code_dim={q.code_dim} is above model.embedding_dim={dim}, "
      f"which codes are projected from. Use {dim} or less."
    )
  for name in ("dropout_probability", "bypass_probability"):
    if not 0 <= getattr(q, name) <= 1:
      raise errors.InputError(
        f"quantizer.{name}={getattr(q, name)} must be in [0, 1], for example "
        "0.5."
      )
  wrong = [d for d in q.dropout_depths if not 1 <= d <= q.num_quantizers]
  if wrong:
    raise errors.InputError(
      f"quantizer.dropout_depths={q.dropout_depths} has {wrong[0]}, and depths "
      f"are 1 to quantizer.num_quantizers={q.num_quantizers}. Leave it out."
    )
