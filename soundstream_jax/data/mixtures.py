"""Mixture of a configuration: datasets, kinds of example and their weights."""

import dataclasses

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.data import examples, kinds
from soundstream_jax.data import source as source_lib


@dataclasses.dataclass(frozen=True)
class Ingredient:
  """Examples of one kind from one dataset."""

  source: source_lib.Source
  example: examples.Example
  weight: float


def heard(config: config_lib.Config) -> list[str]:
  """Returns the folders whose records are coded, each once, in order."""
  folders = [
    folder
    for kind in kinds.shares(config)
    for folder, _ in kinds.datasets(config, kind.of, kind)
  ]
  return list(dict.fromkeys(folders))


def ingredients(config: config_lib.Config, split: str) -> list[Ingredient]:
  """Opens all that a configuration trains on.

  A kind's share is divided among the datasets it is made of by their weights.

  Raises:
    InputError: a kind without a dataset, or a dataset that cannot be read.
  """
  found = []
  for kind, share in kinds.shares(config).items():
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
  config: config_lib.Config, name: str, split: str, kind: kinds.Kind
) -> examples.Pool:
  """Opens the datasets of config.data.NAME for a kind of example.

  Raises:
    InputError: none is named, or one cannot be read or is silent.
  """
  folders = kinds.datasets(config, name, kind)
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
  for source in opened:
    if source.silent:
      raise errors.InputError(
        f"{source.field}: every record of the split {split!r} of "
        f"{source.folder} is silent: there is nothing to learn. Listen to what "
        "was prepared, and use other audio."
      )
  return examples.Pool(tuple(opened), tuple(weight for _, weight in folders))
