"""Measures a checkpoint on held-out clips, with the codec that users run.

Every clip goes through `codec.Codec` at each bitrate asked for. Two controls
say whether the numbers mean anything: stationary noise with the training data's
mean spectrum (what a model that has learnt nothing but loudness could play),
and codes swapped between clips of a class (what a model whose codes carry
nothing would survive).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax import metrics
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.data import held_out
from soundstream_jax.metrics import codebook_use

# Clips of the training split whose mean spectrum the noise control has.
SPECTRUM_CLIPS = 24
_WINDOW = 1024


@dataclasses.dataclass(frozen=True)
class AtBitrate:
  """Measurements of one bitrate."""

  bitrate_bps: float
  num_quantizers: int
  measured: dict[str, np.ndarray]  # by the names of METRICS: [N], of each clip


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Measurements of a checkpoint on N held-out clips."""

  step: int
  weights: str
  clips: held_out.HeldOut
  rates: list[AtBitrate]  # ascending
  # By metrics.CRITERION, [N]:
  noise: np.ndarray  # the stationary noise control
  swapped: np.ndarray  # codes of another clip of the class
  perplexity: np.ndarray  # [Q]
  dead_fraction: np.ndarray  # [Q] codes that no clip used
  outputs: np.ndarray  # float32 [N, T, 1] at the highest bitrate


def evaluate(
  codec: codec_lib.Codec,
  config: config_lib.Config,
  *,
  split: str,
  bitrates_bps: Sequence[float] | None = None,
) -> Evaluation:
  """Encodes and decodes the fixed clips of a split.

  Args:
    codec: the model.
    config: names the datasets and the clips.
    split: 'validation' or 'test'.
    bitrates_bps: None takes the highest and its half.

  Raises:
    InputError: no such split, or a bitrate that the model cannot make.
  """
  clips = held_out.held_out(config, split=split)
  rate = codec.sample_rate
  depths = _depths(codec, bitrates_bps)
  codes = [codec.encode(clip[:, 0]) for clip in clips.audio]

  def decoded(clip_codes):
    audio = codec.decode(clip_codes)[: clips.audio.shape[1]]
    return audio[:, None]

  def measured(outputs):
    return metrics.measure(clips.audio, outputs, sample_rate_hz=rate)

  def by_criterion(outputs):
    criterion = metrics.METRICS[metrics.CRITERION]
    return criterion.measure(clips.audio, outputs, sample_rate_hz=rate)

  results = []
  for depth in depths:
    outputs = np.stack([decoded(c[:, :depth]) for c in codes])
    results.append(
      AtBitrate(
        bitrate_bps=float(codec.rates.bitrate_bps(depth)),
        num_quantizers=depth,
        measured=measured(outputs),
      )
    )
  swapped = np.stack([decoded(codes[i]) for i in _partners(clips.source_index)])
  spectrum_clips = held_out.train_clips(config, SPECTRUM_CLIPS)
  counts = _counts(codes, codec.codebook_size)
  return Evaluation(
    step=codec.step,
    weights=codec.weights,
    clips=clips,
    rates=results,
    noise=by_criterion(
      _stationary_noise(spectrum_clips.audio, clips.audio.shape)
    ),
    swapped=by_criterion(swapped),
    perplexity=np.asarray(codebook_use.perplexity(counts)),
    dead_fraction=np.asarray(codebook_use.dead_fraction(counts, threshold=0)),
    outputs=outputs,
  )


def _depths(
  codec: codec_lib.Codec, bitrates_bps: Sequence[float] | None
) -> list[int]:
  """Returns the numbers of quantizers that make the bitrates, ascending."""
  if bitrates_bps:
    return sorted({codec.quantizers_for(bps) for bps in bitrates_bps})
  return sorted({max(1, codec.num_quantizers // 2), codec.num_quantizers})


def _counts(codes: Sequence[np.ndarray], codebook_size: int) -> np.ndarray:
  """Returns how often each code of each layer is used [Q, K], in all clips."""
  return np.stack(
    [
      np.bincount(layer, minlength=codebook_size)
      for layer in np.concatenate(codes).T
    ]
  )


def _partners(classes: Sequence[int]) -> list[int]:
  """For every clip the next one of its class, in a ring.

  A class with one clip takes the next clip of any class.
  """
  partners = []
  for index, own in enumerate(classes):
    ring = [i for i, other in enumerate(classes) if other == own]
    if len(ring) == 1:
      ring = list(range(len(classes)))
    partners.append(ring[(ring.index(index) + 1) % len(ring)])
  return partners


def _stationary_noise(training: np.ndarray, shape) -> np.ndarray:
  """Gaussian noise with the mean magnitude spectrum of clips [M, T, 1].

  Mean magnitudes, not mean powers: the distance compares logarithms, and a few
  loud moments would make noise of the mean power too loud for all the others.
  """
  frames = training[:, :, 0]
  frames = frames[:, : frames.shape[1] // _WINDOW * _WINDOW]
  frames = frames.reshape(-1, _WINDOW) * np.hanning(_WINDOW)
  magnitude = np.mean(np.abs(np.fft.rfft(frames)), axis=0)
  # Mean magnitude of windowed unit noise: sqrt(pi / 4 * sum of squares).
  unit = np.sqrt(np.pi / 4 * np.sum(np.hanning(_WINDOW) ** 2))
  count, samples, _ = shape
  white = np.fft.rfft(np.random.default_rng(0).normal(size=(count, samples)))
  response = np.interp(
    np.linspace(0, 1, white.shape[1]),
    np.linspace(0, 1, len(magnitude)),
    magnitude / unit,
  )
  noise = np.fft.irfft(white * response[None, :], n=samples)
  return noise.astype(np.float32)[:, :, None]
