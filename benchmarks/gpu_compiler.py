"""python -m benchmarks.gpu_compiler: a step in each method, compiled for an H100.

No GPU is needed, only its compiler (`make bench-gpu-compiler`). One process
compiles at a time, two to five minutes each; each result is printed and written
as it comes, beside those of earlier runs for other cases. What the figures mean
is in docs/performance.md.

  python -m benchmarks.gpu_compiler --cases=h100:1/plain,h100:8/gpu
"""

import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl import app, flags

from soundstream_jax import errors, whole_files
from soundstream_jax.settings import path_flags

CASES = [
  *("h100:1/plain", "h100:1/blocks", "h100:1/lanes", "h100:1/gpu"),
  *("h100:8/plain", "h100:8/gpu"),
]
CLIPS_PER_GPU = 32
# The paper's step on clips of a second.
FIELDS = {
  "data.crop_samples": 24_000,
  "model.compute_dtype": "bfloat16",
  "quantizer.num_quantizers": 8,
}

_PRESET = flags.DEFINE_string("preset", "soundstream_24khz", "What to compile.")
_CASES = flags.DEFINE_list("cases", CASES, "TOPOLOGY/METHOD, one at a time.")
_PROGRAM = flags.DEFINE_string("program", "step", "Of launch.preflight.")
_CLIPS = flags.DEFINE_integer("clips", CLIPS_PER_GPU, "Per GPU.")
_OVERRIDE = flags.DEFINE_multi_string(
  "override", [], "NAME=VALUE of the preset, as preflight takes it."
)
_JSON = path_flags.define(
  "json",
  str(pathlib.Path(__file__).with_name("results_gpu_compiler.json")),
  "For the rows.",
)


def main(_):
  sys.exit(errors.run(_main))


def _main() -> int:
  table = _kept(pathlib.Path(_JSON.value))
  print(HEAD, flush=True)
  for case in _CASES.value:
    topology, slash, form = case.partition("/")
    if not slash:
      raise errors.InputError(
        f"--cases={case}: {case!r} is no TOPOLOGY/METHOD. Use {CASES[0]}."
      )
    row = _compiled(topology, form)
    table["cases"][case] = row
    whole_files.write(_JSON.value, json.dumps(table, indent=1) + "\n")
    print(line(case, row), flush=True)
  return 0


def _kept(path: pathlib.Path) -> dict:
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    return {"cases": {}}


def _compiled(topology: str, form: str) -> dict:
  """Returns a row, from a preflight in a process of its own."""
  size = topology.partition(":")[2].split("x")
  clips = _CLIPS.value
  for part in size:
    clips *= int(part) if part.isdigit() else 1
  fields = FIELDS | {"batch_size": clips, "mesh.data": -1, "form": form}
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "report.json"
    done = subprocess.run(
      [
        *(sys.executable, "-m", "soundstream_jax.launch.preflight"),
        *(f"--config={_PRESET.value}", f"--topology={topology}"),
        *(f"--program={_PROGRAM.value}", "--cache=", f"--json={file}"),
        *(f"--config.{name}={value}" for name, value in fields.items()),
        *(f"--config.{words}" for words in _OVERRIDE.value),
      ],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
      env={**os.environ, "JAX_PLATFORMS": "cpu"},
      check=False,
    )
    if not file.exists():
      last = (done.stderr.strip().splitlines() or ["no word"])[-1]
      raise errors.InputError(f"{topology}/{form}: {last}")
    return row_of(json.loads(file.read_text()))


def row_of(report: dict) -> dict:
  """Returns what is kept of a report: no lists that only its reader needs."""
  dropped = ("config", "gpu", "collectives", "sound", "not_known")
  row = {name: value for name, value in report.items() if name not in dropped}
  row["collective_calls"] = {
    kind: sum(c["rounds"] for c in report["collectives"] if c["kind"] == kind)
    for kind in report["collective_bytes"]
  }
  config = report["config"]
  row["preset"] = {
    name: config[section][name]
    for section, name in (
      *(("model", "encoder_channels"), ("model", "compute_dtype")),
      *(("quantizer", "num_quantizers"), ("quantizer", "codebook_size")),
    )
  }
  return {"date": str(datetime.date.today()), **row}


HEAD = (
  "case            fits peak GB  executed useful TFLOP  filled stuffed clip "
  "grouped  calls launches    GB  reduce gather GB  bound ms  compiled s"
)


def line(case: str, row: dict) -> str:
  """Returns a row's figures under HEAD."""
  if row["fits"] is False and "flops" not in row:
    return f"{case:16}NO   {row['memory']['needed_by_the_compiler']}"
  kinds = row["convolutions"]["compiled"]
  moved = row["collective_bytes"]
  others = sum(n for kind, n in moved.items() if kind != "all-reduce")
  # Of a step that is not logged.
  usual = [part for name, part in row["parts"].items() if name != "branches"]

  def total(name: str, scale: float) -> float:
    return sum(part[name] for part in usual) / scale

  return (
    f"{case:16}{'yes' if row['fits'] else 'NO':5}{row['peak_bytes'] / 1e9:7.2f}"
    f"{total('product_flops', 1e12):10.2f}{total('useful_flops', 1e12):13.2f}"
    f"{kinds['filled']['calls']:8}{kinds['zero_stuffed']['calls']:8}"
    f"{kinds['whole_clip']['calls']:5}{kinds['grouped']['calls']:8}"
    f"{sum(row['library_calls'].values()):7}"
    f"{sum(k['launches'] for k in row['kernels'].values()):9}"
    f"{total('bytes', 1e9):6.1f}{moved.get('all-reduce', 0) / 1e9:8.3f}"
    f"{others / 1e9:10.3f}{1e3 * row['roofline']['seconds']['total']:10.1f}"
    f"{row['compile_seconds']:12.0f}"
  )


if __name__ == "__main__":
  app.run(main)
