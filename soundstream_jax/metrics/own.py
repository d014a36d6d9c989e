"""Metrics of a user's own: functions in a Python file that a flag names.

One function is enough:

    import numpy as np

    def snr_db(reference, output, sample_rate_hz):
      '''Signal-to-noise ratio; higher is better.'''
      noise = reference - output
      return 10 * np.log10(np.mean(reference**2) / np.mean(noise**2))

It takes one clip, twice [T] float32, and returns a number; where it raises, the
clip has a missing value with that reason. Its name is the metric's, its
docstring's first line the title and the direction. Every function of the file
whose name has no underscore in front is a metric, unless METRICS names those
that are, with what else is to be said of them, all of it optional:

    METRICS = {"snr_db": {"unit": "dB", "low": -30, "high": 100}}

The fields are those of `metric.Metric`: title, column, unit, decimals,
higher_is_better, sample_rate_hz (the clips are brought to it), classes, low,
high.
"""

import functools
import hashlib
import importlib.util
import inspect
import os
import pathlib
import re

import numpy as np

from soundstream_jax import console, errors, metrics, paths
from soundstream_jax.metrics import clips
from soundstream_jax.metrics import metric as metric_lib

_FIELDS = {
  "title": str,
  "column": str,
  "unit": str,
  "decimals": int,
  "higher_is_better": bool,
  "sample_rate_hz": int,
  "classes": tuple,
  "low": float,
  "high": float,
}
_DIRECTION = re.compile(r"\b(higher|lower) is better\b", re.IGNORECASE)


def load(
  path: str | os.PathLike, *, flag: str = "--metric_file"
) -> dict[str, metric_lib.Metric]:
  """Returns name -> metric of a file; its code is run.

  Args:
    path: of the file.
    flag: that named it, for errors.

  Raises:
    InputError: it cannot be read or run, or does not keep to the contract.
  """
  where = f"{flag}={console.shown(path)}"
  path = pathlib.Path(path)
  if not paths.readable(where, path):
    raise errors.InputError(f"{where}: there is no such file.")
  if path.suffix != ".py" or path.is_dir():
    raise errors.InputError(f"{where} is not a Python file (.py).")
  with errors.reading(where):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
  module = _run(where, path)
  functions = {
    name: value
    for name, value in vars(module).items()
    if inspect.isfunction(value)
    and value.__module__ == module.__name__
    and not name.startswith("_")
  }
  told = getattr(module, "METRICS", {key: {} for key in functions})
  if not isinstance(told, dict) or not told:
    raise errors.InputError(
      f"{where} has no metric. Define a function (reference, output, "
      "sample_rate_hz) with a docstring, or METRICS = {'its_name': {}}."
    )
  return {
    name: _metric(f"{where}: {name}", name, functions, fields, digest)
    for name, fields in told.items()
  }


def _run(where: str, path: pathlib.Path):
  """Returns the file as a module."""
  spec = importlib.util.spec_from_file_location("soundstream_own_metrics", path)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except SyntaxError as error:
    raise errors.InputError(
      f"{where}: line {error.lineno} is not Python ({error.msg})."
    ) from None
  except Exception as error:
    raise errors.InputError(
      f"{where} cannot be run ({type(error).__name__}: {error}). Run it with "
      "python to see where."
    ) from error
  return module


def _metric(where, name, functions, fields, digest) -> metric_lib.Metric:
  """Returns one entry of the table."""
  if name in metrics.METRICS:
    raise errors.InputError(
      f"{where} is the name of a metric that there is already. Use another."
    )
  if name not in functions:
    raise errors.InputError(
      f"{where} is no function of the file."
      f"{errors.nearest(str(name), functions)}"
    )
  function = functions[name]
  try:
    inspect.signature(function).bind(None, None, sample_rate_hz=1)
  except TypeError:
    raise errors.InputError(
      f"{where}{inspect.signature(function)} must take (reference, output, "
      "sample_rate_hz)."
    ) from None
  fields = _checked(where, fields)
  title, _, _ = (inspect.getdoc(function) or "").partition("\n")
  direction = _DIRECTION.search(inspect.getdoc(function) or "")
  if "higher_is_better" not in fields:
    if direction is None:
      raise errors.InputError(
        f"{where} does not say its direction. Write 'higher is better' or "
        "'lower is better' in its docstring."
      )
    fields["higher_is_better"] = direction.group(1).lower() == "higher"
  title = _DIRECTION.sub("", title).strip(" .;,()") or name
  return metric_lib.Metric(
    functools.partial(_each, function, fields.get("sample_rate_hz")),
    **{"title": title, "column": name, **fields},
    digest=digest,
    while_training=False,
  )


def _checked(where: str, fields) -> dict:
  """Returns what METRICS says of a metric, each field of its type."""
  if not isinstance(fields, dict):
    raise errors.InputError(
      f"{where}: {fields!r} in METRICS is no dictionary of fields, as in "
      "{'unit': 'dB'}."
    )
  checked = {}
  for field, value in fields.items():
    if field not in _FIELDS:
      raise errors.InputError(
        f"{where}: {field!r} is no field of a metric."
        f"{errors.nearest(str(field), _FIELDS)} Use some of "
        f"{', '.join(_FIELDS)}."
      )
    wanted = _FIELDS[field]
    if wanted is float and type(value) is int:
      value = float(value)
    if wanted is tuple and isinstance(value, list):
      value = tuple(value)
    if type(value) is not wanted:
      raise errors.InputError(
        f"{where}: {field}={value!r} is not of type {wanted.__name__}."
      )
    checked[field] = value
  return checked


def _each(function, rate_hz, reference, output, *, sample_rate_hz):
  """Measures clips [B, T, 1] one by one, at a rate or at their own."""
  rate_hz = rate_hz or sample_rate_hz

  def score(one: np.ndarray, other: np.ndarray) -> float:
    return function(one, other, sample_rate_hz=rate_hz)

  return clips.each(
    score, reference, output, rate_hz=rate_hz, sample_rate_hz=sample_rate_hz
  )
