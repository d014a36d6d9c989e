"""Resume rule: which fields may differ when a workdir is resumed."""

from collections.abc import Mapping
from typing import Any

from soundstream_jax.settings import constraints, fields

# Everything else decides what is learnt, and a difference there stops the run.
# Datasets may lie elsewhere as long as their weights stay; and num_steps may not
# differ where the learning rate ends with it (`may_change`).
MAY_CHANGE = (
  "num_steps",
  "microbatches",
  "rematerialise",
  "form",
  "train_dtype",
  "compilation_cache",
  "profile_steps",
  "watchdog_abort",
  "max_bad_steps",
  "max_rollbacks",
  "init_from",
  "mesh.*",
  "logging.*",
  "evaluation.*",
  "checkpoint.*",
  "data.num_workers",
  "data.num_threads",
  "data.prefetch_batches",
)


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Returns 'field: saved -> now' for every field that must not have changed.

  MAY_CHANGE lists the rest. Paths of datasets may change; their number and
  weights may not.

  Args:
    saved: of `config.to_dict`, as the workdir has it.
    now: likewise, as this process would train.
  """
  before, after = fields.flatten(saved), fields.flatten(now)
  for flat in (before, after):
    for name in constraints.SOURCES:
      datasets = constraints.parse_sources(flat[name], name=name)
      flat[name] = [weight for _, weight in datasets]
  return [
    f"{key}: {before[key]} -> {after[key]}{_why(key)}"
    for key in before
    if before[key] != after[key] and not may_change(key, before)
  ]


def _why(key: str) -> str:
  ends_there = " (optimizer.schedule=cosine ends there)"
  return ends_there if key == "num_steps" else ""


def may_change(key: str, saved: Mapping[str, Any] | None = None) -> bool:
  """Returns whether a field may differ on resume.

  Args:
    key: dotted name of the field.
    saved: dotted name -> value, as the workdir has them; None is any that knows
      no schedule up to num_steps.
  """
  if key == "num_steps" and (saved or {}).get("optimizer.schedule") == "cosine":
    return False  # the rates so far were those of another end
  return any(
    key == free or (free.endswith(".*") and key.startswith(free[:-1]))
    for free in MAY_CHANGE
  )
