"""Compiles a program for a topology; returns memory, work and traffic.

Reports are plain JSON values. They are kept in a cache folder, one file for
each program, topology and set of versions.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
import re
import sys
import threading
import time

from soundstream_jax import config as config_lib
from soundstream_jax import errors, whole_files
from soundstream_jax.launch.preflight import (
  gpu_report,
  program_cost,
  programs,
  topologies,
)

# Of what is counted and how: a change here makes kept results void.
VERSION = 3
PROGRESS_SECONDS = 15


def examine(
  config: config_lib.Config,
  topology: topologies.Topology,
  *,
  program: str = "step",
  cache: pathlib.Path | None = None,
  hlo: str | None = None,
) -> dict:
  """Returns the report on a program, plain JSON values, from the cache or new.

  Args:
    config: of the run.
    topology: what to compile for.
    program: of `programs.TITLES`.
    cache: folder of kept reports.
    hlo: file for the compiled program.
  """
  what = f"{program} for {topology.name}"
  with _Progress(f"lowering {what}"):
    found = programs.lower(config, topology, program)
    kept = cache and cache / f"{_key(found.lowered.as_text(), topology)}.json"
  if kept and not hlo and (report := _kept(kept)):
    _say(f"from the cache, {kept}")
    return report
  start = time.monotonic()
  state = found.state
  report = {
    "program": program,
    "topology": topology.name,
    "devices": found.devices,
    "batch_size": found.examples,
    "crop_samples": found.samples,
    "sample_rate_hz": config.audio.sample_rate_hz,
    "fsdp": config.mesh.fsdp,
    "adversarial": program != "step_without_discriminators",
    "versions": _versions(),
    "parameter_bytes": _bytes((state.params, state.disc_params)),
    "codebook_bytes": _bytes(state.codebooks),
    "config": config_lib.to_dict(config),
  }
  try:
    with _Progress(f"compiling {what}"):
      compiled = found.lowered.compile(
        compiler_options=topology.compiler_options
      )
  except Exception as error:
    needed = _out_of_memory(str(error))
    if needed is None:
      raise
    report |= {"fits": False, "memory": {"needed_by_the_compiler": needed}}
  else:
    text = compiled.as_text()
    if hlo:
      whole_files.write(hlo, text)
    report |= _costs(compiled, text) | _memory(compiled, topology, found)
    if topology.gpu:
      report |= gpu_report.of(
        text,
        found.lowered.as_text(debug_info=True),
        report["collectives"],
        topology,
        devices=found.devices,
      )
  report["compile_seconds"] = round(time.monotonic() - start, 1)
  if kept:
    _keep(kept, report)
  return report


def _kept(path: pathlib.Path) -> dict | None:
  """Returns a report of the cache; None if it is not there, or damaged."""
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError):
    return None


def _keep(path: pathlib.Path, report: dict) -> None:
  """Puts a report into the cache, which is worth no failure."""
  try:
    with errors.writing("the report", path.parent):
      path.parent.mkdir(parents=True, exist_ok=True)
    whole_files.write(path, json.dumps(report, indent=2))
  except (errors.DiskError, errors.InputError) as error:
    _say(f"the report is not kept: {error}")


def _costs(compiled, text: str) -> dict:
  cost = program_cost.of(text)
  return {
    "flops": cost.flops,
    "flops_loops_once": cost.flops_once,
    "flops_of_xla": float((compiled.cost_analysis() or {}).get("flops", 0)),
    "bytes": cost.bytes,
    "cycles": cost.cycles,
    "collective_bytes": cost.collective_bytes(),
    "collectives": [dataclasses.asdict(c) for c in cost.collectives],
    "uncounted": dict(cost.uncounted),
  }


def _memory(compiled, topology, program: programs.Program) -> dict:
  stats = compiled.memory_analysis()
  memory = {
    "arguments": stats.argument_size_in_bytes,
    "outputs": stats.output_size_in_bytes,
    "outputs_in_place": -stats.alias_size_in_bytes,
    "temporary": stats.temp_size_in_bytes,
    "program": stats.generated_code_size_in_bytes,
  }
  if program.name.startswith("step"):
    # Training copies the state for a checkpoint and continues with the next step.
    memory["copy_for_checkpoint"] = stats.output_size_in_bytes
  else:
    memory["rest_of_the_state"] = program.kept_bytes
  limit = topology.memory_bytes
  if topology.gpu:
    memory["reserve_for_cudnn"] = gpu_report.WORKSPACE_BYTES
    limit = gpu_report.memory_limit(topology)
  return {
    "memory": memory,
    "memory_limit": limit,
    "peak_bytes": stats.peak_memory_in_bytes,
    "fits": sum(memory.values()) <= limit if limit else None,
  }


def _out_of_memory(message: str) -> str | None:
  """Returns what the compiler says about the memory, or None."""
  found = re.search(r"Used [^\n]*? of [^\n]*? hbm", message)
  if found:
    return found[0]
  return message[:300] if "RESOURCE_EXHAUSTED" in message else None


def _bytes(tree) -> int:
  import jax

  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _versions() -> dict[str, str]:
  found = {"preflight": str(VERSION)}
  for package in ("jax", "jaxlib", "libtpu", "jax-cuda12-plugin"):
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found[package] = ""
  return found


def _key(program: str, topology: topologies.Topology) -> str:
  """The lowered program says all that configuration and code decide."""
  parts = (topology.name, json.dumps(_versions()), program)
  return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


class _Progress:
  """A line every few seconds while something takes long."""

  def __init__(self, what: str):
    self._what = what
    self._done = threading.Event()
    self._thread = threading.Thread(target=self._run, daemon=True)

  def __enter__(self):
    self._thread.start()

  def __exit__(self, *_):
    self._done.set()
    self._thread.join()

  def _run(self) -> None:
    start = time.monotonic()
    while not self._done.wait(PROGRESS_SECONDS):
      _say(f"{self._what}: {time.monotonic() - start:.0f} s")


def _say(text: str) -> None:
  print(f"[preflight] {text}", file=sys.stderr, flush=True)
