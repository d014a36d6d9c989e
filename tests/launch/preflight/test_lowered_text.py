"""Laws of reading a lowered program: every convolution, its kind and FLOPs."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from soundstream_jax.launch.preflight import hlo_text, lowered_text

NUMBERS = ("NWC", "WIO", "NWC")


def lowered(function, *shapes):
  """The text of a program for CUDA; no GPU and none of its packages."""
  arguments = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
  traced = jax.jit(function).trace(*arguments)
  return traced.lower(lowering_platforms=("cuda",)).as_text(debug_info=True)


def convolve(x, kernel, *, stride=1, pad=(0, 0), **options):
  return lax.conv_general_dilated(
    x, kernel, (stride,), [pad], dimension_numbers=NUMBERS, **options
  )


def with_gradients(**options):
  def total(x, kernel):
    return jnp.sum(jnp.square(convolve(x, kernel, **options)))

  return jax.grad(total, argnums=(0, 1))


X, KERNEL = (2, 40, 8), (8, 8, 16)


def kinds(text):
  """(kind, whether of weights, of inputs) of every convolution."""
  return [
    (one.kind, one.is_weight_gradient, one.is_input_gradient)
    for one in lowered_text.read(text).convolutions
  ]


def faults(function, *shapes):
  work = lowered_text.read(lowered(function, *shapes))
  return [one.gpu_fault.split()[0] for one in work.convolutions]


@pytest.mark.parametrize(
  ("options", "forward", "weights", "inputs"),
  [
    ({}, "ordinary", "ordinary", "ordinary"),
    ({"stride": 4}, "strided", "dilated_kernel", "dilated_input"),
    (
      {"rhs_dilation": (3,)},
      *("dilated_kernel", "strided", "dilated_kernel"),
    ),
    ({"lhs_dilation": (4,)}, "dilated_input", "dilated_input", "strided"),
    ({"feature_group_count": 2}, "grouped", "batch_grouped", "grouped"),
  ],
)
def test_a_convolution_and_its_gradients_have_their_kinds(
  options, forward, weights, inputs
):
  kernel = (8, 4, 16) if "feature_group_count" in options else KERNEL
  found = kinds(lowered(with_gradients(**options), X, kernel))
  assert sorted(found) == sorted(
    [(forward, False, False), (weights, True, False), (inputs, False, True)]
  )


def test_over_two_axes_and_with_channels_first_weights_are_told_apart():
  def total(numbers):
    def of(x, kernel):
      y = lax.conv_general_dilated(
        x, kernel, (1, 2), "SAME", dimension_numbers=numbers
      )
      return jnp.sum(y * y)

    return jax.grad(of, argnums=1)

  for numbers, x, kernel in (
    (("NHWC", "HWIO", "NHWC"), (2, 9, 20, 4), (3, 4, 4, 8)),
    (("NCHW", "OIHW", "NCHW"), (2, 4, 9, 20), (8, 4, 3, 4)),
  ):
    found = kinds(lowered(total(numbers), x, kernel))
    assert [(kind, weights) for kind, weights, _ in found] == [
      ("strided", False),
      ("dilated_kernel", True),
    ]


def flops(function, *shapes):
  return lowered_text.read(lowered(function, *shapes)).flops


def test_padding_and_zeros_of_dilation_are_no_useful_work():
  per_pair = 2 * 2 * 8 * 16
  assert flops(convolve, X, KERNEL) == per_pair * 8 * 33
  # Every output of a causal convolution but the first ones has all taps.
  causal = lambda x, k: convolve(x, k, pad=(7, 0))  # noqa: E731
  assert flops(causal, X, KERNEL) == per_pair * (8 * 40 - 28)
  dilated = lambda x, k: convolve(x, k, rhs_dilation=(3,))  # noqa: E731
  assert flops(dilated, X, KERNEL) == per_pair * 8 * (40 - 21)
  # Each element of a stuffed input meets each tap once, but at the ends.
  stuffed = lambda x, k: convolve(  # noqa: E731
    x, k, pad=(7, 7), lhs_dilation=(4,)
  )
  assert flops(stuffed, X, KERNEL) == per_pair * 8 * 40
  grouped = lambda x, k: convolve(x, k, feature_group_count=4)  # noqa: E731
  assert flops(grouped, X, (8, 2, 16)) == per_pair * 8 * 33 / 4


@pytest.mark.parametrize(
  "options",
  [{}, {"stride": 4}, {"rhs_dilation": (3,)}, {"lhs_dilation": (4,)}],
)
def test_a_gradient_has_the_useful_work_of_its_convolution(options):
  work = lowered_text.read(
    lowered(with_gradients(pad=(5, 2), **options), X, KERNEL)
  )
  assert len({one.flops for one in work.convolutions}) == 1
  assert work.flops == 3 * work.convolutions[0].flops > 0


def test_as_rows_a_dilated_layer_is_ordinary_and_computes_as_much():
  def rows(x, kernel, d=3):
    y = lax.conv_general_dilated(
      jnp.reshape(x, (2, 10, d, 8)),
      jnp.expand_dims(kernel, 1),
      (1, 1),
      [(6, 0), (0, 0)],
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return jnp.reshape(y, (2, 30, 16))

  dilated = lambda x, k: convolve(  # noqa: E731
    x, k, pad=(18, 0), rhs_dilation=(3,)
  )
  x, kernel = (2, 30, 8), (7, 8, 16)
  assert kinds(lowered(rows, x, kernel)) == [("ordinary", False, False)]
  assert flops(rows, x, kernel) == flops(dilated, x, kernel)


def test_what_a_gpu_does_badly_has_a_line():
  ordinary, strided = with_gradients(), with_gradients(stride=4)
  assert not any(lowered_text.read(lowered(ordinary, X, KERNEL)).gpu_faults())
  assert not any(lowered_text.read(lowered(strided, X, KERNEL)).gpu_faults())
  dilated = lowered_text.read(
    lowered(with_gradients(rhs_dilation=(3,)), X, KERNEL)
  ).gpu_faults()
  assert len(dilated) == 3
  assert sum("whole clip" in line for line in dilated) == 1
  assert sum("filled with zeros" in line for line in dilated) == 2
  grouped = lowered_text.read(
    lowered(with_gradients(feature_group_count=2), X, (8, 4, 16))
  )
  assert [": grouped" in line for line in grouped.gpu_faults()] == 3 * [True]
  # A result that is shorter than the kernel.
  (short,) = lowered_text.read(
    lowered(with_gradients(stride=4, pad=(4, 3)), (2, 16, 8), KERNEL)
  ).gpu_faults()
  assert "a short cotangent" in short
  # A transposed layer as automatic differentiation has it.
  transposed = lowered_text.read(
    lowered(with_gradients(lhs_dilation=(4,)), X, KERNEL)
  ).gpu_faults()
  assert len(transposed) == 2
  # The input's gradient of a strided layer is what cuDNN calls BackwardInput.
  back = lowered_text.read(
    lowered(jax.grad(lambda x, k: jnp.sum(convolve(x, k, stride=4)) ** 2), X,
            KERNEL)
  )  # fmt: skip
  assert back.gpu_faults() == []


def test_loops_and_functions_count_as_often_as_they_run():
  @jax.jit
  def layer(x, kernel):
    return jnp.tanh(convolve(x, kernel, pad=(2, 0)))

  def scanned(x, kernel):
    def body(h, _):
      return layer(layer(h, kernel), kernel), None

    return lax.fori_loop(
      0, 3, lambda _, h: lax.scan(body, h, None, length=5)[0], layer(x, kernel)
    )

  shapes = ((2, 40, 8), (3, 8, 8))
  work = lowered_text.read(lowered(scanned, *shapes))
  assert sorted(one.rounds for one in work.convolutions) == [1, 15, 15]
  assert work.flops == 31 * flops(layer, *shapes)
  assert work.by_kind()["ordinary"] == {"convolutions": 3, "flops": work.flops}


def test_products_are_counted_and_paths_are_those_of_the_source():
  def product(x, y):
    with jax.named_scope("net"):
      return jnp.einsum("bij,bkj->bik", x, y), convolve(
        x, y[:1, :, :].transpose(0, 2, 1)
      )

  work = lowered_text.read(lowered(product, (3, 30, 40), (3, 20, 40)))
  (one,) = work.products
  assert one.flops == 2 * 3 * 30 * 20 * 40
  assert one.path.startswith("jit(product)/net/")
  assert work.convolutions[0].path == "jit(product)/net/conv_general_dilated"
  assert work.convolutions[0].dtype == "bf16"


def test_what_cannot_be_read_is_an_error_and_never_less_work():
  text = lowered(convolve, X, KERNEL)
  with pytest.raises(hlo_text.NotUnderstood, match="this line"):
    lowered_text.read(text.replace("dim_numbers", "dimensions"))
  with pytest.raises(hlo_text.NotUnderstood, match="no function main"):
    lowered_text.read("module {}")

  def until_small(x, kernel):
    def body(h):
      return convolve(h, kernel, pad=(2, 0))

    return lax.while_loop(lambda h: jnp.sum(h) > 1, body, x)

  looped = lowered(until_small, (2, 40, 8), (3, 8, 8))
  with pytest.raises(hlo_text.NotUnderstood, match="number of rounds"):
    lowered_text.read(looped)
  # What multiplies nothing may loop as it likes.
  empty = lowered(
    lambda x: lax.while_loop(lambda h: jnp.sum(h) > 1, lambda h: h / 2, x), (8,)
  )
  assert lowered_text.read(empty).flops == 0
