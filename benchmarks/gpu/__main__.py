"""python -m benchmarks.gpu: ten minutes of a rented GPU, the best use of them first.

On a fresh machine with a driver (Linux, Python 3.11 or later), in a copy of the
repository; PyTorch has an environment of its own, for it wants another cuDNN:

    NEEDS="flax optax ml-collections absl-py soxr -c launch/constraints.txt"
    python3 -m venv env && env/bin/pip install 'jax[cuda12]' $NEEDS
    env/bin/pip install --no-deps -e .
    python3 -m venv env-torch && env-torch/bin/pip install torch jax $NEEDS
    env-torch/bin/pip install --no-deps -e .
    RUN="env/bin/python -m benchmarks.gpu --torch_python=env-torch/bin/python"
    $RUN --minutes=8     # and again: it goes on with what is missing
    $RUN --show          # Markdown tables
    # Bring home benchmarks/results_gpu.json and out/gpu/cache/traces.

Without a network: `pip download -d wheels` of the same names beforehand, then
`pip install --no-index --find-links=wheels`. That is jax 0.10.2, whose compiler
was tried for an H100 that was not there; 'jax[cuda12]==0.11.2' (without -c) has
trained on one. With a driver of CUDA 13 'jax[cuda13]' is taken likewise.

Results are printed and written as they come (see `results`): a kill, Ctrl-C or
the end of the minutes loses the item at work alone. Programs are compiled one at
a time; they, autotuning results and what torch.compile made stay in --cache. An
item that fails is a result with the first line of its error; what was printed
meanwhile is in worker.log there. `plan` has the order; --only=PATTERN,... measures
a part ('pytorch/*', 'layer/gpu/*'), --again=PATTERN,... measures anew.

Without a GPU it is tried with --device=cpu --preset=tiny --batch=2, which writes
to out/gpu/results_cpu.json and never to benchmarks/results_gpu.json.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import sys
import time
from typing import Any

import jax

from benchmarks.gpu import card, plan, results, running, tables
from benchmarks.gpu import conditions as conditions_lib
from soundstream_jax import endings, errors, folder_lock, paths
from soundstream_jax.convolution import methods
from soundstream_jax.settings import presets

# For the first look at the card.
ABOUT_S = 120.0


def main() -> int:
  start = time.monotonic()
  # The card is its workers': this process never opens it.
  jax.config.update("jax_platforms", "cpu")
  options = _parse()
  path = results.path_for(options.device, options.json)
  if options.show:
    return _show(path)
  given = _conditions(options)
  given.config()  # says what is wrong before anything is started
  until = start + 60 * options.minutes
  if warning := card.used_by_others() if options.device == "cuda" else "":
    print(f"warning: {warning}: times are not to be believed", flush=True)
  lock = pathlib.Path(given.cache) / "lock"
  whom = f"--cache={options.cache}: another command is measuring with it"
  with folder_lock.held(lock, what=whom), running.Workers(given) as workers:
    about = _about(workers)
    store = results.Results(path, given.of() | about["of"])
    store.run["about"] = about["notes"] | {"date": _now()}
    _measure(given, options, workers, store, start=start, until=until)
  print()
  print(tables.of(store.run))
  return 0


def _parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.gpu",
    description=__doc__.split("\n")[0].partition(": ")[2],
  )
  add = parser.add_argument
  add("--minutes", default=8.0, type=float, help="that it takes at most (8)")
  add("--device", default="cuda", choices=["cuda", "cpu"])
  add("--preset", default="soundstream_24khz", help="of the model")
  add("--batch", default=32, type=int, help="clips of a second (32)")
  add("--layers", default=8, type=int, help="of the quantizer (8); 0: preset's")
  add("--form", default="auto", help="the method that comes first (auto)")
  add("--steps", default=20, type=int, help="of the whole step, timed (20)")
  add("--override", default=[], action="append", help="NAME=VALUE, as in JSON")
  add("--only", default="*", help="items, patterns with commas (*)")
  add("--again", default="", help="items to measure anew, patterns")
  add("--most", default=0, type=int, help="items of a kind (all)")
  path = paths.expand
  add("--json", default="", type=path, help="file of results")
  add("--cache", default="out/gpu/cache", type=path, help="folder to keep")
  add(
    "--torch_python",
    default=sys.executable,
    type=path,
    help="path of the interpreter that has PyTorch (this one)",
  )
  add("--show", action="store_true", help="prints the tables, measures nothing")
  return parser.parse_args()


def _show(path) -> int:
  """Prints the tables of all runs of a file.

  Raises:
    InputError: there are none.
  """
  found = results.runs(path)
  if not found:
    raise errors.InputError(
      f"--show: {path} is not there. Measure first, or name another --json."
    )
  print("\n".join(map(tables.of, found)))
  return 0


def _conditions(options: argparse.Namespace) -> conditions_lib.Conditions:
  """Returns what the options ask for.

  Raises:
    InputError: a value of --override is none, or there is no such preset.
  """
  presets.load(options.preset)
  methods.choose(options.form)
  overrides = {}
  for text in options.override:
    name, _, value = text.partition("=")
    try:
      overrides[name] = json.loads(value)
    except ValueError:
      raise errors.InputError(
        f"--override={text}: {value!r} is no JSON. Write NAME=VALUE, text in "
        'quotes: form="plain".'
      ) from None
  return conditions_lib.Conditions(
    device=options.device,
    preset=options.preset,
    batch=options.batch,
    layers=options.layers,
    form=options.form,
    steps=options.steps,
    overrides=overrides,
    cache=os.path.abspath(options.cache),
    # Its link is what makes it that of an environment.
    torch_python=os.path.abspath(
      shutil.which(options.torch_python) or options.torch_python
    ),
  )


def _about(workers: running.Workers) -> dict[str, Any]:
  """Returns what the card says of itself.

  Raises:
    InputError: jax finds none.
  """
  found: dict[str, Any] = {}
  item = plan.Item("about", "about", {})
  try:
    error = workers.measure(item, seconds=ABOUT_S, add=found.update)
  except running.OutOfTime:
    error = f"no answer in {ABOUT_S:.0f} s"
  if not error and found["platform"] != workers.platform:
    error = f"jax finds {found['platform']} alone"
  if error:
    raise errors.InputError(
      f"--device: jax cannot open it ({error}). Install jax for this device and "
      f"look into {workers.log}, or pass --device=cpu."
    )
  return found


def _measure(given, options, workers, store, *, start, until) -> None:
  """Measures what is missing, in the plan's order, while there is time."""
  only, again = options.only.split(","), options.again.split(",")
  counts: dict[str, int] = {}
  waiting = 0
  for item in plan.chosen(plan.items(given), only):
    counts[item.measure] = counts.get(item.measure, 0) + 1
    if options.most and counts[item.measure] > options.most:
      continue
    anew = any(plan.chosen([item], again))
    if store.is_done(item.name) and not anew:
      continue
    left = until - time.monotonic()
    if left < expected_s(item, store.entries):
      waiting += 1
      continue
    _one(item, workers, store, left=left, start=start)
  if waiting:
    print(f"{waiting} items wait for the next run of the same command")


def expected_s(item: plan.Item, entries: dict[str, results.Entry]) -> float:
  """Returns what an item is expected to take, by others of its kind."""
  if item.measure not in ("question", "layer"):
    return item.expected_s
  kind = item.name.split("/")[0]
  took = sorted(
    entry["wall_s"]
    for name, entry in entries.items()
    if name.startswith(f"{kind}/") and "wall_s" in entry
  )
  return took[len(took) // 2] if len(took) >= 3 else item.expected_s


def _one(item, workers, store, *, left, start) -> None:
  """Measures an item; its entry is done unless time ran out for all."""
  begun = time.monotonic()
  seconds = min(left, item.most_s)
  store.begin(item.name, date=_now())

  def add(values):
    store.add(item.name, values)
    if "compile_s" in values:
      _say(start, item.name, f"compiled in {values['compile_s']:.0f} s")

  try:
    error = workers.measure(item, seconds=seconds, add=add)
  except running.OutOfTime:
    if seconds < item.most_s:
      _say(start, item.name, "the minutes are over")
      return
    error = f"not done in {seconds:.0f} s"
  ended = {"wall_s": round(time.monotonic() - begun, 2), "done": True}
  store.add(item.name, ended | ({"error": error} if error else {}))
  _say(start, item.name, tables.line(item.name, store.run))


def _say(start: float, name: str, text: str) -> None:
  print(f"{time.monotonic() - start:5.0f} s  {name}: {text}", flush=True)


def _now() -> str:
  return datetime.datetime.now().isoformat(timespec="seconds")


if __name__ == "__main__":
  endings.obey()
  sys.exit(errors.run(main))
