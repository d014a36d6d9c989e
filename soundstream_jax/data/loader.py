"""Batches to train on, in an order that the seed and the step decide.

Their order is a function of (config.seed, step) alone: every source is shuffled
anew each epoch, examples are made by their place in that endless list, sources
are mixed in exact proportion, and only then does each process take its rows of
every batch. So the global batch is the same for any number of processes, and
worker processes change nothing. Grain does the work.
"""

import contextlib
from collections.abc import Iterator, Sequence

import grain
import numpy as np
from absl import flags

from soundstream_jax import config as config_lib
from soundstream_jax import os_signals
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.data import mixtures, shared_buffers, worker


class Loader:
  """Iterator of `batch.Batch`: this process's rows of each global batch.

  `step` is the step whose batch comes next. Reading ahead starts with the
  first batch, so `seek` before it costs nothing.
  """

  def __init__(
    self, steps: grain.MapDataset, *, rows: int, config: config_lib.Config
  ):
    """Args: steps gives (step, this process's examples of it), by step."""
    self.step = 0
    self._steps, self._rows = steps, rows
    self._config = config
    self._iterator = self._buffers = None

  def __iter__(self) -> Iterator[batch_lib.Batch]:
    return self

  def __next__(self) -> batch_lib.Batch:
    beginning = contextlib.nullcontext()
    if self._iterator is None:
      self._iterator = iter(self._from_step())
      if self._buffers is not None:
        beginning = os_signals.deaf_children()
    try:
      with beginning:
        batch = next(self._iterator)
    except RuntimeError as error:
      lost = worker.lost(error)
      if lost is None:
        raise
      raise lost from error
    self.step += 1
    return self._buffers.take(batch) if self._buffers else batch

  def seek(self, step: int) -> None:
    """Jumps: the next batch is that of `step`."""
    if step < 0:
      raise ValueError(f"step={step} must be at least 0")
    self.close()
    self.step = step

  def state(self) -> dict[str, int]:
    """Returns the position as JSON; `seek(state["step"])` restores it."""
    return {"step": self.step}

  def close(self) -> None:
    """Stops threads and worker processes; the loader can still be used."""
    if self._iterator is not None:
      self._iterator.close()
      self._iterator = None
    if self._buffers is not None:
      self._buffers.close()
      self._buffers = None

  def __enter__(self) -> "Loader":
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def _from_step(self) -> grain.IterDataset:
    data = self._config.data
    steps = self._steps[self.step :]
    if not data.num_workers:
      steps = steps.map(_stacked)
    ahead = steps.to_iter_dataset(
      grain.ReadOptions(
        num_threads=data.num_threads,
        prefetch_buffer_size=data.prefetch_batches,
      )
    )
    if not data.num_workers:
      return ahead
    self._buffers = shared_buffers.BufferPool(
      _blank(self._config), self._rows, data.num_workers
    )
    # Grain's worker processes read absl's flags, parsed or not.
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    return ahead.map(self._buffers.fill).mp_prefetch(
      grain.MultiprocessingOptions(num_workers=data.num_workers),
      worker_init_fn=worker.begin,
    )


class _Steps:
  """Each step's number with its chosen rows, example by example."""

  def __init__(self, examples, rows: Sequence[int], batch_size: int):
    self._examples, self._rows = examples, tuple(rows)
    self._batch_size = batch_size

  def __len__(self) -> int:
    return len(self._examples) // self._batch_size

  def __getitem__(self, step: int) -> tuple[int, list[batch_lib.Batch]]:
    start = step * self._batch_size
    return step, [self._examples[start + row] for row in self._rows]


def train_loader(
  config: config_lib.Config, *, rows: Sequence[int] | None = None
) -> Loader:
  """Returns batches of one process, from step 0 and without end.

  Args:
    rows: which rows of the global batch the process reads, in this order (see
      `sharding.process_rows`); default all.

  Raises:
    InputError: no datasets for what the mixture names, or one that cannot be
      read.
  """
  rows = range(config.batch_size) if rows is None else rows
  ingredients = mixtures.ingredients(config, "train")
  seeds = np.random.SeedSequence(config.seed).generate_state(
    len(ingredients) + 1
  )
  sources = [
    grain.MapDataset.source(ingredient.source)
    .seed(int(seed))
    .shuffle()
    .repeat()
    .random_map(ingredient.example)
    for ingredient, seed in zip(ingredients, seeds[1:], strict=True)
  ]
  mixed = grain.MapDataset.mix(sources, weights=[i.weight for i in ingredients])
  steps = _Steps(mixed.seed(int(seeds[0])), rows, config.batch_size)
  return Loader(grain.MapDataset.source(steps), config=config, rows=len(rows))


def _stacked(numbered: tuple[int, list[batch_lib.Batch]]) -> batch_lib.Batch:
  return batch_lib.stack(numbered[1])


def _blank(config: config_lib.Config) -> batch_lib.Batch:
  """Returns an example in shapes and types."""
  silence = np.zeros((config.data.crop_samples, 1), np.float32)
  return batch_lib.of(
    config, audio=silence, target=silence, denoise=np.bool_(False)
  )
