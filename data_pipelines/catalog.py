"""Finds the datasets that `prepare` knows, by name: the modules of corpora/.

A new dataset is one module there, and its name is the module's. It has either
CORPUS, a `corpus.Corpus` or one for each of its kinds, {kind: Corpus}; or, where
flags shape it, their names FLAGS and a function describe(kind, **flags).
"""

import functools
import importlib
import pkgutil
import types
from collections.abc import Mapping
from typing import Any

from soundstream_jax import errors
from soundstream_jax.data_pipelines import corpora, corpus


@functools.cache
def names() -> tuple[str, ...]:
  """Returns what --dataset may be: first those with flags of their own."""
  found = [module.name for module in pkgutil.iter_modules(corpora.__path__)]
  return tuple(sorted(found, key=lambda name: (not flags_of(name), name)))


def flags_of(name: str) -> tuple[str, ...]:
  """Returns the names of the flags that only this dataset reads."""
  return getattr(_module(name), "FLAGS", ())


def load(
  name: str, kind: str | None, settings: Mapping[str, Any]
) -> corpus.Corpus:
  """Returns the dataset of one of `names`.

  Args:
    kind: what --kind= says; None where it is not given.
    settings: values of the flags, by name; read are those of `flags_of`.

  Raises:
    InputError: a kind that the dataset does not have, or none where it has
      several.
  """
  by_kind = {c.kind: c for c in load_all(name, kind, settings)}
  if len(by_kind) == 1 and (kind is None or flags_of(name)):
    return next(iter(by_kind.values()))
  if kind not in by_kind:
    given = "is missing" if kind is None else "is none of them"
    raise errors.InputError(
      f"--kind={kind or ''} {given}: {name} has {', '.join(by_kind)}."
      f"{errors.nearest(kind or '', by_kind)}"
    )
  return by_kind[kind]


def load_all(
  name: str, kind: str | None, settings: Mapping[str, Any]
) -> list[corpus.Corpus]:
  """Returns the dataset of one of `names`, as one for each of its kinds.

  Raises:
    InputError: as `load`, of a dataset that is shaped by flags.
  """
  module = _module(name)
  if flags_of(name):
    own = {flag: settings[flag] for flag in flags_of(name)}
    return [module.describe(kind, **own)]
  found = module.CORPUS
  return [found] if isinstance(found, corpus.Corpus) else list(found.values())


def _module(name: str) -> types.ModuleType:
  return importlib.import_module(f"{corpora.__name__}.{name}")
