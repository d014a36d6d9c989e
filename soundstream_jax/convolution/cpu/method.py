"""Convolutions on a CPU: vectors filled, and gradients as products.

XLA runs the gradients of strided and of finely grouped convolutions through
slow general code on a CPU, and convolutions of few channels fill no vectors. All
can be written as convolutions of stride 1 without groups between enough channels,
which are matrix products:

* a stride s folds s neighbouring samples into the channels (see `strides`, and
  `two_taps` for the generator's);
* neighbouring groups merge (see `groups`), and are convolved one by one;
* kernels over two axes have gradients of their own (see `conv2d_gradients`).
"""

import dataclasses

import jax
import jax.numpy as jnp

from soundstream_jax import precision
from soundstream_jax.convolution import activation, plain, two_taps
from soundstream_jax.convolution import groups as groups_lib
from soundstream_jax.convolution.cpu import (
  conv1d,
  conv2d_gradients,
  kernel_gradients,
)
from soundstream_jax.convolution.cpu import strides as strides_lib

# Of merged groups. More multiply by zero, fewer make matrices too thin; each
# bundle is a convolution of its own, to be compiled. Measured.
INPUTS_PER_BUNDLE = 16
MOST_BUNDLES = 16


def _is_causal(spec) -> bool:
  """Whether it is one of the generator's convolutions."""
  return spec.is_causal and (spec.has_two_taps or spec.stride == 1)


@dataclasses.dataclass(frozen=True)
class Cpu(plain.Plain):
  """For any CPU; 'blocks' in config.form."""

  def convolve(self, spec, x, parameters, memory):
    del memory
    if _is_causal(spec):
      kernel, bias = parameters()
      y = self._causal(x.values, kernel, spec)
    else:
      spec, values = plain.sampled(spec, x.values)
      kernel, bias = parameters()
      y = self._dense(values, kernel, spec)
    return precision.add_bias(y, bias)

  def elu(self, values):
    return self.elementwise(activation.elu, values)

  def _causal(self, x, kernel, spec):
    if spec.has_two_taps:
      return two_taps.convolve(x, kernel, spec, kernel_gradients.two_taps)
    if spec.kernel == (1,):
      return kernel_gradients.pointwise(x, kernel[0])
    return self._convolve_causally(x, kernel, spec)

  def _convolve_causally(self, x, kernel, spec):
    return plain.convolve(x, kernel, spec)

  def _dense(self, x, kernel, spec):
    kernel, groups = groups_lib.merge(
      kernel,
      spec.groups,
      inputs_per_bundle=INPUTS_PER_BUNDLE,
      most_bundles=MOST_BUNDLES,
    )
    strides, padding = spec.strides, spec.padding
    if spec.transposed or spec.dilation > 1 or (spec.axes > 1 and groups > 1):
      return plain.convolve(x, kernel, dataclasses.replace(spec, groups=groups))
    if spec.axes > 1:
      return conv2d_gradients.convolve(x, kernel, strides, padding)
    if groups == 1:
      return strides_lib.convolve(
        x,
        kernel,
        strides=strides,
        padding=padding,
        compute=self._convolve_as_is,
      )
    # Padded and folded once for all bundles, which are then convolved one by one.
    x, kernel = strides_lib.fold(
      x, kernel, strides=strides, padding=padding, groups=groups
    )
    bundles = [
      self._convolve_as_is(bundle, weights, strides=(1,), padding=((0, 0),))
      for bundle, weights in zip(
        jnp.split(x, groups, axis=-1),
        jnp.split(kernel, groups, axis=-1),
        strict=True,
      )
    ]
    return jnp.concatenate(bundles, axis=-1)

  def _convolve_as_is(self, x, kernel, *, strides, padding) -> jax.Array:
    """Computes `strides.as_is` over one axis without strides."""
    return strides_lib.as_is(x, kernel, strides=strides, padding=padding)


@dataclasses.dataclass(frozen=True)
class CpuAvx512(Cpu):
  """For CPUs with AVX-512; 'rows' in config.form.

  Convolutions over one axis are those of an image of height one (see `conv1d`), and
  in the generator the signal stays one between layers: [B, 1, T, C].
  """

  def lay_out(self, spec, x):
    if not _is_causal(spec):
      return self.leave(x)
    return x.values[:, None] if x.values.ndim == 3 else x.values

  def leave(self, x):
    is_image = x.values.ndim == 2 + len(x.space) + 1
    return x.values[:, 0] if is_image else x.values

  def _convolve_causally(self, x, kernel, spec):
    return conv1d.convolve(x, kernel, spec.padding[0], spec.dilation)

  def _convolve_as_is(self, x, kernel, *, strides, padding):
    if strides != (1,):
      raise ValueError(f"An image of height one has no strides {strides}.")
    return conv1d.convolve(x[:, None], kernel, tuple(padding[0]))[:, 0]
