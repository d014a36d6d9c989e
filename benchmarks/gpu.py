"""python -m benchmarks.gpu: a training step on one GPU, beside PyTorch.

Checks first: our reconstruction is PyTorch's in float32, and a step in bfloat16
reports the losses of the same step in float32. Then every form (see
docs/performance.md) is timed in bfloat16, in turns with PyTorch, both eager and
compiled by torch.compile. The limit is the larger of two times: that of the
function's products at the rate of a large bfloat16 product, and that of the
bytes which the compiled step reads and writes at the rate of a large copy.

Writes a table as JSON. Needs jax and PyTorch with CUDA; with --device=cpu it
runs anywhere, to be tried with

  python -m benchmarks.gpu --device=cpu --preset=tiny --batch=2 --turns=2 \\
    --override=discriminator.stft_channels=8

(with the 2 of `tiny`, PyTorch 2.13 crashes in its own backward pass on a CPU).
"""

import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

# The card is shared with PyTorch's processes: take what is needed, no more.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import sides
from soundstream_jax import config as config_lib
from soundstream_jax import errors, whole_files
from soundstream_jax.settings import path_flags, presets

_PRESET = flags.DEFINE_string("preset", "soundstream_24khz", "What to measure.")
_BATCH = flags.DEFINE_integer("batch", 32, "Clips of a second.")
_TURNS = flags.DEFINE_integer("turns", 10, "Of each side, after a warm-up.")
_DEVICE = flags.DEFINE_enum(
  "device", "cuda", ["cuda", "cpu"], "PyTorch's name."
)
_FORMS = flags.DEFINE_list("forms", ["blocks", "plain", "lanes"], "Ours.")
_OVERRIDE = flags.DEFINE_multi_string(
  "override", [], "NAME=VALUE of the preset, VALUE as in JSON."
)
_JSON = path_flags.define(
  "json",
  str(pathlib.Path(__file__).with_name("results_gpu.json")),
  "For the rows.",
)

# Of the largest sample, float32 without TensorFloat-32.
TOLERANCE = 1e-3
# Between a step in bfloat16 and the same in float32.
LOSS_TOLERANCE = 0.02
WARM_UP = 3


def main(_):
  sys.exit(errors.run(_measure))


def _measure() -> None:
  _check_device()
  overrides = _overrides()
  flops, losses = _check_reconstructions(overrides)
  lower = overrides | {"model.compute_dtype": "bfloat16"}
  references = {
    mode: sides.Reference(
      _PRESET.value, lower, device=_DEVICE.value, compiled=mode == "compiled"
    )
    for mode in ("eager", "compiled")
  }
  limits = _Limits(
    flops=flops,
    products=sides.product_rate(1_024 if _is_cpu() else 8_192, jnp.bfloat16),
    copies=_copy_rate(1 << (24 if _is_cpu() else 30)),
  )
  rows = [
    row
    for form in _FORMS.value
    for row in _time(form, lower, references, losses, limits)
  ]
  for reference in references.values():
    reference.close()
  _write(rows, limits)


@dataclasses.dataclass(frozen=True)
class _Limits:
  """What a step needs, and what the card gives."""

  flops: float  # of a step
  products: float  # in FLOP/s
  copies: float  # in bytes per second

  def seconds(self, bytes_moved: float) -> tuple[float, str]:
    """Returns the least time of a step, and what takes it."""
    of_products = self.flops / self.products, "products"
    of_bytes = bytes_moved / self.copies, "bytes"
    return max(of_bytes, of_products, key=lambda limit: limit[0])


def _check_device() -> None:
  if jax.default_backend() != {"cuda": "gpu", "cpu": "cpu"}[_DEVICE.value]:
    sys.exit(
      f"--device={_DEVICE.value}: jax finds {jax.devices()[0].platform} only. "
      "Install jax for this device, or pass --device=cpu."
    )


def _overrides() -> dict:
  overrides = {
    "batch_size": _BATCH.value,
    "data.crop_samples": presets.load(_PRESET.value).audio.sample_rate_hz,
    "quantizer.dropout": False,
  }
  for override in _OVERRIDE.value:
    name, _, value = override.partition("=")
    overrides[name] = json.loads(value)
  return overrides


def _check_reconstructions(overrides: dict) -> tuple[float, dict]:
  """Returns the FLOPs and the losses of a step in float32."""
  with jax.default_matmul_precision("highest"):
    exact = sides.Ours(_config(overrides))
    reference = sides.Reference(_PRESET.value, overrides, device=_DEVICE.value)
    worst = sides.check(exact, reference, tolerance=TOLERANCE)
    flops = reference.ask("flops", "")["flops"]["gan_step"]
    reference.close()
    losses = exact.losses()
  print(f"reconstructions agree to {worst:.0e} of the largest sample")
  return flops, losses


def _time(form, overrides, references, losses, limits) -> Iterator[dict]:
  """Yields a row of the table for a form beside each mode of PyTorch."""
  ours = sides.Ours(_config(overrides | {"form": form}))
  apart = _compare(ours.losses(), losses)
  moved = ours.bytes_moved()
  limit, limited_by = limits.seconds(moved)
  for mode, reference in references.items():
    sides.check(ours, reference, tolerance=float("inf"))  # loads the model
    mine, theirs, ratio = sides.measure(
      ours, reference, "gan_step", turns=_TURNS.value, warm_up=WARM_UP
    )
    row = {
      "piece": "gan_step",
      "form": form,
      "pytorch": mode,
      "audio_seconds_per_second": round(_BATCH.value / mine, 2),
      "pytorch_audio_seconds_per_second": round(_BATCH.value / theirs, 2),
      "ratio_to_pytorch": round(ratio, 3),
      "share_of_limit": round(limit / mine, 3),
      "limited_by": limited_by,
      "gigabytes_moved": round(moved / 1e9, 2),
      "losses_apart": round(apart, 4),
    }
    print(json.dumps(row), flush=True)
    yield row


def _write(rows: list[dict], limits: _Limits) -> None:
  table = {
    "date": str(datetime.date.today()),
    "device": _device_name(),
    "jax": jax.__version__,
    "preset": _PRESET.value,
    "clips_of_a_second": _BATCH.value,
    "products_tflops": round(limits.products / 1e12, 3),
    "copies_gb_per_s": round(limits.copies / 1e9, 1),
    "rows": rows,
  }
  whole_files.write(_JSON.value, json.dumps(table, indent=2) + "\n")
  print(
    f"{table['date']}, {table['device']}, jax {table['jax']}, products at "
    f"{table['products_tflops']} TFLOP/s, copies at {table['copies_gb_per_s']} "
    f"GB/s; written to {_JSON.value}"
  )


def _config(overrides: dict) -> config_lib.Config:
  values = presets.load(_PRESET.value)
  values.update_from_flattened_dict(overrides)
  return config_lib.from_dict(values)


def _is_cpu() -> bool:
  return _DEVICE.value == "cpu"


def _compare(losses: dict, exact: dict) -> float:
  """The largest relative difference; ends the program beyond the tolerance."""
  apart = {
    name: abs(losses[name] - value) / max(abs(value), 1e-6)
    for name, value in exact.items()
  }
  name = max(apart, key=apart.get)
  if not apart[name] <= LOSS_TOLERANCE:
    sys.exit(
      f"{name}: {losses[name]:.5g} in bfloat16, {exact[name]:.5g} in float32, "
      f"{apart[name]:.1%} apart; at most {LOSS_TOLERANCE:.0%} is right."
    )
  return apart[name]


def _copy_rate(size_bytes: int) -> float:
  """Bytes read and written per second, the best of five."""
  x = jnp.ones(size_bytes // 4, jnp.float32)
  copy = jax.jit(lambda x: x + 1)
  jax.block_until_ready(copy(x))
  best = min(
    sides.seconds(lambda: copy(x).block_until_ready()) for _ in range(5)
  )
  return 2 * size_bytes / best


def _device_name() -> str:
  if _is_cpu():
    return "cpu"
  query = [
    "nvidia-smi",
    "--query-gpu=name,driver_version",
    "--format=csv,noheader",
  ]
  done = subprocess.run(query, capture_output=True, text=True, check=False)
  return done.stdout.strip() or jax.devices()[0].device_kind


if __name__ == "__main__":
  app.run(main)
