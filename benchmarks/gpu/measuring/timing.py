"""How long a program takes on a device, and what the device can do at best."""

import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

# A round is at least so long, so that its calls follow without a pause.
ROUND_S = 0.02
ROUNDS = 5
# What is handed over before the device has done it holds memory.
MOST_CALLS = 50


def seconds(run: Callable[[], object]) -> float:
  """Returns seconds a call, the best of several rounds of calls.

  Calls are handed over one after another and waited for at the end of a round.
  """
  jax.block_until_ready(run())
  once = _round(run, 1)
  calls = min(MOST_CALLS, max(1, math.ceil(ROUND_S / max(once, 1e-9))))
  return min(_round(run, calls) for _ in range(ROUNDS))


def _round(run: Callable[[], object], calls: int) -> float:
  start = time.perf_counter()
  for _ in range(calls):
    last = run()
  jax.block_until_ready(last)
  return (time.perf_counter() - start) / calls


def peaks(*, size: int, copied_bytes: int) -> dict[str, float]:
  """Returns the rates of a large product and copy, and of tiny programs.

  Args:
    size: of the product's square matrices, bfloat16.
    copied_bytes: of an array that is read and written.

  Returns:
    `products` in FLOP/s, `copies` in bytes read and written per second, `call`
    in seconds: no program can be handed over faster.
  """
  products = 2 * size**3 / _of(lambda x: x @ x, (size, size), jnp.bfloat16)
  copies = 2 * copied_bytes / _of(lambda x: x + 1, (copied_bytes // 4,))
  call = _of(lambda x: x + 1, (8,))
  return {"products": products, "copies": copies, "call": call}


def _of(function, shape: tuple[int, ...], dtype=jnp.float32) -> float:
  """Returns seconds of a function of one array, which is freed with it."""
  x, compiled = jnp.ones(shape, dtype), jax.jit(function)
  return seconds(lambda: compiled(x))
