"""Layout of a workdir: its checkpoints by step, their meta, pins, config.json.

    WORKDIR/config.json            the run's configuration
    WORKDIR/checkpoints/STEP/      params, ema_params, codebooks, trainer, meta
    WORKDIR/pins/STEP              a checkpoint that is never pruned

`params`, `ema_params` and `codebooks` are items of their own, so that a codec
reads them without knowing the optimizers. `meta` is JSON: format version,
configuration, data position, rollbacks so far and, where the step was
validated, the means of its held-out metrics. `sums.sha256` in a step's
folder tells damage. Reading a checkpoint never runs code.
"""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from soundstream_jax import config as config_lib
from soundstream_jax import errors, whole_files
from soundstream_jax.checkpoint import integrity

FORMAT_VERSION = 2
ITEMS = ("params", "ema_params", "codebooks", "trainer", "meta")


def write_config(workdir, config: config_lib.Config) -> None:
  """Writes WORKDIR/config.json, whole or not at all."""
  text = json.dumps(config_lib.to_dict(config), indent=2) + "\n"
  whole_files.write(pathlib.Path(workdir) / "config.json", text)


def read_config(workdir) -> dict[str, Any] | None:
  """Returns the saved configuration's dict, None where there is none.

  Raises:
    InputError: the file is not JSON.
  """
  path = pathlib.Path(workdir) / "config.json"
  if not path.is_file():
    return None
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise errors.InputError(
      f"{path} is not valid JSON ({error}). Restore it from a checkpoint's "
      "meta, or start a new workdir."
    ) from None


def steps(workdir) -> list[int]:
  """Returns the steps of finished checkpoints, ascending."""
  return [
    step
    for step in steps_on_disk(workdir)
    if (of_step(workdir, step) / "meta").is_dir()
  ]


def steps_on_disk(workdir) -> list[int]:
  """Returns the steps that have a folder, damaged or not, ascending."""
  return sorted(_numbers(pathlib.Path(workdir) / "checkpoints"))


def damage(workdir, step: int, *, items: Sequence[str] = ITEMS) -> str | None:
  """Returns what is wrong with the items of a checkpoint, or None."""
  path = of_step(workdir, step)
  for item in items:
    if not (path / item).is_dir():
      return f"{item} is missing"
  return integrity.damage(path, items=items)


def of_step(workdir, step: int) -> pathlib.Path:
  """Returns the folder of a checkpoint, whether it exists or not."""
  return pathlib.Path(workdir).absolute() / "checkpoints" / str(step)


def read_meta(workdir, step: int) -> dict[str, Any]:
  """Returns a checkpoint's meta item.

  Raises:
    InputError: another format version.
  """
  path = of_step(workdir, step) / "meta/metadata"
  meta = json.loads(path.read_text())
  if meta.get("format_version") != FORMAT_VERSION:
    raise errors.InputError(
      f"{path.parent.parent} has checkpoint format "
      f"{meta.get('format_version')}; this version reads {FORMAT_VERSION}."
    )
  return meta


def check_step(workdir, step: int) -> None:
  """Raises InputError, with the steps that are present, without the step."""
  present = steps(workdir)
  if step not in present:
    raise errors.InputError(
      f"{workdir} has no checkpoint of step {step}. Present: "
      f"{', '.join(map(str, present)) or 'none'}."
    )


def pin(workdir, step: int) -> None:
  """Keeps a checkpoint for ever.

  Raises:
    InputError: there is no such checkpoint.
  """
  check_step(workdir, step)
  pins = pathlib.Path(workdir) / "pins"
  pins.mkdir(exist_ok=True)
  (pins / str(step)).touch()


def unpin(workdir, step: int) -> None:
  """Lets a checkpoint be pruned again."""
  (pathlib.Path(workdir) / "pins" / str(step)).unlink(missing_ok=True)


def pinned(workdir) -> set[int]:
  """Returns the pinned steps."""
  return set(_numbers(pathlib.Path(workdir) / "pins"))


def _numbers(parent: pathlib.Path) -> Iterator[int]:
  """Yields the names below a folder that are numbers; none without it."""
  if parent.is_dir():
    for path in parent.iterdir():
      if path.name.isdecimal():
        yield int(path.name)
