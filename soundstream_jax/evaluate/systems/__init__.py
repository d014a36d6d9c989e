"""Systems that a model is compared with: anchors, Opus, and codecs of others.

    found, missing = systems.baselines(["opus", "low_pass"])
    coded = found[0].code(audio, sample_rate_hz=24000)

SYSTEMS is the one table of those that come with the project; what they need of
the machine is asked for when it is asked for, never at import.
"""

import dataclasses
from collections.abc import Callable, Sequence

from soundstream_jax import errors
from soundstream_jax.evaluate.systems import low_pass, nolace, opus, system


@dataclasses.dataclass(frozen=True)
class Kind:
  """One line of the table: a system at all of its settings."""

  says: str  # what it is
  settings: Callable[[], Sequence[system.System]]
  missing: Callable[[], str]  # '', or why it cannot run, with the fix


SYSTEMS = {
  "low_pass": Kind(
    "sound below 3.5 and 7 kHz", low_pass.all_settings, low_pass.missing
  ),
  "opus": Kind("Opus as libopus chooses", opus.all_settings, opus.missing),
  "opus_wideband": Kind(
    "Opus forced to wideband", opus.all_wideband, opus.missing
  ),
  "opus_nolace": Kind(
    "Opus 1.5 or newer, decoded with NoLACE",
    nolace.all_settings,
    nolace.missing,
  ),
}


def baselines(
  names: Sequence[str] | None = None,
) -> tuple[list[system.System], dict[str, str]]:
  """Returns the systems that can run, and why the others cannot, by name.

  Args:
    names: of SYSTEMS, or of one setting, 'opus@6000'; None is all of them.

  Raises:
    InputError: a name that is not known.
  """
  found, missing_ = [], {}
  for name in dict.fromkeys(SYSTEMS if names is None else names):
    kind_name, _, setting = name.partition("@")
    kind = SYSTEMS.get(kind_name)
    if kind is None:
      raise errors.InputError(
        f"there is no system {name!r}.{errors.nearest(kind_name, SYSTEMS)} "
        f"Known are {', '.join(SYSTEMS)}."
      )
    if reason := kind.missing():
      missing_[kind_name] = reason
      continue
    settings = kind.settings()
    chosen = [s for s in settings if setting in ("", s.setting)]
    if not chosen:
      known = ", ".join(s.key for s in settings)
      raise errors.InputError(
        f"there is no system {name!r}. Known are {known}."
      )
    found += [s for s in chosen if s not in found]
  return found, missing_


def missing() -> dict[str, str]:
  """Returns why systems cannot run, with what mends it, by name."""
  reasons = {name: kind.missing() for name, kind in SYSTEMS.items()}
  return {name: reason for name, reason in reasons.items() if reason}
