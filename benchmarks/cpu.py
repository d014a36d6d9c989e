"""python -m benchmarks.cpu: the paper's model on this CPU, beside PyTorch.

Both are first shown to compute the same function, then timed in turns, so that
other work on the machine slows both. A row's ratio is the median over turns of
the ratio within a turn; its limit is the time that the products of the
function take at the rate of a large matrix product, measured in the same run.
Writes benchmarks/results.json. Needs `pip install -e ".[bench]"`.
"""

import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from soundstream_jax import config as config_lib
from soundstream_jax import distributed, host_memory, presets, sharding
from soundstream_jax.model import soundstream
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

_PRESET = flags.DEFINE_string("preset", "soundstream_24khz", "What to measure.")
_BATCH = flags.DEFINE_integer("batch", 4, "Clips of a second.")
_TURNS = flags.DEFINE_integer("turns", 7, "Of each piece, after a warm-up.")
_JSON = flags.DEFINE_string(
  "json", str(pathlib.Path(__file__).with_name("results.json")), "For the rows."
)

PIECES = ("generator_forward", "generator_forward_backward", "gan_step")
TOLERANCE = 1e-4
MATRIX = 2_048


class Ours:
  """Our networks with some state and audio; the names of PIECES run them."""

  def __init__(self, config: config_lib.Config):
    self.config = config
    self.net = soundstream.from_config(config)
    mesh = distributed.make_mesh(config.mesh, jax.devices()[:1])
    state = state_lib.init(
      config, sharding.of_tree(state_lib.abstract(config), mesh)
    )
    rng = np.random.default_rng(0)
    q = config.quantizer
    shape = (q.num_quantizers, q.codebook_size, config.model.embedding_dim)
    vectors = rng.normal(size=shape).astype(np.float32)
    books = state.codebooks.replace(
      vectors=jnp.asarray(vectors),
      sums=jnp.array(vectors),
      counts=jnp.ones(shape[:2]),
    )
    # On the step's own places: what is put elsewhere is compiled for twice.
    self._step, (abstract, _) = step_lib.build(config, mesh)
    self.state = jax.tree.map(
      lambda leaf, like: jax.device_put(leaf, like.sharding),
      state.replace(codebooks=books),
      abstract,
    )
    size = (config.batch_size, config.data.crop_samples, 1)
    self.audio = jnp.asarray(0.1 * rng.normal(size=size), jnp.float32)
    self._forward = jax.jit(self._generate)
    self._slope = jax.jit(jax.value_and_grad(self._error))

  def save(self, path: str) -> None:
    """Writes what the reference loads: parameters, codebooks and audio."""
    trees = {
      "generator": self.state.params,
      "discriminators": self.state.disc_params,
      "vectors": self.state.codebooks.vectors,
      "audio": self.audio,
    }
    flat = flax.traverse_util.flatten_dict(trees, sep="/")
    np.savez(path, **{name: np.asarray(leaf) for name, leaf in flat.items()})

  def reconstruct(self) -> np.ndarray:
    return np.asarray(self._forward(self.state.params, self._vectors))

  def generator_forward(self) -> None:
    jax.block_until_ready(self._forward(self.state.params, self._vectors))

  def generator_forward_backward(self) -> None:
    jax.block_until_ready(self._slope(self.state.params, self._vectors))

  def gan_step(self) -> None:
    self.state, metrics = self._step(self.state, self.audio)
    jax.block_until_ready(metrics)

  @property
  def _vectors(self):
    return self.state.codebooks.vectors

  def _generate(self, params, vectors):
    variables = soundstream.variables(params, vectors)
    return self.net.apply(variables, self.audio).audio

  def _error(self, params, vectors):
    return jnp.mean(jnp.square(self._generate(params, vectors) - self.audio))


class Reference:
  """The process of benchmarks/pytorch/worker.py."""

  def __init__(self, preset: str, overrides: dict):
    self._process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        "benchmarks.pytorch.worker",
        preset,
        json.dumps(overrides),
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def ask(self, command: str, argument) -> dict:
    print(json.dumps({command: argument}), file=self._process.stdin, flush=True)
    line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(
        f"PyTorch's process ended with {self._process.wait()} on {command}. "
        'Its own lines are above; `pip install -e ".[bench]"` brings PyTorch.'
      )
    return json.loads(line)

  def close(self) -> None:
    self._process.stdin.close()
    self._process.wait()


def check(ours: Ours, reference: Reference) -> float:
  """Gives both one model; returns how far their outputs differ, as a share."""
  with tempfile.TemporaryDirectory() as folder:
    model, output = f"{folder}/model.npz", f"{folder}/output.npy"
    ours.save(model)
    reference.ask("load", model)
    reference.ask("reconstruct", output)
    theirs = np.load(output, allow_pickle=False)
  recon = ours.reconstruct()
  worst = np.max(np.abs(theirs - recon)) / np.max(np.abs(recon))
  if not worst < TOLERANCE:
    raise AssertionError(f"PyTorch's reconstruction differs by {worst:.1e}.")
  return float(worst)


def measure(ours: Ours, reference: Reference, piece: str, turns: int):
  """Returns median seconds of both and the median ratio theirs / ours."""

  def turn():
    mine = _seconds(getattr(ours, piece))
    return mine, reference.ask("run", piece)["seconds"]

  turn()
  pairs = [turn() for _ in range(turns)]
  return (
    statistics.median(a for a, _ in pairs),
    statistics.median(b for _, b in pairs),
    statistics.median(b / a for a, b in pairs),
  )


def matrix_rate() -> float:
  """FLOP/s of XLA's large float32 product, the best of five."""
  a = jnp.ones((MATRIX, MATRIX), jnp.float32)
  product = jax.jit(lambda x: x @ x)
  jax.block_until_ready(product(a))
  best = min(_seconds(lambda: product(a).block_until_ready()) for _ in range(5))
  return 2 * MATRIX**3 / best


def _seconds(run) -> float:
  start = time.perf_counter()
  run()
  return time.perf_counter() - start


def _row(piece, form, threads, seconds, ratio, limit) -> dict:
  return {
    "piece": piece,
    "form": form,
    "threads": threads,
    "audio_seconds_per_second": round(_BATCH.value / seconds, 3),
    "ratio_to_pytorch": round(ratio, 3),
    "share_of_limit": round(limit / seconds, 3),
  }


def main(_):
  host_memory.keep()  # as training does
  values = presets.load(_PRESET.value)
  overrides = {
    "batch_size": _BATCH.value,
    "data.crop_samples": values.audio.sample_rate_hz,
    "quantizer.dropout": False,
  }
  values.update_from_flattened_dict(overrides)
  threads = len(os.sched_getaffinity(0))
  ours = Ours(config_lib.from_dict(values))
  reference = Reference(_PRESET.value, overrides)
  worst = check(ours, reference)
  print(f"reconstructions agree to {worst:.0e} of the largest sample")
  flops = reference.ask("flops", "")["flops"]
  print(f"{'piece':28}{'form':9}{'audio s/s':>9}{'ratio':>7}{'of limit':>10}")
  rows = []
  for piece in PIECES:
    rate = matrix_rate()
    mine, theirs, ratio = measure(ours, reference, piece, _TURNS.value)
    limit = flops[piece] / rate
    rows += [
      _row(piece, "jax", threads, mine, ratio, limit),
      _row(piece, "pytorch", threads, theirs, 1, limit),
    ]
    for row in rows[-2:]:
      print(
        f"{row['piece']:28}{row['form']:9}"
        f"{row['audio_seconds_per_second']:9.2f}"
        f"{row['ratio_to_pytorch']:7.2f}{row['share_of_limit']:10.0%}",
        flush=True,
      )
  reference.close()
  print(
    f"{datetime.date.today()}, {threads} threads, load {os.getloadavg()[0]:.1f}, "
    f"products at {rate / 1e9:.0f} GFLOP/s"
  )
  pathlib.Path(_JSON.value).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
  app.run(main)
