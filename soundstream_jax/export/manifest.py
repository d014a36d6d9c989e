"""The list of what an export wrote, by which changes to it are found.

export.json
  format, format_version   name of the format; 1
  software                 what wrote it
  fingerprint, step, weights, config   of the model
  options                  beside the format: dtype, denoise
  licence, data            notes, in the user's words
  files                    path -> bytes, sha256
  tensors                  file -> tensor -> sha256 of its values
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import soundstream_jax
from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.checkpoint import exported
from soundstream_jax.export import format as format_lib

NAME = "export.json"
FORMAT_VERSION = 1


def make(
  name: str,
  model: exported.Exported,
  options: format_lib.Options,
  *,
  files: Mapping[str, bytes],
  tensors: Mapping[str, Mapping[str, str]],
  notes: Mapping[str, str],
) -> dict[str, Any]:
  """Returns the content of the file.

  Args:
    name: of the format.
    model: that was written.
    options: likewise.
    files: path below the folder -> content, of all but this one.
    tensors: of `Format.tensors`.
    notes: on licence and data.
  """
  return {
    "format": name,
    "format_version": FORMAT_VERSION,
    "software": f"soundstream_jax {soundstream_jax.__version__}",
    "fingerprint": exported.fingerprint_of(model).hex(),
    "step": model.step,
    "weights": model.weights,
    "options": {"dtype": options.dtype, "denoise": options.denoise},
    **notes,
    "config": config_lib.to_dict(model.config),
    "files": {
      path: {"bytes": len(data), "sha256": sha256(data)}
      for path, data in sorted(files.items())
    },
    "tensors": {file: dict(sums) for file, sums in tensors.items()},
  }


def to_bytes(content: Mapping[str, Any]) -> bytes:
  return (json.dumps(content, indent=1) + "\n").encode()


def sha256(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()


def read(folder: pathlib.Path) -> dict[str, Any]:
  """Reads the file of a folder.

  Raises:
    InputError: it is missing, damaged, or of another version.
  """
  path = folder / NAME
  try:
    content = json.loads(path.read_text())
    version = content["format_version"]
    for name in ("format", "fingerprint", "files", "tensors", "config"):
      content[name]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise errors.InputError(
      f"{path} cannot be read ({error}). Export the model again."
    ) from None
  if version != FORMAT_VERSION:
    raise errors.InputError(
      f"{path} has format version {version}; this version reads "
      f"{FORMAT_VERSION}. A newer soundstream_jax may read it."
    )
  return content


def changes(
  folder: pathlib.Path, content: Mapping[str, Any], written: format_lib.Format
) -> list[str]:
  """Returns a line for each file or tensor that is not as it was written."""
  lines = []
  for name, expected in content["files"].items():
    path = folder / name
    if not path.is_file():
      lines.append(f"{name} is missing")
    elif sha256(path.read_bytes()) != expected["sha256"]:
      lines.append(f"{name} was changed")
  known = {*content["files"], NAME}
  lines += [
    f"{path.relative_to(folder)} does not belong there"
    for path in sorted(folder.rglob("*"))
    if path.is_file() and str(path.relative_to(folder)) not in known
  ]
  changed = {line.partition(" ")[0] for line in lines}
  if changed & set(content["tensors"]):
    lines += _changed_tensors(folder, content, written)
  return lines


def _changed_tensors(folder, content, written) -> list[str]:
  """Names the tensors of files that were changed, where these can be read."""
  try:
    found = written.tensors(folder)
  except Exception as error:  # whoever reads it has errors of its own
    return [f"its tensors cannot be read ({error})"]
  lines = []
  for file, expected in content["tensors"].items():
    have = found.get(file, {})
    for name in sorted({*expected, *have}):
      if name not in have:
        lines.append(f"{file}: the tensor {name} is missing")
      elif name not in expected:
        lines.append(f"{file}: the tensor {name} does not belong there")
      elif have[name] != expected[name]:
        lines.append(f"{file}: the tensor {name} was changed")
  return lines
