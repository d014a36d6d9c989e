"""Measures the damage of lost frames, in the loss and in the sound after it.

Held-out clips are decoded twice, whole and with frames lost in bursts, as
Gilbert's channel loses them (Bell System Technical Journal 39, 1960). What is
compared is one with the other, so the codec's own error does not count.
"""

import dataclasses
import itertools
import pathlib
from typing import Any

import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.data import held_out
from soundstream_jax.evaluate import pictures
from soundstream_jax.metrics import log_mel

MEAN_BURST_FRAMES = 3.0
# Since the last lost sample: where the distance is averaged.
EDGES_MS = (0, 20, 40, 80, 160, 320, 640)


@dataclasses.dataclass(frozen=True)
class PacketLoss:
  """N clips."""

  rate: float
  step: int
  frame_s: float
  context_s: float  # past a decoded sample depends on at most
  lost: np.ndarray  # bool [N, F]
  whole: np.ndarray  # float32 [N, T, 1], decoded from all frames
  heard: np.ndarray  # float32 [N, T, 1], decoded from those that arrived
  distance: np.ndarray  # [N, M] of `log_mel.frame_distances`
  since_s: np.ndarray  # [N, M] since the last lost sample; 0 in a loss
  before: np.ndarray  # bool [N, M]: nothing was lost yet


def gilbert(
  rng: np.random.Generator,
  shape: tuple[int, int],
  *,
  rate: float,
  burst_frames: float = MEAN_BURST_FRAMES,
) -> np.ndarray:
  """Returns which frames [N, F] are lost.

  Args:
    rate: of loss, in the long run.
    burst_frames: mean length of a burst; lengths are geometric.
  """
  begin = rate / (1 - rate) / burst_frames
  draws = rng.random(shape)
  lost = np.zeros(shape, bool)
  state = np.zeros(shape[0], bool)
  for frame in range(shape[1]):
    draw = draws[:, frame]
    state = np.where(state, draw >= 1 / burst_frames, draw < begin)
    lost[:, frame] = state
  return lost


def evaluate(
  codec: codec_lib.Codec,
  config: config_lib.Config,
  *,
  split: str,
  rate: float,
  bitrate_bps: float | None = None,
) -> PacketLoss:
  """Decodes held-out clips whole and with losses.

  Raises:
    InputError: there are no clips.
  """
  clips = held_out.held_out(config, split=split).audio
  codes = codec.encode(clips[..., 0], bitrate_bps=bitrate_bps)
  lost = gilbert(np.random.default_rng(0), codes.shape[:2], rate=rate)
  layers = np.where(lost, 0, codes.shape[2])
  whole, heard = (
    codec.decode(codes, layers=arrived)[:, : clips.shape[1], None]
    for arrived in (None, layers)
  )
  rate_hz = codec.sample_rate
  distance = log_mel.frame_distances(whole, heard, sample_rate_hz=rate_hz)
  centres = np.arange(distance.shape[1]) * log_mel.HOP
  samples = np.repeat(lost, codec.hop_samples, axis=1)[:, : clips.shape[1]]
  places = np.where(samples, np.arange(samples.shape[1]), -1)
  last = np.maximum.accumulate(places, axis=1)
  last = last[:, np.minimum(centres, samples.shape[1] - 1)]
  return PacketLoss(
    rate=rate,
    step=codec.step,
    frame_s=codec.hop_samples / rate_hz,
    context_s=codec.decoder_context_samples / rate_hz,
    lost=lost,
    whole=whole,
    heard=heard,
    distance=distance,
    since_s=np.where(last < 0, 0, centres - last) / rate_hz,
    before=last < 0,
  )


def to_dict(result: PacketLoss) -> dict[str, Any]:
  """Returns plain JSON values."""
  after = ~result.before
  milliseconds = 1_000 * result.since_s
  times = {"in a loss": after & (result.since_s == 0)}
  times |= {
    f"{low} to {high} ms after": after
    & (milliseconds > low)
    & (milliseconds <= high)
    for low, high in itertools.pairwise(EDGES_MS)
  }
  times["before any loss"] = result.before
  return {
    "step": result.step,
    "clips": len(result.lost),
    "loss_rate": result.rate,
    "lost_frames": float(result.lost.mean()),
    "mean_burst_frames": MEAN_BURST_FRAMES,
    "context_ms": 1_000 * result.context_s,
    "log_mel_to_whole": {
      name: {
        "mean": float(result.distance[chosen].mean()),
        "frames": int(chosen.sum()),
      }
      for name, chosen in times.items()
      if chosen.any()
    },
  }


def to_text(values: dict[str, Any]) -> str:
  """Returns the table that the command prints, from `to_dict`."""
  lines = [
    f"step {values['step']}, {values['clips']} clips, "
    f"{100 * values['lost_frames']:.1f} % of frames lost in bursts of "
    f"{values['mean_burst_frames']:g} on average",
    f"a sample depends on {values['context_ms']:.0f} ms of the past",
    "",
    "                     log-mel to what was decoded whole   frames",
  ]
  for name, at in values["log_mel_to_whole"].items():
    lines.append(f"  {name:<20}{at['mean']:>33.3f}{at['frames']:>9}")
  return "\n".join(lines)


def draw(
  result: PacketLoss, path: pathlib.Path, *, sample_rate_hz: int
) -> None:
  """Draws the first clip whole and with losses, and its distance over time."""
  pictures.losses(
    {"whole": result.whole[0, :, 0], "with losses": result.heard[0, :, 0]},
    lost=result.lost[0],
    frame_s=result.frame_s,
    distance=result.distance[0],
    distance_s=log_mel.HOP / sample_rate_hz,
    path=path,
    sample_rate_hz=sample_rate_hz,
  )
