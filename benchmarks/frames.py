"""The cost of a live frame, encoded and decoded in a process of its own.

One stream of random audio through `soundstream_24khz` with random parameters,
in a process that may use some cores alone. Encoding is timed frame by frame,
then decoding, then both in turns.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import sides
from soundstream_jax import config as config_lib
from soundstream_jax.codec import codec as codec_lib
from soundstream_jax.codec import streaming
from soundstream_jax.model import quantizers, soundstream
from soundstream_jax.settings import presets

PRESET = "soundstream_24khz"
WARM_UP = 50
MATRIX = 1_024


@dataclasses.dataclass(frozen=True)
class Case:
  channels: int
  quantizers: int
  frames: int
  block_frames: int = 1


def measure(case: Case, *, runs: int, threads: int = 1) -> dict:
  """Returns the figures of the best of some processes (see `_run`)."""
  cores = sorted(os.sched_getaffinity(0))[-threads:]
  words = json.dumps(dataclasses.asdict(case)), json.dumps(cores)

  def run():
    return subprocess.run(
      [sys.executable, "-m", "benchmarks.frames", *words],
      check=True,
      stdout=subprocess.PIPE,
      text=True,
    ).stdout

  results = [json.loads(run()) for _ in range(runs)]
  return max(results, key=lambda result: result["both"])


def _run(case: Case) -> dict:
  """Measures in this process.

  Returns:
    For 'encode' and 'decode' milliseconds per step, the factor of real time by
    the median and the share of it that the larger bound leaves; factors of real
    time of 'both', of both 'in_turns' and of the two bounds; the 'load'; and
    'cores', processor time over wall time.
  """
  values = presets.load(PRESET)
  values.update_from_flattened_dict(
    {
      "model.encoder_channels": case.channels,
      "model.decoder_channels": case.channels,
      "quantizer.num_quantizers": case.quantizers,
    }
  )
  config = config_lib.from_dict(values)
  codec = _codec(config)
  options = {"block_frames": case.block_frames}
  encoder = streaming.StreamEncoder(codec, **options)
  decoder = streaming.StreamDecoder(codec, **options)
  step_s = float(case.block_frames / config.rates.frame_rate_hz)
  blocks = -(-case.frames // case.block_frames)
  shape = (blocks, case.block_frames * config.rates.hop_samples)
  noise = 0.1 * np.random.default_rng(1).standard_normal(shape, np.float32)
  codes = [encoder.push(block) for block in noise[:WARM_UP]]
  for block in codes:
    decoder.push(block)

  encode, cores = _times(encoder.push, noise)
  decode, _ = _times(
    decoder.push, [codes[i % len(codes)] for i in range(blocks)]
  )
  turns, _ = _times(
    lambda block: decoder.push(encoder.push(block)), noise[: 1 + blocks // 5]
  )
  limits = {
    side: (bytes_ / _read_rate(bytes_), products * case.block_frames / _rate())
    for side, (bytes_, products) in _work(codec, config).items()
  }
  result = {
    side: {
      "median": 1e3 * np.median(wall),
      "p99": 1e3 * np.quantile(wall, 0.99),
      "p99_processor": 1e3 * np.quantile(processor, 0.99),
      "factor": step_s / np.median(wall),
      "share_of_limit": max(limits[side]) / np.median(wall),
    }
    for side, (wall, processor) in (("encode", encode), ("decode", decode))
  }
  both = sum(np.median(wall) for wall, _ in (encode, decode))
  return result | {
    "both": step_s / both,
    "in_turns": step_s / np.median(turns[0]),
    "limit_of_bytes": step_s / sum(limit[0] for limit in limits.values()),
    "limit_of_products": step_s / sum(limit[1] for limit in limits.values()),
    "load": os.getloadavg()[0],
    "cores": cores,
  }


def _codec(config: config_lib.Config) -> codec_lib.Codec:
  random = np.random.default_rng(0)

  def normal(leaf):
    scale = math.prod(leaf.shape[:-1]) ** -0.5
    return scale * random.standard_normal(leaf.shape, np.float32)

  params = jax.tree.map(normal, nn.meta.unbox(soundstream.declare(config)))
  shape = quantizers.codebooks_shape(config)
  vectors = random.standard_normal(shape, np.float32)
  return codec_lib.Codec(config, params, vectors, step=0, weights="ema")


def _times(step, blocks) -> tuple[tuple[np.ndarray, np.ndarray], float]:
  """Returns wall and processor seconds of each step, and cores in use."""
  start, spent = time.perf_counter(), time.process_time()
  times = []
  for block in blocks:
    wall, processor = time.perf_counter(), time.process_time()
    step(block)
    times.append((time.perf_counter() - wall, time.process_time() - processor))
  cores = (time.process_time() - spent) / (time.perf_counter() - start)
  return tuple(np.transpose(times)), cores


def _work(codec: codec_lib.Codec, config: config_lib.Config) -> dict:
  """Returns side -> (bytes read per step, FLOPs per frame)."""
  q, strides = config.quantizer, config.model.strides
  books = q.num_quantizers * q.codebook_size * config.model.embedding_dim
  work = {}
  for side, order in (("encode", strides), ("decode", strides[::-1])):
    samples = config.rates.hop_samples if side == "encode" else 1
    numbers, products = 0, 0
    layers = codec.variables["params"][f"{side}r"]
    for name, layer in _in_order(layers):
      if name.endswith("down"):
        samples //= order[int(name[len("stage")])]
      for kernel in jax.tree.leaves(layer):
        if kernel.ndim == 3:
          numbers += kernel.size
          products += kernel.size * samples
      if name.endswith("up"):
        samples *= order[int(name[len("stage")])]
    if side == "encode":
      numbers, products = numbers + books, products + books
    work[side] = 4 * numbers, 2 * products
  return work


def _in_order(layers: dict) -> list:
  """Layers as the signal meets them: input, up, units, down, ..., output."""
  first = {"input": "a", "output": "c"}

  def place(name):
    kind = name.partition("_")[2]
    rank = {"up": "0", "down": "2"}.get(kind, "1" + kind)
    return first.get(name, "b" + name.partition("_")[0] + rank)

  return sorted(layers.items(), key=lambda item: place(item[0]))


def _rate() -> float:
  return sides.product_rate(MATRIX, jnp.float32)


def _read_rate(size_bytes: int) -> float:
  """Bytes per second of reading that many again and again, the median."""
  x = np.ones(size_bytes // 4, np.float32)
  return size_bytes / np.median(
    [sides.seconds(lambda: x.dot(x)) for _ in range(50)]
  )


if __name__ == "__main__":
  # Before there are threads: they stay where the process is.
  os.sched_setaffinity(0, json.loads(sys.argv[2]))
  print(json.dumps(_run(Case(**json.loads(sys.argv[1])))))
