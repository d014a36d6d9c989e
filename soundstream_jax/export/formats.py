"""The one table of formats: what `soundstream export --format` takes.

A new one is a module here with a `FORMAT`, and its line in FORMATS.
"""

import importlib.util
from collections.abc import Sequence

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import litert, params, stablehlo, web
from soundstream_jax.export.hugging_face import format as hugging_face
from soundstream_jax.export.onnx import format as onnx
from soundstream_jax.export.torch import format as torch

FORMATS: dict[str, format_lib.Format] = {
  "params": params.FORMAT,
  "onnx": onnx.FORMAT,
  "litert": litert.FORMAT,
  "stablehlo": stablehlo.FORMAT,
  "torch": torch.FORMAT,
  "hf": hugging_face.FORMAT,
  "web": web.FORMAT,
}


def of(names: str) -> tuple[str, ...]:
  """Returns the formats that a word with commas names, each once.

  Raises:
    InputError: there is none of a name; the message has the nearest.
  """
  found = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
  for name in found:
    if name not in FORMATS:
      raise errors.InputError(
        f"--format={name!r} is none.{errors.nearest(name, FORMATS)} Formats: "
        f"{', '.join(FORMATS)}; list says what a model can become."
      )
  return found


def check(
  names: Sequence[str], config: config_lib.Config, options: format_lib.Options
) -> None:
  """Refuses what cannot be written, before anything is.

  Raises:
    InputError: a format that the model cannot become, or a package that is
      not installed.
  """
  for name in names:
    reason = refusal(name, config, options)
    if reason:
      raise errors.InputError(f"--format={name}: {reason}")
    missing = missing_packages(FORMATS[name].packages)
    if missing:
      raise errors.InputError(
        f"--format={name} needs {', '.join(missing)}. pip install "
        f"'soundstream_jax[{FORMATS[name].extra}]'"
      )


def refusal(
  name: str, config: config_lib.Config, options: format_lib.Options
) -> str | None:
  """Returns why a model cannot become a format; None if it can."""
  if options.dtype != "float32" and name != "params":
    return (
      f"--dtype={options.dtype} is for params alone, whose reader makes float32 "
      "of it. Leave it out."
    )
  if options.denoise and config.model.film == "none":
    return (
      "--denoise: this model was trained without denoising (model.film=none). "
      "Leave --denoise out."
    )
  if options.denoise and not FORMATS[name].fixed_switch:
    fixed = ", ".join(n for n, other in FORMATS.items() if other.fixed_switch)
    return (
      f"--denoise is for formats whose switch stands as it is written ({fixed}); "
      "here it is an input. Leave --denoise out."
    )
  if config.model.compute_dtype != "float32" and name != "params":
    return (
      f"model.compute_dtype={config.model.compute_dtype} computes with fewer "
      "bits than other runtimes do, which gives other codes. Write a model of "
      "its parameters with --compute_dtype=float32."
    )
  return FORMATS[name].refusal(config, options)


def missing_packages(packages: Sequence[str]) -> list[str]:
  return [name for name in packages if importlib.util.find_spec(name) is None]


def describe(
  config: config_lib.Config, options: format_lib.Options
) -> list[str]:
  """Returns a line for each format: what it is, and whether it can be."""
  width = max(map(len, FORMATS))
  lines = []
  for name, written in FORMATS.items():
    reason = refusal(name, config, options)
    missing = missing_packages(written.packages)
    if reason:
      verdict = f"no: {reason}"
    elif missing:
      verdict = (
        f"yes, with {', '.join(missing)}: pip install "
        f"'soundstream_jax[{written.extra}]'"
      )
    else:
      verdict = "yes"
    lines.append(f"{name:{width}}  {written.about}\n{'':{width}}  {verdict}")
  return lines
