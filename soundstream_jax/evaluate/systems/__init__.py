"""Systems that a model is compared with: anchors, Opus, and codecs of others.

    found, missing = systems.baselines(["opus", "low_pass"], ["mine.yaml"])
    coded = found[0].code(audio, sample_rate_hz=24000)

SYSTEMS is the one table of those that come with the project; what they need of
the machine is asked for when it is asked for, never at import.
"""

import dataclasses
from collections.abc import Callable, Sequence

from soundstream_jax import errors
from soundstream_jax.evaluate.systems import (
  codec_file,
  commands,
  low_pass,
  nolace,
  opus,
  system,
)


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

# What else results are named after: the model itself, and its original.
RESERVED = (*SYSTEMS, "model", "original")


def baselines(
  names: Sequence[str] | None = None,
  codec_files: Sequence[str] = (),
) -> tuple[list[system.System], dict[str, str]]:
  """Returns the systems that can run, and why the others cannot, by name.

  Args:
    names: of SYSTEMS, or of one setting, 'opus@6000'; None is all of them.
    codec_files: each with a codec of two commands, as `codec_file` has it.

  Raises:
    InputError: a name that is not known or taken, or a file that is wrong.
  """
  # Files first: what is wrong in them shows before any program runs.
  codecs = {}
  for path in codec_files:
    codec = codec_file.read(path)
    name = codec[0].name
    if name in RESERVED or name in codecs:
      raise errors.InputError(
        f"{path}: name {name!r} is taken. Use another name."
      )
    codecs[name] = codec
  found, missing_ = [], {}
  for name in dict.fromkeys(SYSTEMS if names is None else names):
    settings, reason = _of(name)
    if reason:
      missing_[name.partition("@")[0]] = reason
    found += [s for s in settings if s not in found]
  for name, codec in codecs.items():
    if reason := commands.missing(codec[0]):
      missing_[name] = reason
    else:
      found += codec
  return found, missing_


def missing() -> dict[str, str]:
  """Returns why systems cannot run, with what mends it, by name."""
  reasons = {name: kind.missing() for name, kind in SYSTEMS.items()}
  return {name: reason for name, reason in reasons.items() if reason}


def _of(name: str) -> tuple[list[system.System], str]:
  """Returns (the systems that a name stands for, why there are none).

  Raises:
    InputError: it stands for none.
  """
  kind_name, _, setting = name.partition("@")
  kind = SYSTEMS.get(kind_name)
  if kind is None:
    raise errors.InputError(
      f"there is no system {name!r}.{errors.nearest(kind_name, SYSTEMS)} "
      f"Known are {', '.join(SYSTEMS)}."
    )
  if reason := kind.missing():
    return [], reason
  settings = kind.settings()
  chosen = [s for s in settings if setting in ("", s.setting)]
  if not chosen:
    known = ", ".join(s.key for s in settings)
    raise errors.InputError(f"there is no system {name!r}. Known are {known}.")
  return chosen, ""
