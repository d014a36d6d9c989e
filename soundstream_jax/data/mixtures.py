"""Mixture of a configuration: datasets, kinds of example and their weights."""

import dataclasses

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.data import examples
from soundstream_jax.data import source as source_lib
from soundstream_jax.settings import fields

_PREPARE = "python -m soundstream_jax.data_pipelines.prepare"
_NO_SOURCES = (
  "data.sources is empty: there is nothing to train on. Make a dataset with "
  f"{_PREPARE} --dataset=synthetic --out=DIR (or --dataset=audio_folder "
  "--input=FOLDER --out=DIR), then set --config.data.sources=DIR."
)


@dataclasses.dataclass(frozen=True)
class Ingredient:
  """Examples of one kind from one dataset."""

  source: source_lib.Source
  example: examples.Example
  weight: float


def kinds(config: config_lib.Config) -> dict[examples.Kind, float]:
  """Returns the kinds of example that are trained on, with their shares."""
  shares = dict(fields.walk(config.data.mixture))
  found = {kind: shares[kind.name] for kind in examples.KINDS}
  return {k: share for k, share in found.items() if share} or {
    examples.ANY: 1.0
  }


def heard(config: config_lib.Config) -> list[str]:
  """Returns the folders whose records are coded, each once, in order."""
  folders = [
    folder
    for kind in kinds(config)
    for folder, _ in datasets(config, kind.of, kind)
  ]
  return list(dict.fromkeys(folders))


def ingredients(config: config_lib.Config, split: str) -> list[Ingredient]:
  """Opens all that a configuration trains on.

  A kind's share is divided among the datasets it is made of by their weights.

  Raises:
    InputError: a kind without a dataset, or a dataset that cannot be read.
  """
  found = []
  for kind, share in kinds(config).items():
    example = examples.Example(
      config,
      kind,
      noise=pool(config, "noise", split, kind) if kind.noisy else None,
      rooms=pool(config, "rooms", split, kind) if kind.reverberant else None,
    )
    voices = pool(config, kind.of, split, kind)
    total = sum(voices.weights)
    found += [
      Ingredient(source, example, share * weight / total)
      for source, weight in zip(voices.sources, voices.weights, strict=True)
    ]
  return found


def pool(
  config: config_lib.Config, name: str, split: str, kind: examples.Kind
) -> examples.Pool:
  """Opens the datasets of config.data.NAME for a kind of example.

  Raises:
    InputError: none is named, or one cannot be read.
  """
  folders = datasets(config, name, kind)
  opened = [
    source_lib.open_source(
      folder,
      split,
      config.audio.sample_rate_hz,
      field=f"data.{name}",
      # Rooms have no band of their own to speak of.
      min_bandwidth_hz=0 if name == "rooms" else config.data.min_bandwidth_hz,
    )
    for folder, _ in folders
  ]
  return examples.Pool(tuple(opened), tuple(weight for _, weight in folders))


def datasets(
  config: config_lib.Config, name: str, kind: examples.Kind
) -> list[tuple[str, float]]:
  """Returns (folder, weight) of config.data.NAME.

  Raises:
    InputError: it is empty.
  """
  folders = config_lib.parse_sources(
    getattr(config.data, name), name=f"data.{name}"
  )
  if folders:
    return folders
  if kind is examples.ANY:
    raise errors.InputError(_NO_SOURCES)
  share = getattr(config.data.mixture, kind.name)
  raise errors.InputError(
    f"data.{name} is empty, but data.mixture.{kind.name}={share:g} needs it. "
    f"Prepare a dataset with {_PREPARE} and set --config.data.{name}=DIR, or "
    f"set --config.data.mixture.{kind.name}=0."
  )
