"""python -m soundstream_jax.launch.preflight --config=NAME --topology=v5e:16x16

Compiles the real training step for chips that this machine does not have, and
says whether it fits and what it costs. `--topology=cpu:N` needs nothing more;
TPUs need `pip install 'soundstream_jax[tpu]'`. Results are kept in the user's
cache folder. Exit code 1: the step does not fit the chip's memory.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import sys
import threading
import time

from absl import flags

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.launch.preflight import program_cost, table, topologies

# Of what is counted and how: a change here makes kept results void.
VERSION = 2
EXIT_DOES_NOT_FIT = 1
PROGRESS_SECONDS = 15

flags.DEFINE_string(
  "config",
  None,
  "Preset name or path to a .py file; --config.a.b=value overrides a field.",
)
_TOPOLOGY = flags.DEFINE_string(
  "topology", None, "What to compile for, as in v5e:2x2, v5p:2x2x1 or cpu:8."
)
_ADVERSARIAL = flags.DEFINE_bool(
  "adversarial",
  True,
  "The step with discriminators, or the one before discriminator.start_step.",
)
_COMPARE_FORMS = flags.DEFINE_bool(
  "compare_forms", False, "Also compile form='plain', and give the ratios."
)
_JSON = flags.DEFINE_string("json", None, "A file for the result.")
_HLO = flags.DEFINE_string("hlo", None, "A file for the compiled program.")
_CACHE = flags.DEFINE_string(
  "cache", "auto", "Folder of kept results; 'auto' is the user's, '' is none."
)


def main(_):
  sys.exit(errors.run(_main))


def _main() -> int:
  if not _TOPOLOGY.value:
    raise errors.InputError(
      "--topology is missing. Use v5e:16x16, or cpu:8 without a TPU's compiler."
    )
  topology = topologies.parse(_TOPOLOGY.value)
  config = config_lib.from_flags()
  topologies.prepare(topology)
  report = examine(
    config,
    topology,
    adversarial=_ADVERSARIAL.value,
    cache=_cache_folder(_CACHE.value),
    hlo=_HLO.value,
  )
  print(table.table(report), flush=True)
  if _COMPARE_FORMS.value:
    plain = examine(
      dataclasses.replace(config, form="plain"),
      topology,
      adversarial=_ADVERSARIAL.value,
      cache=_cache_folder(_CACHE.value),
    )
    report["plain"] = plain
    print(table.comparison(report, plain), flush=True)
  if _JSON.value:
    pathlib.Path(_JSON.value).write_text(json.dumps(report, indent=2) + "\n")
  return EXIT_DOES_NOT_FIT if report["fits"] is False else 0


def lower(config: config_lib.Config, topology, *, adversarial: bool):
  """Lowers the object that training calls, for the devices of a topology."""
  from soundstream_jax.devices import distributed
  from soundstream_jax.train import step as step_lib

  mesh = distributed.make_mesh(config.mesh, topologies.devices(topology))
  step, arguments = step_lib.build(config, mesh, adversarial=adversarial)
  return step.lower(*arguments), arguments


def examine(
  config: config_lib.Config,
  topology: topologies.Topology,
  *,
  adversarial: bool = True,
  cache: pathlib.Path | None = None,
  hlo: str | None = None,
) -> dict:
  """Returns the report on a step, plain JSON values, from the cache or new."""
  with _Progress(f"lowering for {topology.name}"):
    lowered, (state, batch) = lower(config, topology, adversarial=adversarial)
    kept = cache and cache / f"{_key(lowered.as_text(), topology)}.json"
  if kept and kept.is_file() and not hlo:
    _say(f"from the cache, {kept}")
    return json.loads(kept.read_text())
  start = time.monotonic()
  report = {
    "topology": topology.name,
    "devices": batch.audio.sharding.mesh.size,
    "batch_size": config.batch_size,
    "crop_samples": config.data.crop_samples,
    "sample_rate_hz": config.audio.sample_rate_hz,
    "fsdp": config.mesh.fsdp,
    "adversarial": adversarial,
    "versions": _versions(),
    "parameter_bytes": _bytes((state.params, state.disc_params)),
    "codebook_bytes": _bytes(state.codebooks),
    "config": config_lib.to_dict(config),
  }
  try:
    with _Progress(f"compiling for {topology.name}"):
      compiled = lowered.compile()
  except Exception as error:
    needed = _out_of_memory(str(error))
    if needed is None:
      raise
    report |= {"fits": False, "memory": {"needed_by_the_compiler": needed}}
  else:
    text = compiled.as_text()
    if hlo:
      pathlib.Path(hlo).write_text(text)
    report |= _costs(compiled, text) | _memory(compiled, topology)
  report["compile_seconds"] = round(time.monotonic() - start, 1)
  if kept:
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(report, indent=2))
  return report


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


def _memory(compiled, topology: topologies.Topology) -> dict:
  stats = compiled.memory_analysis()
  parts = {
    "arguments": stats.argument_size_in_bytes,
    "outputs": stats.output_size_in_bytes,
    "outputs_in_place": -stats.alias_size_in_bytes,
    "temporary": stats.temp_size_in_bytes,
    "program": stats.generated_code_size_in_bytes,
    # Training copies the state for a checkpoint and goes on with the next step.
    "copy_for_checkpoint": stats.output_size_in_bytes,
  }
  limit = topology.chip and topology.chip.memory_bytes
  return {
    "memory": parts,
    "memory_limit": limit,
    "fits": sum(parts.values()) <= limit if limit else None,
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
  for package in ("jax", "jaxlib", "libtpu"):
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found[package] = ""
  return found


def _key(program: str, topology: topologies.Topology) -> str:
  """The lowered program says all that configuration and code decide."""
  parts = (topology.name, json.dumps(_versions()), program)
  return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _cache_folder(value: str) -> pathlib.Path | None:
  if value != "auto":
    return pathlib.Path(value) if value else None
  cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
  return pathlib.Path(cache, "soundstream_jax", "preflight")


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
