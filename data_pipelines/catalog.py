"""The datasets that `prepare` knows, by name: the modules of corpora/."""

import importlib
import pkgutil

from soundstream_jax import errors
from soundstream_jax.data_pipelines import corpora, corpus


def names() -> list[str]:
  """Returns what --dataset may be, beyond audio_folder and synthetic."""
  return [name for name in _modules() if _corpora_of(name)]


def load(name: str, kind: str | None) -> corpus.Corpus:
  """Returns the dataset of one of `names`.

  Args:
    kind: speech, music or noise, of a dataset that has several; else None.

  Raises:
    InputError: a kind that the dataset does not have, or none where it has
      several.
  """
  by_kind = {found.kind: found for found in load_all(name)}
  if kind is None and len(by_kind) == 1:
    return next(iter(by_kind.values()))
  if kind not in by_kind:
    given = "is missing" if kind is None else "is none of them"
    raise errors.InputError(
      f"--kind={kind or ''} {given}: {name} has {', '.join(by_kind)}."
      f"{errors.nearest(kind or '', by_kind)}"
    )
  return by_kind[kind]


def load_all(name: str) -> list[corpus.Corpus]:
  """Returns the dataset of one of `names`, as one for each of its kinds."""
  found = _corpora_of(name)
  return [found] if isinstance(found, corpus.Corpus) else list(found.values())


def _modules() -> list[str]:
  return sorted(
    module.name for module in pkgutil.iter_modules(corpora.__path__)
  )


def _corpora_of(name: str) -> corpus.Corpus | dict[str, corpus.Corpus] | None:
  """Returns a module's CORPUS; modules without one are helpers of others."""
  if name not in _modules():
    return None
  module = importlib.import_module(f"{corpora.__name__}.{name}")
  return getattr(module, "CORPUS", None)
