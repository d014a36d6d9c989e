"""Where a checkout keeps what is compared: each name's places, old and new.

The one file to edit when something moves: add `module.name` to its line.
"""

import importlib
import importlib.util
import inspect
import os
import pathlib
import sys

PACKAGE = "soundstream_jax"
LEAVES = ("configs", "launch", "data_pipelines")

PLACES = {
  "load_preset": ("config.load",),
  "from_dict": ("config.from_dict",),
  "to_dict": ("config.to_dict",),
  "make_mesh": ("distributed.make_mesh", "devices.distributed.make_mesh"),
  "build_step": ("train.step.build",),
  "abstract_state": ("train.state.abstract",),
  "init_state": ("train.state.init",),
  "checkpoint_items": ("train.state.to_items",),
  "start_codebooks": (
    "train.codebook_init.initialise",
    "train.kmeans_start.initialise",
  ),
  "discriminators": (
    "train.state.discriminator_module",
    "model.discriminator.from_config",
  ),
  "generator": ("model.soundstream.from_config",),
  "variables": ("model.soundstream.variables",),
  "context": ("model.soundstream.context",),
  "prepare_stream": (
    "codec.steps.prepare",
    "codec.stream.step.prepare",
    "codec.stream.state.prepare",
  ),
  "encode_step": ("codec.steps.encode_step", "codec.stream.step.encode_step"),
  "decode_step": ("codec.steps.decode_step", "codec.stream.step.decode_step"),
}

# The method that computes streams; before there were methods, a form.
STREAM = "convolution.stream.method.Stream"

# Keywords that may be called otherwise, by the name they have today.
KEYWORDS = {"form": ("form", "method")}


class Missing(Exception):
  """Something that is in none of its places."""


def find(name: str):
  """Returns the object of a name in `PLACES`.

  Raises:
    Missing: it is in none of them.
  """
  for place in PLACES[name]:
    module, _, attribute = f"{PACKAGE}.{place}".rpartition(".")
    try:
      found = importlib.import_module(module)
    except ModuleNotFoundError as error:
      # Something that the module imports is another matter.
      if not f"{module}.".startswith(f"{error.name}."):
        raise
      continue
    if hasattr(found, attribute):
      return getattr(found, attribute)
  raise Missing(
    f"{name}: there is no {' or '.join(PLACES[name])}. Add its place to "
    "PLACES in benchmarks/same_programs/places.py."
  )


def call(name: str, *arguments, **options):
  """Calls the object of a name, with its own names for the `KEYWORDS`."""
  function = find(name)
  known = inspect.signature(function).parameters
  named = {}
  for key, value in options.items():
    fitting = [other for other in KEYWORDS.get(key, (key,)) if other in known]
    if not fitting:
      raise Missing(
        f"{name} takes no {key}. Add its name to KEYWORDS in "
        "benchmarks/same_programs/places.py."
      )
    named[fitting[0]] = value
  return function(*arguments, **named)


def stream_form():
  """Returns what `generator` takes as its form to compute streams."""
  module, _, attribute = f"{PACKAGE}.{STREAM}".rpartition(".")
  if importlib.util.find_spec(f"{PACKAGE}.convolution") is None:
    return "stream"
  return getattr(importlib.import_module(module), attribute)()


def use(checkout: pathlib.Path) -> None:
  """Makes imports of the package come from a checkout."""
  # An editable installation would find in its own checkout what this one lacks.
  sys.meta_path[:] = [
    finder
    for finder in sys.meta_path
    if "__editable__" not in getattr(finder, "__module__", "")
  ]
  sys.meta_path.insert(0, _Finder(checkout))
  package = importlib.import_module(PACKAGE)
  assert pathlib.Path(package.__file__).is_relative_to(checkout)


def check(checkout: pathlib.Path) -> None:
  """Asserts that no module of the package came from elsewhere."""
  for name, module in sorted(sys.modules.items()):
    if name.split(".")[0] == PACKAGE and getattr(module, "__file__", None):
      assert pathlib.Path(module.__file__).is_relative_to(checkout), name


class _Finder:
  """Before all others, so that an installed package is never asked."""

  def __init__(self, checkout: pathlib.Path):
    self._folders = {PACKAGE: checkout / PACKAGE}
    for leaf in LEAVES:
      self._folders[f"{PACKAGE}.{leaf}"] = checkout / leaf

  def find_spec(self, name, path=None, target=None):
    if name not in self._folders:
      return None
    folder = self._folders[name]
    return importlib.util.spec_from_file_location(
      name,
      os.fspath(folder / "__init__.py"),
      submodule_search_locations=[os.fspath(folder)],
    )
