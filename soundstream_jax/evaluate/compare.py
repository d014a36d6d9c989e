"""python -m soundstream_jax.evaluate.compare RUN RUN [--out=FILE.json]

Says in what two runs differ: fields of the configuration, datasets, versions,
metrics, and the first step and tensor at which they part. RUN is a workdir, or
an exported model, which has no metrics and one checkpoint.

The exit code is 0 where they are equal, 1 where they differ or share neither a
logged step nor a checkpoint, and 2 where one cannot be read. Equal is meant to
the bit. What one of them has beyond the other, later steps as a rule, is left
out. Shown, but no difference: versions and hardware, logged speeds, the paths
of datasets, and the fields that may change when a run is resumed. Datasets are
compared as they are now, by the files beside their shards.
"""

import fnmatch
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

import jax
import numpy as np
from absl import app, logging

from soundstream_jax import console, errors, paths, whole_files
from soundstream_jax.evaluate import runs
from soundstream_jax.settings import constraints, path_flags, resume

_OUT = path_flags.define("out", None, "File for the same as JSON.")

DIFFERENT = 1  # the exit code

# Logged, and never the same twice.
_CLOCK = ("step", "time", "speed/*")
_SHOWN = 12  # lines of each kind, of what may be hundreds


def main(words):
  logging.set_verbosity(logging.ERROR)
  # Arrays are read into memory; a device may be training.
  jax.config.update("jax_platforms", "cpu")
  sys.exit(errors.run(_main, words[1:]))


def _main(words: list[str]) -> int:
  if len(words) != 2:
    raise errors.InputError(
      f"compare takes two runs, not {len(words)}. Give the workdir, or the "
      "exported model, of each."
    )
  if _OUT.value:
    paths.check_writable_file(f"--out={_OUT.value}", _OUT.value)
  one, other = (runs.read(paths.expand(word)) for word in words)
  found = compare(one, other)
  if _OUT.value:
    whole_files.write(_OUT.value, json.dumps(found, indent=2) + "\n")
  print(console.safe(to_text(found)))
  return 0 if found["equal"] else DIFFERENT


def compare(one: runs.Run, other: runs.Run) -> dict[str, Any]:
  """Returns in what two runs differ, JSON.

  equal: whether they do not.
  config, data, versions: [{name, values [2], counts}]; a value that a run
    lacks is null.
  metrics: common_steps, first (step, metric, values [2], others) or null, and
    of each metric of a common step that differs: name, first_step, the largest
    difference, last_step and values [2] there.
  tensors: equal_steps, first (step, tensor, problem, max_abs_difference,
    differing and all tensors, and the largest of all) or null.
  """
  config = [
    {**entry, "counts": _counts(entry["name"], one.config)}
    for entry in _differences(one.config, other.config)
  ]
  data = _differences(one.datasets(), other.datasets())
  metrics = _metrics(one.metrics(), other.metrics())
  tensors = _tensors(one, other)
  return {
    "runs": [str(one.path), str(other.path)],
    "equal": bool(metrics["common_steps"] or tensors["equal_steps"])
    and not (
      any(entry["counts"] for entry in config)
      or data
      or metrics["first"]
      or tensors["first"]
    ),
    "config": config,
    "data": data,
    "versions": _differences(one.about, other.about),
    "recorded": [bool(one.about), bool(other.about)],
    "metrics": metrics,
    "tensors": tensors,
  }


def _counts(name: str, config: Mapping[str, Any]) -> bool:
  """False for fields that decide nothing that is learnt."""
  return name not in constraints.SOURCES and not resume.may_change(name, config)


def _differences(one: Mapping, other: Mapping) -> list[dict[str, Any]]:
  return [
    {"name": name, "values": [one.get(name), other.get(name)]}
    for name in sorted(one.keys() | other.keys())
    if one.get(name) != other.get(name)
  ]


def _metrics(
  one: Mapping[int, Mapping], other: Mapping[int, Mapping]
) -> dict[str, Any]:
  """Compares what both logged at the steps that both have."""
  steps = sorted(one.keys() & other.keys())
  first, differing = None, {}
  for step in steps:
    names = sorted(
      name
      for name in one[step].keys() & other[step].keys()
      if not any(fnmatch.fnmatchcase(name, clock) for clock in _CLOCK)
    )
    parted = [n for n in names if one[step][n] != other[step][n]]
    if parted and first is None:
      first = {
        "step": step,
        "metric": parted[0],
        "values": [one[step][parted[0]], other[step][parted[0]]],
        "others": parted[1:],
      }
    for name in names:
      values = [one[step][name], other[step][name]]
      if name in parted or name in differing:
        entry = differing.setdefault(
          name, {"name": name, "first_step": step, "largest": 0.0}
        )
        entry["largest"] = max(entry["largest"], _distance(*values))
        entry |= {"last_step": step, "values": values}
  return {
    "common_steps": steps,
    "first": first,
    "differing": sorted(
      differing.values(), key=lambda entry: (entry["first_step"], entry["name"])
    ),
  }


def _distance(one: Any, other: Any) -> float:
  """0 where one of two logged values is no number: there is no distance."""
  if isinstance(one, int | float) and isinstance(other, int | float):
    return abs(one - other)
  return 0.0


def _tensors(one: runs.Run, other: runs.Run) -> dict[str, Any]:
  """Finds the first common checkpoint that differs, and in what."""
  both = sorted(set(one.steps) & set(other.steps))
  pairs = [(step, step) for step in both]
  if one.is_exported and other.is_exported:
    pairs = [(one.steps[0], other.steps[0])]
  equal = []
  for step, its in pairs:
    try:
      found = _parted(one.arrays(step, like=other), other.arrays(its, like=one))
    except Exception:
      if one.has(step) and other.has(its):
        raise
      continue  # a run that is training prunes its checkpoints
    if found is not None:
      return {"equal_steps": equal, "first": {"step": step} | found}
    equal.append(step)
  return {"equal_steps": equal, "first": None}


def _parted(one, other) -> dict[str, Any] | None:
  """Returns in what the arrays of two checkpoints differ, or None."""
  differing, count, largest = [], 0, None
  for (item, arrays), (its, others) in zip(one, other, strict=True):
    if item != its:
      return {"tensor": item, "problem": f"the other has {its}"}
    for name in sorted(arrays.keys() | others.keys()):
      count += 1
      entry = _array_difference(arrays.get(name), others.get(name))
      if entry is None:
        continue
      entry = {"tensor": f"{item}/{name}"} | entry
      differing.append(entry)
      distance = entry["max_abs_difference"]
      if distance is not None and (
        largest is None or distance > largest["max_abs_difference"]
      ):
        largest = entry
  if not differing:
    return None
  return differing[0] | {
    "differing": len(differing),
    "tensors": count,
    "largest": largest,
  }


def _array_difference(one, other) -> dict[str, Any] | None:
  """Returns in what two arrays differ, in any bit; None: in none."""
  if one is None or other is None:
    which = "first" if one is None else "second"
    return {"problem": f"the {which} run has none", "max_abs_difference": None}
  if one.shape != other.shape or one.dtype != other.dtype:
    problem = f"{one.dtype} {one.shape} and {other.dtype} {other.shape}"
    return {"problem": problem, "max_abs_difference": None}
  if one.tobytes() == other.tobytes():
    return None
  with np.errstate(invalid="ignore", over="ignore"):
    distance = np.abs(one.astype(np.float64) - other.astype(np.float64)).max()
  if not math.isfinite(distance):
    problem = "values that are not finite"
    return {"problem": problem, "max_abs_difference": None}
  return {"problem": "", "max_abs_difference": float(distance)}


def to_text(found: Mapping[str, Any]) -> str:
  """Returns `compare`'s result for people."""
  names = [console.shown(path) for path in found["runs"]]
  lines = [f"1: {names[0]}", f"2: {names[1]}"]
  lines += _of_names("configuration", found["config"])
  lines += _of_names("data", found["data"])
  if all(found["recorded"]):
    lines += _of_names("versions", found["versions"])
  else:
    lacking = [
      n for n, has in zip("12", found["recorded"], strict=True) if not has
    ]
    lines.append(f"versions: not recorded by {' and '.join(lacking)}")
  lines += _of_metrics(found["metrics"])
  lines += _of_tensors(found["tensors"])
  if found["equal"]:
    lines.append("equal")
  elif found["metrics"]["common_steps"] or (
    found["tensors"]["equal_steps"] or found["tensors"]["first"]
  ):
    lines.append("different")
  else:
    lines.append("they share neither a logged step nor a checkpoint")
  return "\n".join(lines)


def _of_names(title: str, entries: list[dict[str, Any]]) -> list[str]:
  if not entries:
    return [f"{title}: equal"]
  lines = [f"{title}:"]
  for entry in entries[:_SHOWN]:
    free = "" if entry.get("counts", True) else "  (changes nothing learnt)"
    one, other = (console.line(value) for value in entry["values"])
    lines.append(f"  {entry['name']}: {one} | {other}{free}")
  return lines + _more(len(entries))


def _of_metrics(found: Mapping[str, Any]) -> list[str]:
  steps, first = found["common_steps"], found["first"]
  if not steps:
    return ["metrics: no common step"]
  span = f"{len(steps)} common steps, {steps[0]} to {steps[-1]}"
  if first is None:
    return [f"metrics: equal at {span}"]
  one, other = first["values"]
  lines = [
    f"metrics: of {span}, the first that differs is {first['step']}: "
    f"{first['metric']} {one} | {other}, and {len(first['others'])} others"
  ]
  for entry in found["differing"][:_SHOWN]:
    one, other = entry["values"]
    lines.append(
      f"  {entry['name']}: from step {entry['first_step']} on, by at most "
      f"{entry['largest']:.3g}; at step {entry['last_step']} {one} | {other}"
    )
  return lines + _more(len(found["differing"]))


def _of_tensors(found: Mapping[str, Any]) -> list[str]:
  equal, first = found["equal_steps"], found["first"]
  plural = "s" if len(equal) > 1 else ""
  same = f"equal in the checkpoint{plural} of step{plural} {_steps(equal)}"
  if first is None:
    return [f"tensors: {same}" if equal else "tensors: no common checkpoint"]
  what = first["problem"] or f"by at most {first['max_abs_difference']:.3g}"
  line = f"step {first['step']}: {first['tensor']} differs, {what}"
  if "differing" in first:
    line += f"; {first['differing']} of {first['tensors']} tensors do"
    if (largest := first["largest"]) is not None:
      line += (
        f", most {largest['tensor']}, by {largest['max_abs_difference']:.3g}"
      )
  return [f"tensors: {same + '; ' if equal else ''}{line}"]


def _steps(steps: list[int]) -> str:
  if len(steps) <= _SHOWN:
    return ", ".join(map(str, steps))
  return f"{steps[0]} to {steps[-1]} ({len(steps)} of them)"


def _more(count: int) -> list[str]:
  return [f"  ... {count - _SHOWN} more"] if count > _SHOWN else []


if __name__ == "__main__":
  app.run(main)
