"""Writes the folder of a format: the model, and what it can be checked by.

FOLDER/...            the format's own files
FOLDER/golden.npz     a sound, its codes, the decoded audio (see `golden`)
FOLDER/parity.json    how near each runtime here came (see `parity`)
FOLDER/README.md      how to open it, in ten lines that run, and the card
FOLDER/LICENSE        of weights and files
FOLDER/export.json    the list of all these (see `manifest`)
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import tempfile
import types
from collections.abc import Iterator, Mapping, Sequence

import soundstream_jax
from soundstream_jax import errors, rates
from soundstream_jax.checkpoint import derived, exported
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import (
  formats,
  golden,
  manifest,
  number_range,
  params,
  parity,
)

CARD = "parity.json"
README = "README.md"
LICENCE = "LICENSE"


@dataclasses.dataclass(frozen=True)
class Written:
  """What became of one format."""

  size: int  # bytes of all files
  model: exported.Exported  # that was written
  rows: tuple[parity.Row, ...]


def chosen(
  model: exported.Exported, options: format_lib.Options
) -> exported.Exported:
  """Returns the model that options make of one: fewer layers, rounded.

  Raises:
    InputError: it has fewer layers, or numbers that the dtype does not reach.
  """
  if options.num_quantizers is not None:
    model = derived.first_layers(model, options.num_quantizers)
  if options.dtype != "float32":
    model = derived.rounded(model, options.dtype)
  return model


def write(
  folder: str | os.PathLike,
  name: str,
  model: exported.Exported,
  options: format_lib.Options,
  *,
  beside: Mapping[str, bytes] = types.MappingProxyType({}),
) -> Written:
  """Writes one format; see `write_each`."""
  beside = {name: beside}
  ((_, written),) = write_each({name: folder}, model, options, beside=beside)
  return written


def write_each(
  folders: Mapping[str, str | os.PathLike],
  model: exported.Exported,
  options: format_lib.Options,
  *,
  beside: Mapping[str, Mapping[str, bytes]] = types.MappingProxyType({}),
) -> Iterator[tuple[str, Written]]:
  """Writes formats one after the other, and says of each what became of it.

  Args:
    folders: name of a format -> its folder, made where need be.
    model: to write.
    options: likewise.
    beside: name of a format -> other files that belong there, such as tables
      of the entropy coder.

  Raises:
    InputError: a format cannot hold the model, or a folder holds one; before
      any is written.
    DiskError: the disk cannot be written to.
  """
  formats.check(list(folders), model.config, options)
  for name, folder in folders.items():
    exported.check_free(folder, _last(name))
  before, model = model, chosen(model, options)
  codec = _codec(model)
  values = functools.cache(functools.partial(_golden, codec))
  for name, folder in folders.items():
    written = formats.FORMATS[name]
    files = {**written.files(model, options), **beside.get(name, {})}
    fixed = options.denoise if written.fixed_switch else None
    files[golden.NAME] = golden.to_bytes(values(fixed))
    files[LICENCE] = _licence(options).encode()
    with _staged(files) as stage:
      rows = rows_of(stage, written, values(fixed))
      tensors = written.tensors(stage)
    if options.dtype != "float32":
      rows.append(_rounding(before, codec, options))
    files[CARD] = _card(codec, values(fixed), rows)
    files[README] = _readme(name, model, options, rows).encode()
    content = manifest.make(
      name, model, options, files=files, tensors=tensors, notes=options.notes
    )
    files[manifest.NAME] = manifest.to_bytes(content)
    exported.write_files(folder, files, last=_last(name))
    yield name, Written(sum(map(len, files.values())), model, tuple(rows))


def _last(name: str) -> tuple[str, ...]:
  return formats.FORMATS[name].last or (manifest.NAME,)


def _golden(codec: codec_lib.Codec, fixed: bool | None) -> golden.Golden:
  return golden.make(codec, fixed=fixed)


def rows_of(
  folder: pathlib.Path, written: format_lib.Format, values: golden.Golden
) -> list[parity.Row]:
  """Returns a row for each runtime that is installed."""
  rows = []
  for package, opened in written.runtimes.items():
    if not formats.missing_packages([package]):
      for runtime in opened(folder):
        rows.append(parity.measure(runtime, values))
  return rows


@contextlib.contextmanager
def _staged(files: Mapping[str, bytes]) -> Iterator[pathlib.Path]:
  """Writes files where runtimes can open them before they get their names."""
  with tempfile.TemporaryDirectory(prefix="soundstream-export-") as name:
    stage = pathlib.Path(name)
    with errors.writing("a temporary folder", stage):
      for path, data in files.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).write_bytes(data)
    yield stage


def _rounding(
  model: exported.Exported,
  rounded: codec_lib.Codec,
  options: format_lib.Options,
) -> parity.Row:
  """Returns a row of what rounding changes: the model before beside it."""
  before = chosen(model, dataclasses.replace(options, dtype="float32"))
  runtime = params.Own(rounded)
  runtime.name, runtime.lossy = f"{options.dtype} beside float32,", True
  return parity.measure(runtime, golden.make(_codec(before)))


def _codec(model: exported.Exported) -> codec_lib.Codec:
  return codec_lib.Codec(
    model.config,
    model.params,
    model.vectors,
    step=model.step,
    weights=model.weights,
  )


def _card(
  codec: codec_lib.Codec, values: golden.Golden, rows: Sequence[parity.Row]
) -> bytes:
  largest = number_range.largest(codec, values.audio)
  content = {
    "software": f"soundstream_jax {soundstream_jax.__version__}",
    "golden": {
      "samples": len(values.audio),
      "frames": len(values.codes),
      "layers": values.codes.shape[1],
    },
    "largest_number": largest,
    "leaves_float16": largest > number_range.FLOAT16,
    "rows": [row.to_json() for row in rows],
  }
  return (json.dumps(content, indent=1) + "\n").encode()


def _readme(
  name: str,
  model: exported.Exported,
  options: format_lib.Options,
  rows: Sequence[parity.Row],
) -> str:
  made = model.config.rates
  mark = exported.fingerprint_of(model).hex()
  bitrates = (
    rates.describe_bps(made.bitrate_bps(1)),
    rates.describe_bps(made.bitrate_bps()),
  )
  card = parity.table(rows) if rows else "No runtime was installed to ask."
  return f"""\
# A SoundStream codec: {formats.FORMATS[name].about}

{made.sample_rate_hz} Hz, frames of {made.hop_samples} samples, {made.num_quantizers} layers of
{made.codebook_size} codes: {bitrates[0]} to {bitrates[1]} bit/s. Fingerprint {mark[:12]}, step {model.step}.

```python
{formats.FORMATS[name].consumer}```

Parity on `golden.npz`, which `soundstream export --check .` measures again:

{card}

Licence of the weights: {options.notes["licence"]}. Data: {options.notes["data"]}.
Written by soundstream_jax {soundstream_jax.__version__}; what is exact and what is not: its docs/export.md.
"""


def _licence(options: format_lib.Options) -> str:
  return f"""\
Weights (all tensors, and golden.npz): {options.notes["licence"]}
Trained on: {options.notes["data"]}

Everything else in this folder (code, graphs, texts) was written by
soundstream_jax and is licensed under the Apache License, Version 2.0, a copy of
which is at https://www.apache.org/licenses/LICENSE-2.0. It comes without
warranties or conditions of any kind.
"""
