"""Every distinct convolution of a model, found by running its networks abstractly.

A method that notes what another one is asked for: the networks run with it on
shapes alone, so that each layer is known with its input as that method lays it
out.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.gpu.measuring import timing
from soundstream_jax import config as config_lib
from soundstream_jax.convolution import methods
from soundstream_jax.convolution import signal as signal_lib
from soundstream_jax.convolution import spec as spec_lib
from soundstream_jax.model import discriminator, soundstream

# How often a step passes each network: forward, toward kernels, toward inputs.
# Discriminators judge real and decoded audio, and the second is passed back
# once for their own gradient and once for the generator's.
_PASSES = {"generator": (1, 1, 1), "discriminators": (2, 2, 3)}
# Passes toward audio that nobody needs, of a network's first layer.
_NOT_NEEDED = {"generator": 1, "discriminators": 2}


@dataclasses.dataclass(frozen=True)
class Layer:
  """A convolution, and where the model has it first.

  Attributes:
    name: of the first of its kind, as in encoder/stage0_unit0/dilated.
    network: 'generator' or 'discriminators'.
    spec: what it computes.
    x: its input, values abstract, as its method lays them out.
    count: how many of the model's layers are the same.
  """

  name: str
  network: str
  spec: spec_lib.Spec
  x: signal_lib.Signal
  count: int = 1

  @property
  def kernel_shape(self) -> tuple[int, ...]:
    s = self.spec
    return (*s.kernel, self.x.channels // s.groups, s.features)

  @property
  def flops(self) -> float:
    """Of a pass in one direction."""
    positions = self.x.values.shape[0] * math.prod(
      self.spec.outputs(self.x.space)
    )
    inputs = self.x.channels // self.spec.groups
    return (
      2.0
      * positions
      * self.spec.taps_per_output
      * inputs
      * (self.spec.features)
    )

  @property
  def bytes(self) -> float:
    """Of input, kernel and output, each once: the least of any direction."""
    s, clips = self.spec, self.x.values.shape[0]
    values = clips * math.prod(self.x.space) * self.x.channels
    values += clips * math.prod(s.outputs(self.x.space)) * s.features
    values += math.prod(self.kernel_shape)
    return float(values * self.x.values.dtype.itemsize)

  def key(self) -> tuple:
    """Two layers with one key are the same to any method."""
    return (
      self.network,
      self.spec,
      self.x.space,
      self.x.channels,
      self.x.granule,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Recorder:
  """A `signal.Method` that notes what passes on its way to another one."""

  method: signal_lib.Method
  found: list[tuple[str, spec_lib.Spec, signal_lib.Signal]]

  def __getattr__(self, name: str) -> Any:
    return getattr(self.method, name)

  def convolve(self, spec, x, parameters, memory):
    # `memory` is a method of the layer that asks.
    path = "/".join(memory.__self__.path)
    values = jax.ShapeDtypeStruct(x.values.shape, x.values.dtype)
    self.found.append(
      (path, spec, x.replace(values=values, method=self.method))
    )
    return self.method.convolve(spec, x, parameters, memory)


def of_model(
  config: config_lib.Config, method: signal_lib.Method
) -> list[Layer]:
  """Returns the distinct layers, in the order of their first use."""
  config = dataclasses.replace(config, rematerialise=False)
  found = {}
  for network, calls in _recorded(config, method).items():
    for name, spec, x in calls:
      layer = Layer(name, network, spec, x)
      count = found[layer.key()].count + 1 if layer.key() in found else 1
      first = found.get(layer.key(), layer)
      found[layer.key()] = dataclasses.replace(first, count=count)
  return list(found.values())


def _recorded(config, method):
  """Network -> what its convolutions were asked for."""
  crop = (config.batch_size, config.data.crop_samples, 1)
  audio = jax.ShapeDtypeStruct(crop, jnp.float32)
  dtype = jnp.dtype(config.dtype_in_training)
  generator, judges = Recorder(method, []), Recorder(method, [])
  nets = [soundstream.from_config(config, method=generator)]
  if config.discriminator.exists:
    nets.append(
      discriminator.Discriminator(config.discriminator, judges, dtype=dtype)
    )
  for net in nets:
    # A key as numbers: no device is asked.
    key = jax.eval_shape(lambda: jax.random.key(0))
    jax.eval_shape(net.init, key, audio)
  return {"generator": generator.found, "discriminators": judges.found}


def step_flops(config: config_lib.Config) -> float:
  """Returns the products of convolutions that a step cannot do without."""
  total = 0.0
  for layer in of_model(config, methods.METHODS["plain"]):
    passes = sum(_PASSES[layer.network])
    total += layer.count * passes * layer.flops
    if layer.x.channels <= 2 and layer.x.space[0] > 1:
      total -= layer.count * _NOT_NEEDED[layer.network] * layer.flops
  return total


def measure(layer: Layer) -> dict[str, float]:
  """Times a layer in its method: forward, toward its input and its kernel."""
  method = layer.x.method
  dtype = layer.x.values.dtype
  bias = jnp.zeros(layer.spec.features, jnp.float32)

  def forward(values, kernel):
    x = layer.x.replace(values=values)
    return method.convolve(layer.spec, x, lambda: (kernel, bias), None)

  values = noise(layer.x.values.shape, dtype)
  kernel = noise(layer.kernel_shape, dtype)
  times = directions(forward, values, kernel)
  return rates(times, flops=layer.flops, moved=layer.bytes)


def rates(
  times: dict[str, float], *, flops: float, moved: float
) -> dict[str, float]:
  """Returns times with the rates at which they do and move what they must."""
  found = {f"{name}_s": seconds for name, seconds in times.items()}
  for name, seconds in times.items():
    found[f"{name}_tflops"] = round(flops / seconds / 1e12, 4)
    found[f"{name}_gb_per_s"] = round(moved / seconds / 1e9, 2)
  return found | {"flops": flops, "bytes": moved}


def directions(
  forward, x: jax.Array, kernel: jax.Array, **options
) -> dict[str, float]:
  """Returns seconds of a function of x and kernel and of its two gradients.

  Each is a program of its own, compiled with `options` of jax.jit.
  """
  jit = functools.partial(jax.jit, **options)
  apply = jit(forward)
  cotangent = jax.tree.map(
    lambda y: noise(y.shape, y.dtype), jax.eval_shape(forward, x, kernel)
  )
  to_input = jit(lambda x, k, c: jax.vjp(lambda x: forward(x, k), x)[1](c))
  to_kernel = jit(lambda x, k, c: jax.vjp(lambda k: forward(x, k), k)[1](c))
  return {
    "forward": timing.seconds(lambda: apply(x, kernel)),
    "input": timing.seconds(lambda: to_input(x, kernel, cotangent)),
    "kernel": timing.seconds(lambda: to_kernel(x, kernel, cotangent)),
  }


def noise(shape: tuple[int, ...], dtype) -> jax.Array:
  """Returns normal values, the same for one shape."""
  key = jax.random.key(math.prod(shape) % 1_009)
  return jax.random.normal(key, shape, jnp.float32).astype(dtype)
