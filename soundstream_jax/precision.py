"""How wide numbers are: float32 wherever it counts, float64 in tests of laws.

Convolutions run in config.model.compute_dtype, and those of training in
config.train_dtype where it is given. Parameters, codebooks, distances, spectra,
losses and averages are float32 for bfloat16 and float32. With float64 all of it
is float64: rounding is then small enough to tell an algorithm that depends on
the number of devices from one that does not.

What a float32 convolution multiplies is the device's matter. A CPU multiplies
float32. A GPU since Ampere rounds both factors to TF32 (10 bits of mantissa
instead of 23), a TPU to bfloat16 (7 bits); sums are float32 on each. This is
jax's default precision (docs.jax.dev/en/latest/201/precision.html), which XLA
hands on to cuDNN as a permission for TF32. Where rounding would change codes or
losses, ours is `lax.Precision.HIGHEST`, which is float32 on each: distances and
sums of codebooks, spectra, fixed features, kernels that are folded, and all of
the codec's streams and exports. JAX_DEFAULT_MATMUL_PRECISION=highest makes
float32 of the rest.
"""

import jax
import jax.numpy as jnp

# By default, of float32 numbers. GPUs before Ampere have no TF32.
_PRODUCTS = {"gpu": "TF32", "tpu": "bfloat16"}


def of_parameters(compute_dtype) -> jnp.dtype:
  """Returns float32, or float64 where convolutions are float64."""
  wide = jnp.dtype(compute_dtype) == jnp.float64
  return jnp.dtype(jnp.float64 if wide else jnp.float32)


def products(dtype, platform: str) -> str:
  """Says what convolutions of a dtype multiply on a platform, for people.

  Args:
    dtype: of the convolutions.
    platform: 'cpu', 'gpu' or 'tpu'.
  """
  name = jnp.dtype(dtype).name
  asked = jax.config.jax_default_matmul_precision
  if name != "float32" or platform not in _PRODUCTS:
    return name
  if asked is not None:
    return f"{name} (jax_default_matmul_precision={asked})"
  return f"{name} (products of {_PRODUCTS[platform]})"


def widened(x: jax.Array) -> jax.Array:
  """Returns x in float32, or in float64 where it is that already."""
  return x.astype(of_parameters(x.dtype))


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
  """Adds a bias [C] to x [..., C], in the dtype of x.

  The bias' gradient is summed in the bias' dtype: XLA would sum it in that of
  x, and thousands of bfloat16 terms lose most of what they add up to.
  """
  shape = (1,) * (x.ndim - 1) + (-1,)
  return x + bias.astype(x.dtype).reshape(shape)


def _add_bias(x, bias):
  return add_bias(x, bias), jnp.zeros((), bias.dtype)


def _add_bias_transposed(like, cotangent):
  axes = tuple(range(cotangent.ndim - 1))
  return cotangent, jnp.sum(cotangent.astype(like.dtype), axis=axes)


add_bias.defvjp(_add_bias, _add_bias_transposed)
