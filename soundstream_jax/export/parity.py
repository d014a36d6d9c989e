"""The parity card: how near a runtime's numbers are to ours.

A runtime does everything that it can with golden values: whole files, streams
of random blocks, a batch, the first layers alone, lost frames, and the switch.
A code that differs is excused where the latents of float32 leave it open: see
`EXCUSED_WITHIN`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from soundstream_jax.export import format as format_lib
from soundstream_jax.export import golden as golden_lib

# Latents of two float32 runtimes differ by as much: 1e-6 to 2e-5 were measured,
# their distance grows with the root of D. A code whose residual was that near to
# another one's is open, and so are the deeper ones of its frame.
EXCUSED_WITHIN = 5e-5
# Largest difference of a sample, float32 to float32, where 1 is full scale; of
# sound beyond that, relative to its peak.
AUDIO_WITHIN = 1e-5
_SEED = 7
_LONGEST_BLOCK = 8


@dataclasses.dataclass(frozen=True)
class Row:
  """One runtime's part of the card.

  Attributes:
    runtime: its name.
    version: likewise.
    lossy: whether it is meant to differ.
    codes: that were compared, of all ways to encode.
    different: of these.
    excused: of the different ones.
    frames: [(way, frame, layer)] of the first code of each frame that differs.
    audio: largest difference of a sample, over all ways to decode; relative to
      the peak where that is beyond full scale.
    snr_db: of its decoder's audio to ours, whole files.
    ways: names of what was compared.
  """

  runtime: str
  version: str
  lossy: bool
  codes: int
  different: int
  excused: int
  frames: tuple[tuple[str, int, int], ...]
  audio: float
  snr_db: float
  ways: tuple[str, ...]

  @property
  def passes(self) -> bool:
    """Whether it is as near as it claims to be."""
    same = self.different == self.excused and self.audio <= AUDIO_WITHIN
    return self.lossy or same

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self) | {"passes": self.passes}


class _Codes:
  """Counts codes that differ."""

  def __init__(self, distance: np.ndarray):
    self.codes = self.different = self.excused = 0
    self.frames = []
    self.distance = distance

  def add(self, way: str, found: np.ndarray, expected: np.ndarray) -> None:
    """Compares codes [F, q]; distances are those of whole frames from 0 on."""
    if found.shape != expected.shape:
      raise ValueError(
        f"{way}: codes have shape {found.shape}, not {expected.shape}."
      )
    self.codes += expected.size
    for frame in np.flatnonzero((found != expected).any(axis=1)):
      layers = np.flatnonzero(found[frame] != expected[frame])
      self.different += len(layers)
      if self.distance[frame, layers[0]] <= EXCUSED_WITHIN:
        self.excused += len(layers)
      self.frames.append((way, int(frame), int(layers[0])))


def measure(runtime: format_lib.Runtime, golden: golden_lib.Golden) -> Row:
  """Compares all that a runtime can do with golden values."""
  hop, (frames, layers) = golden.hop_samples, golden.codes.shape
  counted = _Codes(golden.distance)
  heard, ways = [], []
  peak = max(1.0, float(np.abs(golden.decoded).max(initial=0)))

  def encoded(way, found, expected):
    ways.append(way)
    counted.add(way, found, expected)

  def sounded(way, found, expected):
    ways.append(way)
    heard.append(float(np.abs(found - expected).max(initial=0)) / peak)

  audio, codes = golden.audio[None], golden.codes[None]
  whole = runtime.encode(audio, num_quantizers=layers)
  encoded("encode", whole[0], golden.codes)
  some = max(1, layers // 2)
  first = runtime.encode(audio, num_quantizers=some)
  encoded("first layers", first[0], golden.codes[:, :some])
  sound = runtime.decode(codes)[0]
  sounded("decode", sound, golden.decoded)
  # A second clip beside the first half changes nothing for it.
  half = frames // 2
  pair = np.stack([golden.audio[: half * hop], golden.audio[-half * hop :]])
  batch = runtime.encode(pair, num_quantizers=layers)
  encoded("batch", batch[0], golden.codes[:half])
  pair = np.stack([golden.codes[:half], golden.codes[-half:]])
  sounded("batch", runtime.decode(pair)[0], golden.decoded[: half * hop])
  if runtime.blocks is not None:
    blocks = random_blocks(frames, runtime.blocks)
    stream = runtime.encode_stream(audio, blocks, num_quantizers=layers)
    encoded("stream", stream[0], golden.codes)
    for way, arrived, expected in (
      ("stream", np.full(frames, layers, np.int32), golden.decoded),
      ("lost frames", golden.layers, golden.concealed),
    ):
      stream = runtime.decode_stream(codes, arrived[None], blocks)
      sounded(way, stream[0], expected)
  if golden.denoised is not None and runtime.switches:
    if golden.denoised.dtype == np.int32:
      found = runtime.encode(audio, num_quantizers=layers, denoise=True)
      # Distances are those of the switch that is off.
      counted.distance = np.full_like(golden.distance, np.inf)
      encoded("denoise", found[0], golden.denoised)
    else:
      found = runtime.decode(codes, denoise=True)
      sounded("denoise", found[0], golden.denoised)
  return Row(
    runtime=runtime.name,
    version=runtime.version,
    lossy=runtime.lossy,
    codes=counted.codes,
    different=counted.different,
    excused=counted.excused,
    frames=tuple(counted.frames),
    audio=max(heard),
    snr_db=snr_db(sound, golden.decoded),
    ways=tuple(dict.fromkeys(ways)),
  )


def random_blocks(
  frames: int, allowed: Sequence[int], seed: int = _SEED
) -> list[int]:
  """Returns blocks that add up to so many frames; () allows any length."""
  rng = np.random.default_rng(seed)
  blocks = []
  while left := frames - sum(blocks):
    lengths = allowed or range(1, _LONGEST_BLOCK + 1)
    lengths = [length for length in lengths if length <= left]
    blocks.append(int(rng.choice(lengths)))
  return blocks


def snr_db(found: np.ndarray, expected: np.ndarray) -> float:
  """Returns the power of a signal over that of the difference; at most 999."""
  noise = float(np.square(found - expected, dtype=np.float64).sum())
  power = float(np.square(expected, dtype=np.float64).sum())
  if noise == 0 or power == 0:
    return 999.0
  return float(10 * np.log10(power / noise))


def table(rows: Sequence[Row]) -> str:
  """Returns the card as a table of Markdown."""
  lines = [
    "| runtime | codes | different (excused) | largest difference of a sample "
    "| SNR, dB | |",
    "|---|---|---|---|---|---|",
  ]
  for row in rows:
    verdict = "exact" if row.passes else "FAILED"
    verdict = "lossy" if row.lossy else verdict
    snr = "same bits" if row.snr_db == 999 else f"{row.snr_db:.1f}"
    lines.append(
      f"| {row.runtime} {row.version} | {row.codes:,} | {row.different:,} "
      f"({row.excused:,}) | {row.audio:.1e} | {snr} | {verdict} |"
    )
  return "\n".join(lines)
