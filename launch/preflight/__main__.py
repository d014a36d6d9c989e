"""python -m soundstream_jax.launch.preflight --config=NAME --topology=v5e:16x16

Compiles the real training step, or all programs of a run (`--program=all`), for
chips that this machine does not have, and says whether they fit and what they
cost. `--topology=cpu:N` needs nothing more; TPUs need `pip install
'soundstream_jax[tpu]'`, and GPUs (h100:8) `soundstream_jax[preflight-gpu]` in an
environment of its own. Results are kept in the user's cache folder. Exit code
1: a program does not fit the chip's memory.
"""

import dataclasses
import json
import sys

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from absl import app, flags

from soundstream_jax import caches, errors, paths, whole_files
from soundstream_jax import config as config_lib
from soundstream_jax.launch.preflight import (
  programs,
  step_report,
  table,
  topologies,
)
from soundstream_jax.settings import mesh as mesh_lib
from soundstream_jax.settings import path_flags

EXIT_DOES_NOT_FIT = 1

flags.DEFINE_string(
  "config",
  None,
  "Preset name or path to a .py file; --config.a.b=value overrides a field.",
)
_TOPOLOGY = flags.DEFINE_string(
  "topology",
  None,
  "What to compile for, as in v5e:2x2, v5p:2x2x1, h100:8, h100:2x8 (hosts and "
  "GPUs of each) or cpu:8.",
)
_PROGRAM = flags.DEFINE_list(
  "program",
  ["step"],
  f"What to compile: {', '.join([*programs.TITLES, *programs.GROUPS])}; "
  "several with commas.",
)
_ADVERSARIAL = flags.DEFINE_bool(
  "adversarial",
  True,
  "--noadversarial is --program=step_without_discriminators.",
)
_COMPARE_FORMS = flags.DEFINE_bool(
  "compare_forms", False, "Also compile form='plain', and give the ratios."
)
_JSON = path_flags.define("json", None, "A file for the result.")
_HLO = path_flags.define("hlo", None, "A file for the compiled program.")
_CACHE = path_flags.define(
  "cache", "auto", "Folder of kept results; 'auto' is the user's, '' is none."
)


def main(_):
  sys.exit(errors.run(_main))


def _check_file(flag: str, file: str | None) -> None:
  """Refuses a file that could not be written after the compilation."""
  if file is not None:
    paths.check_writable_file(f"{flag}={file}", file)


def _main() -> int:
  if not _TOPOLOGY.value:
    raise errors.InputError(
      "--topology is missing. Use v5e:16x16, or cpu:8 without a TPU's compiler."
    )
  topology = topologies.parse(_TOPOLOGY.value)
  for flag, file in (("--json", _JSON.value), ("--hlo", _HLO.value)):
    _check_file(flag, file)
  config = config_lib.from_flags()
  data, fsdp = mesh_lib.axes(config.mesh, topology.size, few=True)
  mesh_lib.check_batch(
    config.batch_size, data * fsdp, microbatches=config.microbatches
  )
  names = programs.names(config, _asked())
  if _HLO.value and len(names) > 1:
    raise errors.InputError(
      f"--hlo={_HLO.value}: a file holds one program, not {len(names)}. Use "
      f"--program={names[0]}."
    )
  topologies.prepare(topology)
  cache = caches.folder("preflight", _CACHE.value)
  found = {
    name: _examine(config, topology, name, cache=cache) for name in names
  }
  report = next(iter(found.values()))
  if len(found) > 1:
    fits = [one["fits"] for one in found.values()]
    report = {
      "topology": topology.name,
      "fits": False if False in fits else fits[0],
      "programs": found,
    }
  elif others := [n for n in programs.names(config, ["all"]) if n not in names]:
    print(
      f"a run has other programs, {', '.join(others)}: --program=all",
      flush=True,
    )
  if _JSON.value:
    whole_files.write(_JSON.value, json.dumps(report, indent=2) + "\n")
  return EXIT_DOES_NOT_FIT if report["fits"] is False else 0


def _asked() -> list[str]:
  if _ADVERSARIAL.value:
    return _PROGRAM.value
  return [
    "step_without_discriminators" if name == "step" else name
    for name in _PROGRAM.value
  ]


def _examine(config, topology, name: str, *, cache) -> dict:
  """Returns a program's report, and prints it."""
  report = step_report.examine(
    config, topology, program=name, cache=cache, hlo=_HLO.value
  )
  print(table.render(report), flush=True)
  if _COMPARE_FORMS.value:
    plain = step_report.examine(
      dataclasses.replace(config, form="plain"),
      topology,
      program=name,
      cache=cache,
    )
    report["plain"] = plain
    print(table.compare(report, plain), flush=True)
  return report


if __name__ == "__main__":
  app.run(main, flags_parser=config_lib.parse_flags)
