"""PyTorch's side, in a process of its own that has the card to itself."""

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import jax

from benchmarks import sides
from benchmarks.gpu import conditions as conditions_lib
from benchmarks.gpu.measuring import steps

# Of the largest sample, float32 without TensorFloat-32.
TOLERANCE = 1e-3
WARM_UP = 3
# Of the reconstruction that is compared.
CLIPS = 2

Values = dict[str, Any]


def measure(
  given: conditions_lib.Conditions, *, compiled: bool
) -> Iterator[Values]:
  """Times PyTorch's step; jax is on the processor meanwhile.

  Args:
    given: the run's.
    compiled: by torch.compile, else eager.

  Raises:
    RuntimeError: this process has devices other than the processor, or PyTorch
      is missing.
  """
  if jax.default_backend() != "cpu":
    raise RuntimeError("PyTorch is measured from a process without the card.")
  config = given.config()
  reference = _reference(given, given.flattened(), compiled=compiled)
  try:
    yield reference.ask("about", "")
    with tempfile.TemporaryDirectory() as folder:
      sides.Ours(config).save(f"{folder}/model.npz")
      reference.ask("load", f"{folder}/model.npz")
    first = reference.ask("run", "gan_step")["seconds"]
    yield {
      "batch": config.batch_size,
      "quantizer_layers": config.quantizer.num_quantizers,
      "audio_s": config.batch_size
      * config.data.crop_samples
      / config.audio.sample_rate_hz,
      "first_s": first,
    }
    for _ in range(WARM_UP):
      reference.ask("run", "gan_step")
    yield reference.ask("repeat", ["gan_step", given.steps])
    yield reference.ask("memory", "")
  finally:
    reference.close()


def reconstruction(given: conditions_lib.Conditions) -> Iterator[Values]:
  """Compares our reconstruction with PyTorch's, both in float32."""
  steps.forget()
  changes = {"batch": min(CLIPS, given.batch), "dtype": "float32"}
  reference = _reference(given, given.flattened(**changes), compiled=False)
  try:
    yield reference.ask("about", "")
    with jax.default_matmul_precision("highest"):
      ours = sides.Ours(given.config(**changes))
      worst = sides.check(ours, reference, tolerance=float("inf"))
    yield {"apart": worst, "holds": worst <= TOLERANCE}
  finally:
    reference.close()


def _reference(given, overrides, *, compiled: bool) -> sides.Reference:
  # What torch.compile makes is kept, too.
  os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR", os.path.abspath(f"{given.cache}/torch")
  )
  return sides.Reference(
    given.preset,
    overrides,
    device=given.device,
    compiled=compiled,
    python=given.torch_python,
  )
