"""Constraints on data, and how fields name datasets."""

import math
from typing import Any

from soundstream_jax import errors
from soundstream_jax.settings import fields, lists

# Fields that name prepared datasets.
SOURCES = (
  "data.sources",
  "data.speech",
  "data.music",
  "data.noise",
  "data.rooms",
)


def parse_sources(
  text: str, *, name: str = "data.sources"
) -> list[tuple[str, float]]:
  r"""Splits 'DIR:weight,DIR' into (folder, weight); a missing weight is 1.

  A comma in a name is written `\,`. A name that ends like a weight, as in
  take:2, is written with one: take:2:1.

  Raises:
    InputError: an empty folder or a weight that is not a positive number.
  """
  sources = []
  for item in lists.split(text):
    folder, colon, weight = item.rpartition(":")
    if not colon or "/" in weight:
      folder, weight = item, "1"
    try:
      number = float(weight)
    except ValueError:
      number = -1.0
    if not folder or not 0 < number < math.inf:
      named = f" A folder of this name is {item}:1." if folder else ""
      raise errors.InputError(
        f"{name} has {item!r}; write DIR:weight with a weight above 0, "
        f"for example speech:0.7,music:0.3.{named}"
      )
    sources.append((folder, number))
  return sources


def as_source(folder: str) -> str:
  """Returns what `parse_sources` reads as this folder."""
  text = lists.join([folder])
  weight = folder.rpartition(":")[2]
  return f"{text}:1" if ":" in folder and "/" not in weight else text


def check(config: Any) -> None:
  """Refuses data that cannot be mixed."""
  data = config.data
  for name in ("data.gain_db", "data.noise_gain_db"):
    bounds = fields.get(config, name)
    if len(bounds) != 2 or bounds[0] > bounds[1]:
      raise errors.InputError(
        f"{name}={bounds} must be a lower and an upper bound in dB, for "
        "example (-12.0,3.0)."
      )
  for name in ("data.denoise_share", "data.filter_share"):
    if not 0 <= fields.get(config, name) <= 1:
      raise errors.InputError(
        f"{name}={fields.get(config, name)} must be from 0 to 1, for example 0.5."
      )
  for name in SOURCES:
    parse_sources(fields.get(config, name), name=name)
  shares = dict(fields.walk(data.mixture))
  for name, share in shares.items():
    if share < 0:
      raise errors.InputError(
        f"data.mixture.{name}={share} must be at least 0."
      )
  if any(shares.values()) and data.sources:
    raise errors.InputError(
      f"data.sources={data.sources} is not read where data.mixture has shares. "
      "Set data.speech, data.music, data.noise and data.rooms instead."
    )
  if 2 * data.min_bandwidth_hz > config.audio.sample_rate_hz:
    raise errors.InputError(
      f"data.min_bandwidth_hz={data.min_bandwidth_hz} is above half of "
      f"audio.sample_rate_hz={config.audio.sample_rate_hz}: no record has it. "
      f"Use {0.4 * config.audio.sample_rate_hz:g} or less."
    )
