"""python -m benchmarks.same_programs OLD NEW: do two checkouts compute the same?

Lowers the programs of both for CPUs, without compiling them, and compares their
StableHLO without names (see `canonical`); then trains `tiny` for a few steps in
both, and compares every array's bits. Nothing is stored: both sides run here,
with the packages of this Python. `matrix` lists the cases, `places` where
their parts are.

'same graph' says that texts differ, but only in the order of independent
operations, in what is a function of its own, and in moves that change nothing,
such as padding by no values. `--values` also runs what differs, on drawn
arguments, and says how far results are apart.

Exit code 0 if no case differs or fails, else 1.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

from benchmarks.same_programs import compare, matrix
from soundstream_jax import errors, paths

ROOT = pathlib.Path(__file__).parents[2]
SIDES = ("old", "new")


def main() -> int:
  given = _parse()
  start = time.monotonic()
  only = [part for part in given.only.split(",") if part]
  names = matrix.names(everything=given.all, only=only)
  if not names:
    sys.exit(f"--only={given.only}: no case has this in its name.")
  verdicts = _compare(given, names, values=False)
  differing = [
    v.name
    for v in verdicts
    if v.word in ("same graph", "differs")
    and not v.name.startswith(("train/", "leaves/"))
  ]
  if given.values and differing:
    print("\nvalues of what differs")
    _compare(given, differing, values=True)
  counts = dict.fromkeys(compare.SAME, 0)
  for verdict in verdicts:
    counts[verdict.word] = counts.get(verdict.word, 0) + 1
  said = ", ".join(f"{count} {word}" for word, count in counts.items())
  print(f"\n{len(verdicts)} cases: {said}; {time.monotonic() - start:.0f} s")
  return 0 if all(verdict.same for verdict in verdicts) else 1


def _parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.same_programs",
    description=__doc__.split("\n")[0].partition(": ")[2],
  )
  parser.add_argument("old", type=_path, help="a checkout")
  parser.add_argument("new", type=_path, help="another")
  parser.add_argument("--only", default="", help="parts of names: step/,tiny")
  parser.add_argument("--all", action="store_true", help="every case")
  parser.add_argument("--steps", type=int, default=5, help="of training")
  parser.add_argument("--values", action="store_true", help="run what differs")
  parser.add_argument("--in_turn", action="store_true", help="less memory")
  parser.add_argument("--python", default=sys.executable)
  parser.add_argument(
    "--out",
    type=_path,
    default=ROOT / "out" / "same_programs",
    help="folder for what differs",
  )
  return parser.parse_args()


def _path(text: str) -> pathlib.Path:
  return pathlib.Path(paths.argument(text))


def _compare(given, names, *, values: bool) -> list[compare.Verdict]:
  """Runs both probes, prints a table, and returns the verdicts."""
  folders = [
    given.out.resolve() / (f"{side}_values" if values else side)
    for side in SIDES
  ]
  probes = []
  for folder, checkout in zip(folders, (given.old, given.new), strict=True):
    probes.append(_start(given, checkout, folder, names, values=values))
    if given.in_turn:
      probes[-1].wait()
  lines = []
  for probe, folder in zip(probes, folders, strict=True):
    code = probe.wait()
    found = [*map(json.loads, (folder / "lines").read_text().splitlines())]
    lines.append({line["name"]: line for line in found if "name" in line})
    print(f"{folder.name}: exit code {code}, {found[-1]}")
  width = max(map(len, names))
  verdicts = []
  for name in names:
    nothing = {"error": "the probe ended before", "seconds": 0.0}
    sides = [side.get(name, nothing) for side in lines]
    files = [folder / name.replace("/", "-") for folder in folders]
    verdicts.append(v := compare.judge(name, *sides, files))
    print(f"{name:<{width}}  {v.word:<13} {v.seconds:>6} s  {v.shown}")
    for detail in v.details:
      print(f"    {detail}")
  return verdicts


def _start(given, checkout, folder, names, *, values) -> subprocess.Popen:
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "names").write_text("\n".join(names) + "\n")
  command = [given.python, "-m", "benchmarks.same_programs.probe"]
  command += [str(checkout.resolve()), str(folder), f"--steps={given.steps}"]
  command += ["--values"] * values
  with (folder / "names").open() as stdin, (folder / "lines").open("w") as out:
    return subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=out)


if __name__ == "__main__":
  sys.exit(errors.run(main))
