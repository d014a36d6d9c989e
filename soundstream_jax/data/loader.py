"""Batches to train on, and fixed clips of held-out records to measure on.

The order of training is a function of (config.seed, step) alone: every source
is shuffled anew each epoch, the sources are mixed in exact proportion, each
record is cropped and scaled by its place in that endless list, and only then
does each process take its rows of every batch. So the global batch is the same
for any number of processes, and worker processes change nothing. Grain does the
work.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags, logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.audio import io
from soundstream_jax.data import source as source_lib
from soundstream_jax.data import transforms

_NO_SOURCES = (
  "data.sources is empty: there is nothing to train on. Make a dataset with "
  "python -m soundstream_jax.data_pipelines.prepare --dataset=synthetic "
  "--out=DIR (or --dataset=audio_folder --input=FOLDER --out=DIR), then set "
  "--config.data.sources=DIR."
)
# Records looked at per source to find clips; a split may hold far more.
_CANDIDATES = 256
# Steps between the starts of clips considered within a record.
_STARTS_PER_CLIP = 8


class Loader:
  """Iterator of float32 [B, T, 1]: this process's part of each batch.

  `step` is the step whose batch comes next. Reading ahead starts with the
  first batch, so `seek` before it costs nothing.
  """

  def __init__(self, batches: grain.MapDataset, *, data: config_lib.Data):
    self.step = 0
    self._batches = batches
    self._data = data
    self._iterator = None

  def __iter__(self) -> Iterator[np.ndarray]:
    return self

  def __next__(self) -> np.ndarray:
    if self._iterator is None:
      self._iterator = iter(self._from_step())
    batch = next(self._iterator)
    self.step += 1
    # A worker's batch lies in shared memory that goes when the array does; on
    # a CPU, jax may use an array's memory in place.
    return np.array(batch) if self._data.num_workers else batch

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

  def __enter__(self) -> "Loader":
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def _from_step(self) -> grain.IterDataset:
    data = self._data
    batches = self._batches[self.step :].to_iter_dataset(
      grain.ReadOptions(
        num_threads=data.num_threads,
        prefetch_buffer_size=data.prefetch_batches,
      )
    )
    if not data.num_workers:
      return batches
    # Grain's worker processes read absl's flags, parsed or not.
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    return batches.mp_prefetch(
      grain.MultiprocessingOptions(num_workers=data.num_workers)
    )


class _Rows:
  """The chosen rows of every batch, one example after the other."""

  def __init__(self, examples, rows: Sequence[int], batch_size: int):
    self._examples, self._rows = examples, tuple(rows)
    self._batch_size = batch_size

  def __len__(self) -> int:
    return len(self._examples) // self._batch_size * len(self._rows)

  def __getitem__(self, index: int) -> np.ndarray:
    step, place = divmod(index, len(self._rows))
    return self._examples[step * self._batch_size + self._rows[place]]


def train_loader(
  config: config_lib.Config, *, rows: Sequence[int] | None = None
) -> Loader:
  """Returns batches of one process, from step 0 and without end.

  Args:
    rows: which rows of the global batch the process reads, in this order (see
      `sharding.process_rows`); default all.

  Raises:
    InputError: no sources, or a source that cannot be read.
  """
  rows = range(config.batch_size) if rows is None else rows
  opened, weights = _open(config, "train")
  seeds = np.random.SeedSequence(config.seed).generate_state(len(opened) + 1)
  sources = [
    grain.MapDataset.source(records).seed(int(seed)).shuffle().repeat()
    for records, seed in zip(opened, seeds[1:], strict=True)
  ]
  examples = (
    grain.MapDataset.mix(sources, weights=weights)
    .seed(int(seeds[0]))
    .random_map(transforms.Crop(config.data.crop_samples))
    .random_map(transforms.Gain(*config.data.gain_db))
  )
  batches = grain.MapDataset.source(
    _Rows(examples, rows, config.batch_size)
  ).batch(len(rows), drop_remainder=True)
  return Loader(batches, data=config.data)


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Fixed clips, whole and loud: no zero-padding, no digital silence."""

  audio: np.ndarray  # float32 [N, clip_samples, 1]
  group: list[str]  # N: speaker, album, ... of each clip
  source_index: list[int]  # N: which of `source_names` a clip is from
  source_names: list[str]  # folders, in the order of data.sources


def held_out(config: config_lib.Config, *, split: str | None = None) -> HeldOut:
  """Returns config.evaluation.num_clips clips that are always the same.

  They are spread evenly over the sources, then over the groups of a source; of
  a record, the loudest part is taken. Fewer come back, with a line in the log,
  if the records do not hold as many. A source without the split is left out.

  Args:
    split: default: config.evaluation.split.

  Raises:
    SplitMissing: no source has the split.
    InputError: a source that cannot be read, or no record is long enough.
  """
  split = split or config.evaluation.split
  return _clips(config, split=split, num=config.evaluation.num_clips)


def train_clips(config: config_lib.Config, num: int) -> HeldOut:
  """Returns `num` clips from the training split, chosen as in `held_out`.

  Raises:
    InputError: as `held_out`.
  """
  return _clips(config, split="train", num=num)


def _open(
  config: config_lib.Config, split: str
) -> tuple[list[source_lib.Source], list[float]]:
  """Opens all sources of the configuration; returns them and their weights."""
  sources = config_lib.parse_sources(config.data.sources)
  if not sources:
    raise errors.InputError(_NO_SOURCES)
  opened = [
    source_lib.open_source(folder, split, config.audio.sample_rate_hz)
    for folder, _ in sources
  ]
  return opened, [weight for _, weight in sources]


def _clips(config: config_lib.Config, *, split: str, num: int) -> HeldOut:
  folders = [f for f, _ in config_lib.parse_sources(config.data.sources)]
  if not folders:
    raise errors.InputError(_NO_SOURCES)
  clip_samples = config.evaluation.clip_samples
  queues, longest, missing = [], 0, []
  for index, folder in enumerate(folders):
    try:
      records = source_lib.open_source(
        folder, split, config.audio.sample_rate_hz
      )
    except source_lib.SplitMissing as error:
      missing.append(error)
      logging.info("no held-out clips from %s: no split %r.", folder, split)
      continue
    clips, source_longest = _ranked(records, clip_samples, num)
    longest = max(longest, source_longest)
    queues.append([(index, group, pcm) for group, pcm in clips])
  if not queues:
    raise missing[0]
  chosen = _interleave(queues)[:num]
  if not chosen:
    raise errors.InputError(
      f"evaluation.clip_samples={clip_samples}: no record in the split "
      f"{split!r} of {', '.join(folders)} has that many samples that are not "
      f"silent; the longest has {longest}. Use shorter clips or longer audio."
    )
  if len(chosen) < num:
    logging.info(
      "%d clips of %d samples asked for from the split %r; its records hold "
      "%d.",
      num,
      clip_samples,
      split,
      len(chosen),
    )
  pcm = np.stack([pcm for _, _, pcm in chosen])
  return HeldOut(
    audio=io.to_float32(pcm)[:, :, None],
    group=[group for _, group, _ in chosen],
    source_index=[index for index, _, _ in chosen],
    source_names=folders,
  )


def _ranked(
  records: source_lib.Source, clip_samples: int, num: int
) -> tuple[list[tuple[str, np.ndarray]], int]:
  """Returns up to `num` clips of a source, best spread first.

  Groups take turns, in an order that does not depend on how many there are;
  within a group records take turns, and then the parts of a record.

  Returns:
    [(group, int16 [clip_samples])], and the length of the longest record seen.
  """
  count = min(len(records), max(_CANDIDATES, num))
  longest = 0
  groups: dict[str, list[list[tuple[str, np.ndarray]]]] = {}
  for k in range(count):
    record = records[k * len(records) // count]
    longest = max(longest, len(record["audio"]))
    clips = _loudest(record["audio"], clip_samples)
    if clips:
      entry = [(record["group"], clip) for clip in clips]
      groups.setdefault(record["group"], []).append(entry)
  order = sorted(groups, key=lambda g: hashlib.sha256(g.encode()).digest())
  turns = _interleave([_interleave(groups[group]) for group in order])
  return turns[:num], longest


def _loudest(audio: np.ndarray, clip_samples: int) -> list[np.ndarray]:
  """Returns parts that do not overlap, loudest first, none of them silent."""
  if len(audio) < clip_samples:
    return []
  energy = np.concatenate([[0], np.cumsum(audio.astype(np.int64) ** 2)])
  hop = max(1, clip_samples // _STARTS_PER_CLIP)
  starts = np.arange(0, len(audio) - clip_samples + 1, hop)
  loudness = energy[starts + clip_samples] - energy[starts]
  clips: list[int] = []
  for start in starts[np.argsort(-loudness, kind="stable")]:
    silent = energy[start + clip_samples] == energy[start]
    if not silent and all(abs(start - s) >= clip_samples for s in clips):
      clips.append(int(start))
  return [audio[start : start + clip_samples] for start in clips]


def _interleave(queues: list[list[Any]]) -> list[Any]:
  """The first of each queue, then the second of each, and so on."""
  longest = max(map(len, queues), default=0)
  return [
    queue[k] for k in range(longest) for queue in queues if k < len(queue)
  ]
