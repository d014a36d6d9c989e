"""What one clip costs: a system codes it, and metrics compare.

It is done in worker processes, so nothing here loads jax.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from soundstream_jax import console, errors, metrics
from soundstream_jax.audio import wav
from soundstream_jax.evaluate.systems import system as system_lib


@dataclasses.dataclass(frozen=True)
class Task:
  """One system and one clip; can be pickled.

  Attributes:
    key: of the system.
    clip: its name.
    reference: float32 [T].
    sample_rate_hz: of it.
    metrics: names of those to measure.
    system: that codes the clip; None where `output` is there.
    output: float32 [T], what a system made of it.
    sound: where the output is written to; '' nowhere.
  """

  key: str
  clip: str
  reference: np.ndarray
  sample_rate_hz: int
  metrics: tuple[str, ...]
  system: system_lib.System | None = None
  output: np.ndarray | None = None
  sound: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
  """What came of a task.

  Attributes:
    key, clip: of the task.
    payload_bits, entropy_bits: of a system that coded here.
    values: metric -> number; None where there is none.
    missing: metric -> why there is none.
    failed: why nothing could be measured, which is worth another try; ''.
  """

  key: str
  clip: str
  payload_bits: int | None = None
  entropy_bits: int | None = None
  values: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
  missing: Mapping[str, str] = dataclasses.field(default_factory=dict)
  failed: str = ""


def perform(task: Task, table: Mapping[str, metrics.Metric]) -> Result:
  """Does a task.

  Args:
    task: what to do.
    table: of metrics, with a user's own.

  Raises:
    DiskError, InputError: the sound cannot be written.
  """
  coded = system_lib.Coded(task.output)
  if task.system is not None:
    try:
      coded = task.system.code(
        task.reference, sample_rate_hz=task.sample_rate_hz
      )
    except errors.InputError as error:
      return failed(task, console.line(error))
    except Exception as error:
      return failed(task, console.line(f"{type(error).__name__}: {error}"))
  output = np.asarray(coded.audio, np.float32)
  if output.shape != task.reference.shape:
    return failed(
      task,
      f"{task.key} made {output.shape} samples of {task.reference.shape}",
    )
  if not np.isfinite(output).all():
    return failed(task, f"what {task.key} made is not finite")
  if task.sound:
    path = pathlib.Path(task.sound)
    with errors.writing(path.name, path.parent):
      os.makedirs(path.parent, exist_ok=True)
    wav.write(path, output, task.sample_rate_hz)
  values, missing = {}, {}
  for name in task.metrics:
    values[name], why = metrics.measure_clip(
      name,
      task.reference,
      output,
      sample_rate_hz=task.sample_rate_hz,
      table=table,
    )
    if why:
      missing[name] = why
  return Result(
    key=task.key,
    clip=task.clip,
    payload_bits=coded.payload_bits,
    entropy_bits=coded.entropy_bits,
    values=values,
    missing=missing,
  )


def failed(task: Task, why: str) -> Result:
  """Returns a result without any value."""
  return Result(
    key=task.key,
    clip=task.clip,
    values=dict.fromkeys(task.metrics),
    missing=dict.fromkeys(task.metrics, why),
    failed=why,
  )
