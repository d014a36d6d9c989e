"""What is measured, in which order, and what each item may cost.

The most valuable first: the whole step and where its time goes, the questions
that decide how it is to be written, PyTorch beside it, then other sizes and
methods. Single layers in all methods are hundreds of programs: the heaviest come
early, in the method of --form alone, the others last.
"""

import dataclasses
import fnmatch
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.gpu import conditions as conditions_lib
from benchmarks.gpu.measuring import layers as layers_lib
from benchmarks.gpu.measuring import questions, variants
from soundstream_jax.convolution import methods

BATCHES = (64, 128, 16, 8)
# Layers that come early, in the method of --form.
HEAVIEST = 12
# Layers that a question is asked about; groups have four stages.
ASKED = {"groups": 4}
ASKED_OTHERWISE = 2
# For the order of layers: products and bytes per second of a card.
_PRODUCTS, _COPIES = 8e14, 3e12

# Seconds that a kind of item is expected to take, compiled anew, and at most.
_COSTS = {
  "peaks": (15, 120),
  "step": (150, 420),
  "trace": (20, 420),
  "question": (5, 90),
  "layer": (5, 90),
  "reconstruction": (45, 240),
  "losses": (90, 300),
  "pytorch": (120, 420),
  "kmeans": (60, 300),
}


@dataclasses.dataclass(frozen=True)
class Item:
  """One measurement.

  Attributes:
    name: of its entry.
    measure: of `worker`.
    arguments: of the measurement.
    is_fresh: in a new process, whose peak of memory is the item's own.
    has_card: False where another program is to have the card.
  """

  name: str
  measure: str
  arguments: dict[str, Any]
  is_fresh: bool = False
  has_card: bool = True

  @property
  def expected_s(self) -> float:
    return _COSTS[self.measure][0]

  @property
  def most_s(self) -> float:
    return _COSTS[self.measure][1]


def items(given: conditions_lib.Conditions) -> Iterator[Item]:
  """Yields all items; a run asks for the next when it has come to it."""
  yield Item("peaks", "peaks", {})
  yield _step(given.form)
  yield Item(f"trace/{given.form}", "trace", {"form": given.form})
  layers = layers_lib.of_model(given.config(), methods.METHODS["plain"])
  yield from asked(layers)
  first = conditions_lib.name_of(given.form, given.platform)
  ordered = sorted(layers, key=_cost, reverse=True)
  for layer in ordered[:HEAVIEST]:
    yield _layer(layer, first)
  yield Item("check/reconstruction", "reconstruction", {})
  for compiled in (False, True):
    name = "compiled" if compiled else "eager"
    arguments = {"compiled": compiled}
    yield Item(f"pytorch/{name}", "pytorch", arguments, has_card=False)
  yield Item("check/losses", "losses", {"form": given.form})
  yield Item("kmeans", "kmeans", {}, is_fresh=True)
  # `plain` is the definition, which all others are compared with.
  others = [form for form in methods.METHODS if form != first]
  others.sort(key=lambda form: form != "plain")
  batches = [batch for batch in BATCHES if batch != given.batch]
  yield _step(given.form, batch=batches[0])
  yield from map(_step, others)
  yield from (_step(given.form, batch=batch) for batch in batches[1:])
  yield from (_layer(layer, first) for layer in ordered[HEAVIEST:])
  for form in others:
    yield from (_layer(layer, form) for layer in ordered)


def asked(layers: Iterable[layers_lib.Layer]) -> Iterator[Item]:
  """Yields the open questions, each about its heaviest layers."""
  for question in variants.OF:
    for layer in _fitting(question, layers):
      for variant in variants.ways(question, layer.spec):
        yield _question(question, variant, layer)
  for flag in questions.FLAGS:
    for question, variant in questions.FLAGGED:
      for layer in _fitting(question, layers)[:1]:
        yield _question(question, variant, layer, flag=flag)


def chosen(found: Iterable[Item], patterns: Iterable[str]) -> Iterator[Item]:
  """Yields the items whose names match one of the patterns, as of a shell."""
  patterns = list(patterns)
  for item in found:
    if any(fnmatch.fnmatchcase(item.name, pattern) for pattern in patterns):
      yield item


def _step(form: str, *, batch: int = 0) -> Item:
  size = {"batch": batch} if batch else {}
  name = f"step/{form}" + (f"/batch={batch}" if batch else "")
  return Item(name, "step", {"form": form} | size, is_fresh=True)


def _layer(layer: layers_lib.Layer, form: str) -> Item:
  arguments = {"name": layer.name, "form": form}
  return Item(f"layer/{form}/{layer.name}", "layer", arguments)


def _question(
  question: str, variant: str, layer: layers_lib.Layer, *, flag: str = ""
) -> Item:
  name = f"question/{question}/{layer.name}/{variant}"
  arguments = {"question": question, "variant": variant, "name": layer.name}
  if flag:
    name, arguments = f"{name}, {flag}", arguments | {"flag": flag}
  return Item(name, "question", arguments)


def _fitting(
  question: str, layers: Iterable[layers_lib.Layer]
) -> list[layers_lib.Layer]:
  """Returns the heaviest layers of a question, each kernel once."""
  found = {}
  for layer in sorted(layers, key=_cost, reverse=True):
    if variants.fits(question, layer.spec, layer.x.channels):
      found.setdefault((layer.spec, layer.x.channels), layer)
  return list(found.values())[: ASKED.get(question, ASKED_OTHERWISE)]


def _cost(layer: layers_lib.Layer) -> float:
  """Seconds that all layers of a kind need at least."""
  return layer.count * max(layer.flops / _PRODUCTS, layer.bytes / _COPIES)
