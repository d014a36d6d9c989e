"""The two sides of a benchmark: our networks, and PyTorch's in its process."""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax.data import batch as batch_lib
from soundstream_jax.devices import distributed, sharding
from soundstream_jax.model import quantizers, soundstream
from soundstream_jax.train import compiled as compiled_lib
from soundstream_jax.train import state as state_lib
from soundstream_jax.train import step as step_lib

PIECES = ("generator_forward", "generator_forward_backward", "gan_step")


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
    shape = quantizers.codebooks_shape(config)
    vectors = rng.normal(size=shape).astype(np.float32)
    books = state.codebooks.replace(
      vectors=jnp.asarray(vectors),
      sums=jnp.array(vectors),
      counts=jnp.ones(shape[:2]),
    )
    # On the step's own places: what is put elsewhere is compiled for twice.
    self._jitted, (abstract, batch) = step_lib.build(config, mesh)
    self._step = compiled_lib.Compiled(
      self._jitted, (abstract, batch), name="The step"
    )
    self.state = jax.tree.map(
      lambda leaf, like: jax.device_put(leaf, like.sharding),
      state.replace(codebooks=books),
      abstract,
    )
    size = (config.batch_size, config.data.crop_samples, 1)
    self.audio = jnp.asarray(0.1 * rng.normal(size=size), jnp.float32)
    self._forward = self._compiled(self._generate)
    # The larger part of the step, compiled as the step is.
    self._slope = self._compiled(
      jax.value_and_grad(self._error),
      compiler_options=compiled_lib.options(jax.default_backend()),
    )

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
    self.state, metrics = self._step(self.state, batch_lib.Batch(self.audio))
    jax.block_until_ready(metrics)

  def losses(self) -> dict[str, float]:
    """What a step reports from the state as it is, which it changes."""
    self.state, metrics = self._step(self.state, batch_lib.Batch(self.audio))
    return {k: float(v) for k, v in metrics.items() if k.startswith("loss/")}

  def bytes_moved(self) -> float:
    """What the compiled step's instructions read and write."""
    compiled = self._jitted.lower(
      self.state, batch_lib.Batch(self.audio)
    ).compile()
    return compiled.cost_analysis()["bytes accessed"]

  def _compiled(self, function, **options):
    arguments = jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(
        leaf.shape, leaf.dtype, sharding=leaf.sharding
      ),
      (self.state.params, self._vectors),
    )
    jitted = jax.jit(function, **options)
    return compiled_lib.Compiled(jitted, arguments, name="The generator")

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

  def __init__(
    self,
    preset: str,
    overrides: dict,
    *,
    device: str = "cpu",
    compiled: bool = False,
    python: str = sys.executable,
  ):
    """Starts it.

    Args:
      preset: of the model.
      overrides: of the preset.
      device: PyTorch's name of it.
      compiled: by torch.compile, both networks.
      python: the interpreter that has PyTorch.
    """
    self._process = subprocess.Popen(
      [
        python,
        "-m",
        "benchmarks.pytorch.worker",
        preset,
        json.dumps(overrides),
        device,
        "compiled" if compiled else "eager",
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def ask(self, command: str, argument) -> dict:
    line = ""
    with contextlib.suppress(BrokenPipeError):
      question = json.dumps({command: argument})
      print(question, file=self._process.stdin, flush=True)
      line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(
        f"PyTorch's process ended with {self._process.wait()} on {command}. "
        'Its own lines are above; `pip install -e ".[bench]"` brings PyTorch.'
      )
    return json.loads(line)

  def close(self) -> None:
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    self._process.wait()
    self._process.stdout.close()


def check(ours: Ours, reference: Reference, *, tolerance: float) -> float:
  """Gives both one model; returns how far their outputs differ, as a share.

  Raises:
    AssertionError: by more than the tolerance.
  """
  with tempfile.TemporaryDirectory() as folder:
    model, output = f"{folder}/model.npz", f"{folder}/output.npy"
    ours.save(model)
    reference.ask("load", model)
    reference.ask("reconstruct", output)
    theirs = np.load(output, allow_pickle=False)
  recon = ours.reconstruct()
  worst = np.max(np.abs(theirs - recon)) / np.max(np.abs(recon))
  if not worst < tolerance:
    raise AssertionError(f"PyTorch's reconstruction differs by {worst:.1e}.")
  return float(worst)


def measure(
  ours: Ours, reference: Reference, piece: str, *, turns: int, warm_up: int = 1
) -> tuple[float, float, float]:
  """Returns median seconds of both and the median ratio theirs / ours."""

  def turn():
    mine = seconds(getattr(ours, piece))
    return mine, reference.ask("run", piece)["seconds"]

  for _ in range(warm_up):
    turn()
  pairs = [turn() for _ in range(turns)]
  return (
    statistics.median(a for a, _ in pairs),
    statistics.median(b for _, b in pairs),
    statistics.median(b / a for a, b in pairs),
  )


def seconds(run) -> float:
  """How long it takes."""
  start = time.perf_counter()
  run()
  return time.perf_counter() - start


def product_rate(size: int, dtype) -> float:
  """FLOP/s of XLA's product of two square matrices, the best of five."""
  a = jnp.ones((size, size), dtype)
  product = jax.jit(lambda x: x @ x)
  jax.block_until_ready(product(a))
  best = min(seconds(lambda: product(a).block_until_ready()) for _ in range(5))
  return 2 * size**3 / best
