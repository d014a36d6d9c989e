"""Fixed clips of held-out records to measure on."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
from absl import logging

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.audio import waveform
from soundstream_jax.data import examples, kinds, mixtures
from soundstream_jax.data import source as source_lib

# Records looked at per source to find clips; a split may hold far more.
_CANDIDATES = 256
# Steps between the starts of clips considered within a record.
_STARTS_PER_CLIP = 8


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Fixed clips, whole and loud: no zero-padding, no digital silence."""

  audio: np.ndarray  # float32 [N, clip_samples, 1]
  group: list[str]  # N: speaker, album, ... of each clip
  source_index: list[int]  # N: which of `source_names` a clip is from
  source_names: list[str]  # folders, in the order of the configuration


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
  return _clips(
    config,
    folders=mixtures.heard(config),
    split=split,
    num=config.evaluation.num_clips,
  )


def train_clips(config: config_lib.Config, num: int) -> HeldOut:
  """Returns `num` clips from the training split, chosen as in `held_out`.

  Raises:
    InputError: as `held_out`.
  """
  folders = mixtures.heard(config)
  return _clips(config, folders=folders, split="train", num=num)


@dataclasses.dataclass(frozen=True)
class Noisy:
  """Held-out speech with held-out noise."""

  clean: HeldOut
  audio: np.ndarray  # float32 [N, clip_samples, 1], the clean clips with noise
  noise_group: list[str]  # N


def noisy(
  config: config_lib.Config, *, split: str, num: int, snr_db: float
) -> Noisy:
  """Returns clips of data.speech with noise of data.noise, always the same.

  Clean speech has a peak of at most 0.5, so that the sum is within full scale
  at any ratio that speech is understood at; where it is not, both are scaled.

  Args:
    split: of both datasets.
    num: clips.
    snr_db: ratio of the powers of speech and noise over the clip.

  Raises:
    SplitMissing: a dataset has no such split.
    InputError: data.speech or data.noise is empty or cannot be read, or no
      record is long enough.
  """

  def clips(name):
    named = kinds.datasets(config, name, kinds.NOISY)
    folders = [folder for folder, _ in named]
    return _clips(config, folders=folders, split=split, num=num)

  speech, noise = clips("speech"), clips("noise")
  count = len(speech.group)
  clean, mixed = [], []
  for i in range(count):
    voice = speech.audio[i] * np.float32(
      0.5 / max(0.5, examples.peak_of(speech.audio[i]))
    )
    hiss = noise.audio[i % len(noise.group)]
    gain = examples.rms_of(voice[:, 0]) / examples.rms_of(hiss[:, 0])
    both = voice + hiss * np.float32(gain * 10 ** (-snr_db / 20))
    scale = np.float32(1 / max(1.0, examples.peak_of(both)))
    clean.append(voice * scale)
    mixed.append(both * scale)
  return Noisy(
    clean=dataclasses.replace(speech, audio=np.stack(clean)),
    audio=np.stack(mixed),
    noise_group=[noise.group[i % len(noise.group)] for i in range(count)],
  )


def _clips(
  config: config_lib.Config, *, folders: list[str], split: str, num: int
) -> HeldOut:
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
  if not chosen and longest >= clip_samples:
    raise errors.InputError(
      f"the split {split!r} of {', '.join(folders)} is silent: of the records "
      f"that are long enough for evaluation.clip_samples={clip_samples}, none "
      "has a clip with any sample but 0. Listen to what was prepared, and use "
      "other audio."
    )
  if not chosen:
    raise errors.InputError(
      f"evaluation.clip_samples={clip_samples}: no record in the split "
      f"{split!r} of {', '.join(folders)} has that many samples that are not "
      f"silent; the longest has {longest}. Use shorter clips "
      f"(--config.evaluation.clip_samples) or longer audio."
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
    audio=waveform.to_float32(pcm)[:, :, None],
    group=[group for _, group, _ in chosen],
    source_index=[index for index, _, _ in chosen],
    source_names=folders,
  )


def _ranked(
  records: source_lib.Source, clip_samples: int, num: int
) -> tuple[list[tuple[str, np.ndarray]], int]:
  """Returns up to `num` clips of a source, best spread first.

  Groups take turns, in an order that does not depend on how many there are;
  within a group records take turns, and then the clips of a record.

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
  """Returns clips that do not overlap, loudest first, none of them silent."""
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
