"""Writes models in formats, and opens them in the runtimes that are installed."""

import dataclasses
import gc
import importlib
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from benchmarks.export import own
from soundstream_jax import whole_files
from soundstream_jax.checkpoint import exported
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import formats

OWN = "jax"


@dataclasses.dataclass(frozen=True)
class Opened:
  """A runtime with a model in it.

  Attributes:
    format: that it was opened from; OWN is our own codec.
    runtime: open.
    sizes: file -> bytes, of what it was opened from.
    open_s: seconds to open the folder, with all runtimes that it holds.
    first_s: seconds from then on until a first frame was encoded and decoded.
  """

  format: str
  runtime: format_lib.Runtime
  sizes: dict[str, int]
  open_s: float
  first_s: float

  @property
  def name(self) -> str:
    """Of the format and the runtime, such as 'litert: litert int8'."""
    name = self.runtime.name
    return name if self.format == OWN else f"{self.format}: {name}"

  @property
  def side_bytes(self) -> tuple[int, int] | None:
    """Smallest files that encode and that decode; None if one does both."""
    of_sides = [
      [size for file, size in self.sizes.items() if side in file]
      for side in ("encode", "decode")
    ]
    return tuple(map(min, of_sides)) if all(of_sides) else None


def open_all(
  model: exported.Exported,
  names: Iterable[str],
  folder: pathlib.Path,
  *,
  say: Callable[[str], None],
) -> Iterator[Opened]:
  """Yields our own runtime, then those of the formats that the model can take.

  Args:
    model: to write.
    names: of formats.
    folder: empty; gets one folder for each format.
    say: gets a line for every format and runtime that is left out.
  """
  home = folder / OWN
  _write(model, "params", home)
  yield from _opened(OWN, own.open_folder, home, model)
  for name in names:
    reason = formats.refusal(name, model.config, format_lib.Options())
    missing = formats.missing_packages(formats.FORMATS[name].packages)
    if missing and not reason:
      reason = f"{', '.join(missing)} is not installed."
    if reason:
      say(f"{name}: left out: {reason}")
      continue
    _write(model, name, folder / name)
    for package, opener in formats.FORMATS[name].runtimes.items():
      if formats.missing_packages([package]):
        say(f"{name}: left out: {package} is not installed.")
      elif package != "soundstream_jax":
        importlib.import_module(package)  # not a part of the time to open
        yield from _opened(name, opener, folder / name, model)


def _write(model: exported.Exported, name: str, folder: pathlib.Path) -> None:
  content = formats.FORMATS[name].files(model, format_lib.Options())
  for file, data in content.items():
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_files.write(path, data)


def _opened(
  name: str,
  opener: Callable,
  folder: pathlib.Path,
  model: exported.Exported,
) -> Iterator[Opened]:
  gc.collect()
  start = time.perf_counter()
  runtimes = opener(folder)
  open_s = time.perf_counter() - start
  files = {
    path.relative_to(folder).as_posix(): path.stat().st_size
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }
  frame = np.zeros((1, model.config.rates.hop_samples), np.float32)
  layers = model.config.quantizer.num_quantizers
  for runtime in runtimes:
    start = time.perf_counter()
    runtime.decode(runtime.encode(frame, num_quantizers=layers))
    first_s = time.perf_counter() - start
    sizes = {f: n for f, n in files.items() if _is_of(f, runtime.name)}
    yield Opened(name, runtime, sizes, open_s, first_s)


def _is_of(file: str, runtime: str) -> bool:
  """Whether a file is of this runtime, where int8 has a folder of its own."""
  return ("int8" in file) == ("int8" in runtime)
