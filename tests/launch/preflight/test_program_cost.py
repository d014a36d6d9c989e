"""Laws of counting: loops as they run, the rest as XLA counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from soundstream_jax.launch.preflight import hlo_text, program_cost

LAYERS, WIDTH = 24, 32


def compiled(function, *shapes):
  arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  return jax.jit(function).lower(*arguments).compile()


def layer(x, weights):
  return jnp.tanh(x @ weights)


def scanned(x, stack):
  return lax.scan(lambda h, w: (layer(h, w), None), x, stack)[0]


def unrolled(x, stack):
  for weights in stack:
    x = layer(x, weights)
  return x


SHAPES = ((64, WIDTH), (LAYERS, WIDTH, WIDTH))


@pytest.mark.parametrize(
  "of",
  [lambda f: f, lambda f: jax.grad(total(f), argnums=1)],
  ids=["forward", "gradient"],
)
def test_a_scanned_program_counts_as_much_as_the_unrolled_one(of):
  loop = program_cost.of(compiled(of(scanned), *SHAPES).as_text())
  line = program_cost.of(compiled(of(unrolled), *SHAPES).as_text())
  products = 2 * 64 * WIDTH * WIDTH * LAYERS
  assert line.flops >= products
  np.testing.assert_allclose(loop.flops, line.flops, rtol=0.05)
  assert loop.flops_once < loop.flops / 10


def total(function):
  return lambda *arguments: jnp.sum(function(*arguments))


def test_nested_loops_multiply():
  def outer(x, stack):
    return lax.fori_loop(0, 5, lambda _, h: scanned(h, stack), x)

  once = program_cost.of(compiled(scanned, *SHAPES).as_text())
  nested = program_cost.of(compiled(outer, *SHAPES).as_text())
  np.testing.assert_allclose(nested.flops, 5 * once.flops, rtol=0.01)


def convolutions(x, kernel, grouped):
  numbers = ("NWC", "WIO", "NWC")
  y = lax.conv_general_dilated(
    x, kernel, (1,), [(6, 0)], rhs_dilation=(3,), dimension_numbers=numbers
  )
  z = lax.conv_general_dilated(
    y,
    grouped,
    (2,),
    [(1, 1)],
    dimension_numbers=numbers,
    feature_group_count=4,
  )
  return jnp.sum(jnp.square(z))


PROGRAMS = {
  "product": (lambda a, b: a @ b, ((30, 40), (40, 50))),
  "batched product": (
    lambda a, b: jnp.einsum("bij,bkj->bik", a, b),
    ((3, 30, 40), (3, 20, 40)),
  ),
  "unrolled": (unrolled, SHAPES),
  "its gradient": (jax.grad(total(unrolled), argnums=1), SHAPES),
  "convolutions": (convolutions, ((2, 50, 8), (3, 8, 16), (4, 4, 16))),
  "their gradients": (
    jax.grad(convolutions, argnums=(0, 1, 2)),
    ((2, 50, 8), (3, 8, 16), (4, 4, 16)),
  ),
  "transform": (lambda x: jnp.abs(jnp.fft.rfft(x)), ((2, 9, 64),)),
  "sums": (lambda x: jnp.sum(x, 1) + jnp.max(x, 1), ((30, 200),)),
  "windows": (lambda x: jnp.cumsum(x, axis=0), ((30, 20),)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_loops_the_count_is_xlas(name):
  function, shapes = PROGRAMS[name]
  program = compiled(function, *shapes)
  cost = program_cost.of(program.as_text())
  assert cost.flops == cost.flops_once > 0
  np.testing.assert_allclose(
    cost.flops, program.cost_analysis()["flops"], rtol=0.01
  )


def test_bytes_of_a_product_are_its_operands_and_its_result():
  cost = program_cost.of(
    compiled(lambda a, b: a @ b, (30, 40), (40, 50)).as_text()
  )
  assert cost.bytes == 4 * (30 * 40 + 40 * 50 + 30 * 50)


def test_a_loop_without_a_known_number_of_rounds_fails_the_count():
  def until_small(x):
    return lax.while_loop(lambda h: jnp.sum(h) > 1, lambda h: h / 2, x)

  text = compiled(until_small, (8,)).as_text()
  with pytest.raises(hlo_text.NotUnderstood, match=r"number of rounds.*while"):
    program_cost.of(text)


# As a TPU's compiler writes it: no known_trip_count, the counter behind copies.
LOOP = """HloModule jit_f, is_scheduled=true

%fused (p: s32[], q: s32[]) -> s32[] {
  %p = s32[]{:T(128)} parameter(0)
  %q = s32[]{:T(128)} parameter(1)
  ROOT %sum = s32[]{:T(128)} add(%p, %q)
}

%body (arg: (s32[], f32[8,128], s32[])) -> (s32[], f32[8,128], s32[]) {
  %two = s32[]{:T(128)} constant(2)
  %arg = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}, /*index=2*/s32[]) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%arg), index=0
  %x = f32[8,128]{1,0:T(8,128)} get-tuple-element(%arg), index=1
  %n = s32[]{:T(128)} get-tuple-element(%arg), index=2
  %copied = s32[]{:T(128)S(6)} copy(%i)
  %next = s32[]{:T(128)} fusion(%copied, %two), kind=kLoop, calls=%fused
  %all-reduce.1 = f32[8,128]{1,0:T(8,128)} all-reduce(%x), replica_groups={{0,1}}, to_apply=%fused, metadata={op_name="jit(f)/while/body/psum"}
  %y = f32[8,128]{1,0:T(8,128)} add(%all-reduce.1, %x), backend_config={"window_config":{"estimated_cycles":"100"}}
  ROOT %out = (s32[], f32[8,128]{1,0}, s32[]) tuple(%next, %y, %n)
}

%condition (arg.1: (s32[], f32[8,128], s32[])) -> pred[] {
  %arg.1 = (s32[]{:T(128)}, f32[8,128]{1,0}, s32[]) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%arg.1), index=0
  %limit = s32[]{:T(128)} BOUND
  ROOT %less = pred[]{:T(512)} compare(%j, %limit), direction=LT
}

ENTRY %main (x.1: f32[8,128]) -> f32[8,128] {
  %x.1 = f32[8,128]{1,0:T(8,128)} parameter(0)
  %start = s32[]{:T(128)} constant(4)
  %end = s32[]{:T(128)} constant(10)
  %first = s32[]{:T(128)} copy(%start)
  %carried = (s32[], f32[8,128]{1,0}, s32[]) tuple(%first, %x.1, %end)
  %while.1 = (s32[], f32[8,128]{1,0}, s32[]) while(%carried), condition=%condition, body=%body
  ROOT %result = f32[8,128]{1,0:T(8,128)} get-tuple-element(%while.1), index=1
}
"""


@pytest.mark.parametrize(
  ("bound", "rounds"),
  [("constant(10)", 3), ("constant(11)", 4), ("constant(3)", 0)],
)
def test_rounds_are_read_from_the_counter_where_they_are_not_written(
  bound, rounds
):
  cost = program_cost.of(LOOP.replace("BOUND", bound))
  assert cost.cycles == 100 * rounds
  assert cost.collective_bytes() == {"all-reduce": 4096 * rounds}
  assert cost.collectives[0].op_name == "jit(f)/while/body/psum"


def test_a_bound_that_the_loop_carries_unchanged_counts():
  carried = "get-tuple-element(%arg.1), index=2"
  assert program_cost.of(LOOP.replace("BOUND", carried)).cycles == 300
  changed = LOOP.replace("tuple(%next, %y, %n)", "tuple(%next, %y, %next)")
  with pytest.raises(hlo_text.NotUnderstood, match="number of rounds"):
    program_cost.of(changed.replace("BOUND", carried))


COLLECTIVE = """HloModule jit_g

ENTRY %main (x: f32[4,128]) -> f32[4,128] {
  %x = f32[4,128]{1,0} parameter(0)
  %r = RESULT
  ROOT %y = f32[4,128]{1,0} negate(%x)
}
"""


@pytest.mark.parametrize(
  ("result", "kind", "size"),
  [
    ("f32[4,128]{1,0} all-reduce(%x), to_apply=%a", "all-reduce", 2048),
    ("f32[4,128]{1,0} all-reduce-start(%x), to_apply=%a", "all-reduce", 2048),
    ("bf16[32,128]{1,0} all-gather(%x), dimensions={0}", "all-gather", 8192),
    (
      "(f32[4,128]{1,0}, f32[32,128]{1,0}) all-gather-start(%x)",
      "all-gather",
      16384,
    ),
    ("f32[1,128]{1,0} reduce-scatter(%x)", "reduce-scatter", 2048),
    ("f32[4,128]{1,0} all-to-all(%x)", "all-to-all", 2048),
    ("f32[4,128]{1,0} collective-permute(%x)", "collective-permute", 2048),
  ],
)
def test_every_kind_of_collective_is_found_with_its_bytes(result, kind, size):
  cost = program_cost.of(COLLECTIVE.replace("RESULT", result))
  assert cost.collective_bytes() == {kind: size}


def test_what_is_not_understood_is_an_error_or_named():
  unknown = COLLECTIVE.replace("RESULT", "f32[4]{0} all-shuffle(%x)")
  with pytest.raises(hlo_text.NotUnderstood, match="all-shuffle"):
    program_cost.of(unknown)
  with pytest.raises(hlo_text.NotUnderstood, match="this line: %r: f32"):
    program_cost.of(COLLECTIVE.replace("%r = RESULT", "%r: f32[4]"))
  with pytest.raises(hlo_text.NotUnderstood, match="no entry"):
    program_cost.of("HloModule jit_h")
  call = 'f32[4]{0} custom-call(%x), custom_call_target="mystery"'
  cost = program_cost.of(COLLECTIVE.replace("RESULT", call))
  assert cost.uncounted == {"mystery": 1}


def test_what_stays_in_vector_memory_is_no_traffic():
  text = COLLECTIVE.replace("RESULT", "f32[4,128]{1,0:T(8,128)S(1)} copy(%x)")
  negation, reading = 2 * 2048, 2048
  assert program_cost.of(text).bytes == negation + reading
