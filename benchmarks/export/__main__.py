"""python -m benchmarks.export: parity, size and speed of exported models.

Models of 8, 16 and 32 channels (or --model=DIR, trained ones) are written in
every format whose packages are installed, and opened in every runtime. Each
does all it can (see `export.parity`) with 84 s of real sound, 50,400 codes for
the whole file alone, which are compared with jax's; then all are timed in turns
within one process on one core, by the processor's time. Fresh models have
codebooks fitted to other sound of the same kind, so that codes are used evenly.

Results are written as they come; the same command goes on with what is
missing. Exit code 1 if a runtime that should be exact is not.
"""

import argparse
import datetime
import os
import pathlib
import sys
import tempfile
from typing import Any

import jax
import numpy as np
from absl import logging

from benchmarks.export import (
  models,
  opening,
  results,
  sound,
  speed,
  tables,
)
from soundstream_jax import errors, paths
from soundstream_jax.checkpoint import exported
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.export import formats, golden, parity

RESULTS = pathlib.Path(__file__).parents[1] / "results_export.json"
# Of a whole file that is timed.
WHOLE_S = 10
# Of those that differ, so many are kept.
MOST_FRAMES = 20


def main() -> int:
  given = _parse()
  logging.set_verbosity(logging.ERROR)  # the tables alone
  names = _formats(given.formats)
  store = results.Results(given.json, again=given.again)
  keys = []
  for model, audio in _models(given):
    with tempfile.TemporaryDirectory(prefix="bench-export-") as folder:
      keys += _measure(
        model, audio, names, pathlib.Path(folder), store, turns=given.turns
      )
  entries = [store.entries[key] for key in keys]
  print()
  print(tables.parity(entries))
  print()
  timed = [entry for entry in entries if "speed" in entry]
  if timed:
    print(tables.speed(timed))
    print()
    print(tables.lyra(timed))
    print()
  print(tables.conditions(entries))
  return 0 if all(entry["parity"]["passes"] for entry in entries) else 1


def _parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.export",
    description=__doc__.split("\n")[0].partition(": ")[2],
  )
  add = parser.add_argument
  several = paths.expand_each
  add("--data", default="", type=several, help="prepared datasets, DIR[,DIR]")
  add("--audio", default="", type=paths.expand, help="folder of sound, or")
  add("--seconds", default=84.0, type=float, help="of sound (84)")
  add("--fit_seconds", default=300.0, type=float, help="for codebooks (300)")
  add("--model", default="", type=several, help="trained ones, DIR[,DIR]")
  add("--preset", default="soundstream_24khz_6kbps", help="of fresh models")
  add("--channels", default="8,16,32", help="of fresh models; '' is its own")
  add("--formats", default="all", help="with commas; '' is jax alone")
  add(
    "--turns",
    default=24,
    type=int,
    help="of each piece that is timed (24); 0 times none",
  )
  add("--out", default="out/export", type=paths.expand, help="of fresh models")
  add("--json", default=str(RESULTS), type=paths.expand, help="file of results")
  add("--again", action="store_true", help="measures what is there anew")
  return parser.parse_args()


def _formats(text: str) -> tuple[str, ...]:
  if text == "all":
    # Ours is there in any case.
    return tuple(name for name in formats.FORMATS if name != "params")
  return formats.of(text) if text else ()


def _models(given: argparse.Namespace):
  """Yields (model, sound of its rate)."""

  def heard(config, *seconds):
    return sound.load(
      data=given.data,
      audio=given.audio,
      seconds=seconds,
      rate_hz=config.rates.sample_rate_hz,
      hop_samples=config.rates.hop_samples,
    )

  if given.model:
    for folder in given.model.split(","):
      model = models.trained(folder)
      (audio,) = heard(model.exported.config, given.seconds)
      yield model, audio
    return
  for channels in given.channels.split(","):
    config = models.config_of(given.preset, int(channels or 0))
    audio, other = heard(config, given.seconds, given.fit_seconds)
    name = f"{given.preset}-c{channels}-{sound.digest(other)}"
    yield models.fresh(config, other, pathlib.Path(given.out, name)), audio


def _measure(
  model: models.Model,
  audio: np.ndarray,
  names: tuple[str, ...],
  folder: pathlib.Path,
  store: results.Results,
  *,
  turns: int,
) -> list[str]:
  """Measures a model in all runtimes; returns the keys of its entries."""
  made, config = model.exported, model.exported.config
  codec = codec_lib.Codec(
    config, made.params, made.vectors, step=made.step, weights=made.weights
  )
  values = golden.make(codec, audio)
  layers = config.quantizer.num_quantizers
  seconds = len(audio) / config.rates.sample_rate_hz
  used = [len(np.unique(values.codes[:, layer])) for layer in range(layers)]
  print(
    f"\n{model.name}: {values.codes.size:,} codes of {seconds:.0f} s, "
    f"of {config.quantizer.codebook_size} each layer uses {min(used)} to "
    f"{max(used)}",
    flush=True,
  )
  entries, runtimes = {}, {}
  for opened in opening.open_all(made, names, folder, say=_say):
    key = f"{model.name}/{opened.name}"
    runtimes[key] = opened.runtime
    entries[key] = entry = store.entry(key, _of(made, audio, opened))
    entry |= _described(model, audio, opened)
    if "parity" not in entry:
      row = parity.measure(opened.runtime, values).to_json()
      # Of int8 they are thousands.
      entry["parity"] = row | {"frames": row["frames"][:MOST_FRAMES]}
      store.put(key, entry)
    row = entry["parity"]
    _say(
      f"{opened.name}: {row['different']} of {row['codes']:,} codes differ "
      f"({row['excused']} excused), audio {row['audio']:.1e}"
    )
  _time(entries, runtimes, values, store, turns=turns)
  return list(entries)


def _time(
  entries: dict[str, results.Entry],
  runtimes: dict[str, Any],
  values: golden.Golden,
  store: results.Results,
  *,
  turns: int,
) -> None:
  """Times those that have no times yet, and jax beside them."""
  missing = [key for key in entries if "speed" not in entries[key]]
  if not missing or not turns:
    return
  own = next(iter(entries))
  frames = round(WHOLE_S / entries[own]["frame_s"])
  codes = values.codes[:frames]
  audio = values.audio[: len(codes) * values.hop_samples]
  times = speed.measure(
    {key: runtimes[key] for key in dict.fromkeys([own, *missing])},
    audio,
    codes,
    turns=turns,
  )
  own_times = times[own]["processor"]
  jax_s = [own_times.get(f"{side} 1") for side in ("encode", "decode")]
  for key in missing:
    entry = entries[key]
    entry["speed"] = times[key]["processor"]
    entry["wall"] = times[key]["wall"]
    if None not in jax_s:
      entry["speed"]["jax, both"] = sum(jax_s)
    entry["whole_s"] = len(codes) * entry["frame_s"]
    entry["load"] = os.getloadavg()[0]
    store.put(key, entry)
    _say(
      f"{entry['name']}: "
      + ", ".join(f"{p} {1e3 * s:.2f} ms" for p, s in entry["speed"].items())
    )


def _of(
  model: exported.Exported, audio: np.ndarray, opened: opening.Opened
) -> dict[str, str]:
  """Returns what an entry stands and falls with."""
  return {
    "fingerprint": exported.fingerprint_of(model).hex(),
    "sound": sound.digest(audio),
    "version": opened.runtime.version,
    "jax": jax.__version__,
  }


def _described(
  model: models.Model, audio: np.ndarray, opened: opening.Opened
) -> dict[str, Any]:
  made = model.exported
  numbers = sum(np.size(leaf) for leaf in jax.tree.leaves(made.params))
  rates = made.config.rates
  return {
    "model": model.name,
    "name": opened.name,
    "date": datetime.date.today().isoformat(),
    "processor": _processor(),
    "load": os.getloadavg()[0],
    "sound_s": f"{len(audio) / rates.sample_rate_hz:.1f} s",
    "frame_s": float(1 / rates.frame_rate_hz),
    "model_bytes": 4 * (numbers + made.vectors.size),
    "sizes": opened.sizes,
    "side_bytes": opened.side_bytes,
    "open_s": opened.open_s,
    "first_s": opened.first_s,
  }


def _processor() -> str:
  """Returns the processor's name, where Linux says it."""
  about = pathlib.Path("/proc/cpuinfo")
  lines = about.read_text().splitlines() if about.exists() else ()
  names = [line.partition(": ")[2] for line in lines if "model name" in line]
  return names[0] if names else "unknown processor"


def _say(text: str) -> None:
  print(f"  {text}", flush=True)


def _on_one_core() -> None:
  """Before there are threads: they stay where the process is."""
  os.environ.setdefault("OMP_NUM_THREADS", "1")
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])


if __name__ == "__main__":
  _on_one_core()
  sys.exit(errors.run(main))
