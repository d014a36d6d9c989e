"""The network as a list of layers, which it tells itself.

The model runs once with a `signal.Method` that computes nothing and writes down
what it is asked for. So whoever builds the network anew in another language
follows the model's own code, and no architecture is written twice.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax.numpy as jnp
import numpy as np

from soundstream_jax import config as config_lib
from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.model import film, mel_encoder, soundstream

# Elementwise functions that networks use, and the kinds of their steps.
FUNCTIONS: dict[Callable, str] = {
  jnp.add: "add",
  jnp.square: "square",
  mel_encoder.scaled_log: "scaled_log",
}

# As a step's input: the network's own.
INPUT = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
  """One layer, or one function between layers.

  Attributes:
    kind: 'convolve', 'elu', 'snake', 'film', or a value of FUNCTIONS.
    inputs: indices of the steps whose results it takes; INPUT is the network's.
    inputs_channels: of the first of them.
    channels: of the result.
    path: of the module with its parameters, joined by "/"; '' where it has none.
    spec: of a convolution.
    arrays: float32, as the layer uses them: 'kernel' [*k, inputs, features] and
      'bias' [features] of a convolution, 'alpha' [C] of a snake, 'scale' and
      'shift' [2, C] of FiLM, whose first row is of `denoise` off.
  """

  kind: str
  inputs: tuple[int, ...]
  inputs_channels: int
  channels: int
  path: str = ""
  spec: spec_lib.Spec | None = None
  arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class _Values:
  """What stands for the result of a step: its index and its shape."""

  step: int
  shape: tuple[int, ...]

  @property
  def ndim(self) -> int:
    return len(self.shape)

  def astype(self, dtype: Any) -> "_Values":
    if jnp.dtype(dtype) != jnp.float32:
      raise ValueError(f"A trace is of float32, not {dtype}.")
    return self


@dataclasses.dataclass(frozen=True, eq=False)
class Recorder:
  """A `signal.Method` of the generator that appends to steps."""

  steps: list[Step]

  def enter(self, x, *, channels, granule):
    del channels, granule
    return x

  def lay_out(self, spec, x):
    del spec
    return x.values

  def convolve(self, spec, x, parameters, memory):
    kernel, bias = parameters()
    shape = (1, *spec.outputs(x.space), spec.features)
    arrays = {"kernel": _array(kernel), "bias": _array(bias)}
    self._remember(memory)
    return self.append("convolve", shape, x.values, spec=spec, arrays=arrays)

  def elementwise(self, function, *values):
    if function not in FUNCTIONS:
      raise ValueError(f"{function} has no line in FUNCTIONS.")
    return self.append(FUNCTIONS[function], values[0].shape, *values)

  def elu(self, values):
    return self.append("elu", values.shape, values)

  def snake(self, x, parameters, memory):
    arrays = {"alpha": _array(parameters())}
    self._remember(memory)
    return self.append("snake", x.values.shape, x.values, arrays=arrays)

  def leave(self, x):
    return x.values

  def append(
    self, kind: str, shape: tuple[int, ...], *inputs: _Values, **fields: Any
  ) -> _Values:
    """Adds a step whose result has the shape [1, T, C]."""
    step = Step(
      kind,
      tuple(x.step for x in inputs),
      inputs[0].shape[-1],
      shape[-1],
      **fields,
    )
    self.steps.append(step)
    return _Values(len(self.steps) - 1, shape)

  def _remember(self, memory: Callable[..., Any]) -> None:
    """Leaves the next step's index where the path of its module is seen."""
    memory("trace", "step", lambda: len(self.steps))


def encoder(config: config_lib.Config, variables: dict) -> list[Step]:
  """Returns the layers from audio [B, T, 1] to latents [B, F, D], FiLM too.

  Args:
    config: of the model, whose compute_dtype is float32.
    variables: of `soundstream.variables`.
  """
  return _steps(config, variables, (config.rates.hop_samples, 1), "encode")


def decoder(config: config_lib.Config, variables: dict) -> list[Step]:
  """Returns the layers from latents to audio; see `encoder`."""
  return _steps(config, variables, (1, config.model.embedding_dim), "decode")


def table(config: config_lib.Config, variables: dict) -> np.ndarray:
  """Returns what codes stand for, float32 [Q, K, D]."""
  net = soundstream.from_config(config)
  return _array(net.apply(variables, method=lambda net: net.quantizer.table()))


def _steps(config, variables, shape, side) -> list[Step]:
  recorder = Recorder([])
  net = soundstream.from_config(
    # Rematerialised modules take arrays alone.
    dataclasses.replace(config, rematerialise=False),
    method=recorder,
  )
  with nn.intercept_methods(functools.partial(_with_film, recorder)):
    _, changed = net.apply(
      variables, _Values(INPUT, (1, *shape)), method=side, mutable=["trace"]
    )
  paths = flax.traverse_util.flatten_dict(changed.get("trace", {}))
  for path, index in paths.items():
    recorder.steps[index] = dataclasses.replace(
      recorder.steps[index], path="/".join(path[:-1])
    )
  return recorder.steps


def _with_film(recorder, call, args, kwargs, context) -> Any:
  """Writes FiLM down, which is no part of a method; calls all other modules."""
  module = context.module
  if not isinstance(module, film.Film) or context.method_name != "__call__":
    return call(*args, **kwargs)
  read = functools.partial(module.get_variable, "params")
  arrays = {name: _array(read(name)) for name in ("scale", "shift")}
  path = "/".join(module.path)
  return recorder.append(
    "film", args[0].shape, args[0], path=path, arrays=arrays
  )


def _array(x: Any) -> np.ndarray:
  return np.asarray(x, np.float32)
