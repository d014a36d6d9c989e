"""Measures sound: bandwidth, level, silence, clipping.

Levels are in dBFS of the root mean square: 0 is a full-scale square wave, and
a full-scale sine has -3.
"""

import dataclasses

import numpy as np

FRAME_SECONDS = 0.01
SILENT_DBFS = -60.0
LOWEST_DBFS = -100.0  # of what is nothing but zeros too
BANDWIDTH_DB = 60.0
# Three samples in a row: what a converter that ran out of range leaves. Music
# that merely touches full scale does so for one sample at a time.
CLIPPED_RUN = 3

_WINDOW_SECONDS = 1024 / 24_000
_FULL_SCALE = 32_767 / 32_768
# Rounding to 16 bits, in steps squared, and how far above it sound is heard.
_ROUNDING_POWER = 1 / 12
_ABOVE_ROUNDING = 4.0


@dataclasses.dataclass
class Sound:
  """Statistics of some files and of the records made of them.

  Attributes:
    files: that could be read.
    seconds_at: the files' own sample rate in Hz, as text -> seconds of audio.
    samples: of the files as they are, over all channels.
    clipped_samples: of these; see `Clipping`.
    frames: of 10 ms, in the records.
    silent_frames: of these, below -60 dBFS.
    bandwidth_hz: of each record.
    level_dbfs: of each record.
  """

  files: int = 0
  seconds_at: dict[str, float] = dataclasses.field(default_factory=dict)
  samples: int = 0
  clipped_samples: int = 0
  frames: int = 0
  silent_frames: int = 0
  bandwidth_hz: list[float] = dataclasses.field(default_factory=list)
  level_dbfs: list[float] = dataclasses.field(default_factory=list)

  def add_file(
    self, *, seconds: float, rate_hz: int, samples: int, clipped: int
  ) -> None:
    key = str(rate_hz)
    self.files += 1
    self.seconds_at[key] = self.seconds_at.get(key, 0.0) + seconds
    self.samples += samples
    self.clipped_samples += clipped

  def add_record(self, audio: np.ndarray, sample_rate_hz: int) -> None:
    """Measures a record, int16 [N]."""
    frames, silent = count_silent(audio, sample_rate_hz)
    self.frames += frames
    self.silent_frames += silent
    bandwidth = bandwidth_hz(audio, sample_rate_hz)
    self.bandwidth_hz.append(round(bandwidth, 1))
    self.level_dbfs.append(round(level_dbfs(audio), 2))

  def add(self, other: "Sound") -> None:
    for key, seconds in other.seconds_at.items():
      self.seconds_at[key] = self.seconds_at.get(key, 0.0) + seconds
    self.files += other.files
    self.samples += other.samples
    self.clipped_samples += other.clipped_samples
    self.frames += other.frames
    self.silent_frames += other.silent_frames
    self.bandwidth_hz += other.bandwidth_hz
    self.level_dbfs += other.level_dbfs


def bandwidth_hz(audio: np.ndarray, sample_rate_hz: int) -> float:
  """Returns the highest frequency within 60 dB of the spectrum's peak.

  The spectrum is Welch's: the mean of audio is taken off, then the power of
  Hann windows of 1024 / 24000 s that overlap by half is averaged (of one
  window, padded with zeros, where audio is shorter; a rest that fills no
  window is not looked at). Counted is the highest bin whose power is at least
  1e-6 of the greatest bin's, and four times what rounding to 16 bits makes by
  itself: without the latter, every quiet record would seem to reach to the
  top. Bins lie 23.4 Hz apart; a pure tone comes out about 150 Hz too high,
  because the window spreads it. 0 for silence.

  Args:
    audio: int16 [N].
  """
  size = 2 * round(_WINDOW_SECONDS * sample_rate_hz / 2)
  signal = audio - np.float32(audio.mean(dtype=np.float64))
  if len(signal) < size:
    signal = np.pad(signal, (0, size - len(signal)))
  window = np.hanning(size + 1)[:-1].astype(np.float32)
  windows = np.lib.stride_tricks.sliding_window_view(signal, size)
  spectrum = np.fft.rfft(windows[:: size // 2] * window)
  power = np.square(np.abs(spectrum)).mean(axis=0, dtype=np.float64)
  floor = _ABOVE_ROUNDING * _ROUNDING_POWER * float(np.sum(window**2))
  heard = power >= max(power.max() * 10 ** (-BANDWIDTH_DB / 10), floor)
  if not heard.any():
    return 0.0
  return float(np.flatnonzero(heard)[-1]) * sample_rate_hz / size


def level_dbfs(audio: np.ndarray) -> float:
  """Returns the root mean square of int16 [N], at least LOWEST_DBFS."""
  return float(_decibels(np.mean(np.square(audio, dtype=np.float64))))


def count_silent(audio: np.ndarray, sample_rate_hz: int) -> tuple[int, int]:
  """Returns (frames of 10 ms, those of them below -60 dBFS)."""
  size = max(1, round(FRAME_SECONDS * sample_rate_hz))
  frames = audio[: len(audio) // size * size].reshape(-1, size)
  power = np.square(frames, dtype=np.float32).mean(axis=1)
  return len(frames), int(np.sum(_decibels(power) < SILENT_DBFS))


class Clipping:
  """Counts clipped samples of a file, block by block, as it is on disk.

  A sample is clipped that is one of at least three in a row, in one channel,
  that lie at or beyond full scale (32767 / 32768) on the same side. Files that
  were turned down after they were clipped are not found, and of lossy ones
  only what their decoder brings back to full scale.
  """

  def __init__(self):
    self.samples = 0
    self._before = None  # the last three values of _side

  def add(self, block: np.ndarray) -> None:
    """Counts float32 [N, C], which follows the block before it."""
    side = np.zeros((len(block) + CLIPPED_RUN, block.shape[1]), np.int8)
    if self._before is not None:
      side[:CLIPPED_RUN] = self._before
    if block.max() >= _FULL_SCALE or block.min() <= -_FULL_SCALE:
      side[CLIPPED_RUN:] = (block >= _FULL_SCALE).astype(np.int8)
      side[CLIPPED_RUN:] -= block <= -_FULL_SCALE
    self._before = side[-CLIPPED_RUN:].copy()
    if not side.any():
      return
    # run[i]: the three values up to i + 2 are one run, or a part of one.
    run = (side[2:] != 0) & (side[2:] == side[1:-1]) & (side[2:] == side[:-2])
    begins = run[1:] & ~run[:-1]
    # A run of n holds n - 2 triples.
    self.samples += int(run[1:].sum() + (CLIPPED_RUN - 1) * begins.sum())


def _decibels(power: np.ndarray) -> np.ndarray:
  """dBFS of a mean square in int16 steps."""
  lowest = 10 ** (LOWEST_DBFS / 10)
  return 10 * np.log10(np.maximum(power / 32_768.0**2, lowest))
