"""Kinds of example, and the datasets that a configuration needs for them.

The paper's mixtures (sections IV-A and III-F) and, ours, the reverberant kinds.
No dataset is opened here, and neither numpy nor jax is loaded: a launcher asks
on a machine that has nothing else.
"""

import dataclasses
from collections.abc import Iterator

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.settings import fields

_PREPARE = "python -m soundstream_jax.data_pipelines.prepare"
_NO_SOURCES = (
  "data.sources is empty: there is nothing to train on. Make a dataset with "
  f"{_PREPARE} --dataset=synthetic --out=DIR (or --dataset=audio_folder "
  "--input=FOLDER --out=DIR), then set --config.data.sources=DIR."
)


@dataclasses.dataclass(frozen=True)
class Kind:
  """How examples of one name in data.mixture are made."""

  name: str
  of: str  # field of config.data whose records are heard
  noisy: bool = False
  reverberant: bool = False
  flag: bool = True  # whether denoising may be asked for

  @property
  def needs(self) -> Iterator[str]:
    """Fields of config.data that name its datasets."""
    yield self.of
    if self.noisy:
      yield "noise"
    if self.reverberant:
      yield "rooms"


NOISY = Kind("noisy_speech", of="speech", noisy=True)
ALL = (
  Kind("speech", of="speech"),
  NOISY,
  Kind("reverberant_speech", of="speech", reverberant=True),
  Kind("noisy_reverberant_speech", of="speech", noisy=True, reverberant=True),
  Kind("music", of="music"),
  # Nothing would be left of it.
  Kind("noise", of="noise", flag=False),
)
# data.sources, where the mixture has no shares.
ANY = Kind("sources", of="sources")


def shares(config: config_lib.Config) -> dict[Kind, float]:
  """Returns the kinds of example that are trained on, with their shares."""
  mixture = dict(fields.walk(config.data.mixture))
  found = {kind: mixture[kind.name] for kind in ALL}
  return {k: share for k, share in found.items() if share} or {ANY: 1.0}


def datasets(
  config: config_lib.Config, name: str, kind: Kind
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
  if kind is ANY:
    raise errors.InputError(_NO_SOURCES)
  share = getattr(config.data.mixture, kind.name)
  raise errors.InputError(
    f"data.{name} is empty, but data.mixture.{kind.name}={share:g} needs it. "
    f"Prepare a dataset with {_PREPARE} and set --config.data.{name}=DIR, or "
    f"set --config.data.mixture.{kind.name}=0."
  )


def check(config: config_lib.Config) -> None:
  """Refuses datasets that no disk could hold; looks at none.

  Raises:
    InputError: a kind without a dataset, or a bucket's address.
  """
  for kind in shares(config):
    for name in kind.needs:
      for folder, _ in datasets(config, name, kind):
        errors.check_mounted(f"data.{name}", folder)
