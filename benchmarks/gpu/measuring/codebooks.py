"""The k-means start of all codebooks, as a run does it before its first step."""

import time
from collections.abc import Iterator
from typing import Any

import jax

from benchmarks import sides
from benchmarks.gpu import conditions as conditions_lib
from benchmarks.gpu.measuring import steps
from soundstream_jax.devices import distributed
from soundstream_jax.train import kmeans_start

# What a layer is fitted to, at least; of 1024 codes 38 each.
FRAMES = {"cuda": 38_400, "cpu": 600}


def measure(
  given: conditions_lib.Conditions,
) -> Iterator[dict[str, Any]]:
  """Times the start of the preset's own number of layers.

  The first time includes compilation, the second what is left of it where
  programs are kept: reading them again.
  """
  steps.forget()
  layers = conditions_lib.preset_layers(given.preset)
  own = {"quantizer.num_quantizers": layers}
  config = given.config(**own)
  a_batch = config.batch_size * config.rates.num_frames(
    config.data.crop_samples
  )
  batches = -(-FRAMES[given.device] // a_batch)
  config = given.config(**own, **{"quantizer.kmeans_batches": batches})
  sounds = sides.Ours(config)
  audio = [sounds.audio * (1 + index / batches) for index in range(batches)]
  mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
  yield {
    "layers": layers,
    "codes": config.quantizer.codebook_size,
    "frames": batches * a_batch,
    "iterations": config.quantizer.kmeans_iterations,
  }
  for name in ("first_s", "seconds"):
    start = time.perf_counter()
    state = kmeans_start.initialise(config, mesh, sounds.state, audio)
    jax.block_until_ready(state.codebooks)
    yield {name: time.perf_counter() - start}
  yield steps.peak_memory()
