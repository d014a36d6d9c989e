"""Laws of reading a program that was compiled for a GPU, on what an H100 gets.

`dilated_and_grouped.hlo` is the gradient of two layers: one of 7 taps with
dilation 3, and one of 8 taps with stride 4 in 4 groups.
"""

import pathlib

import numpy as np
import pytest

from soundstream_jax.launch.preflight import gpu_calls, hlo_text, program_cost

TEXT = pathlib.Path(__file__).with_name("dilated_and_grouped.hlo").read_text()


def shapes(batch=4, length=400, width=16, features=32):
  return batch, length, width, features


def test_every_convolution_has_its_kind():
  found = [(one.kind, one.what, one.window) for one in gpu_calls.read(TEXT)]
  assert sorted(found) == [
    ("filled", "Forward", (19,)),
    ("filled", "Forward", (19,)),
    ("grouped", "BackwardFilter", (8,)),
    ("grouped", "Forward", (8,)),
    ("whole_clip", "Forward", (400,)),
    ("zero_stuffed", "Forward", (8,)),
  ]  # fmt: skip
  assert len(gpu_calls.faults(gpu_calls.read(TEXT))) == 6


def test_what_a_call_executes_is_all_that_it_is_given():
  batch, length, width, features = shapes()
  flops = {(one.kind, one.what): one.flops for one in gpu_calls.read(TEXT)}
  dilated = 2 * batch * length * width * features
  assert flops["filled", "Forward"] == 19 * dilated
  assert flops["whole_clip", "Forward"] == 7 * dilated
  # 8 taps of 8 inputs each make one of 32 features of every fourth sample.
  grouped = 2 * batch * (length // 4) * 8 * 8 * features
  assert flops["grouped", "Forward"] == grouped
  assert flops["grouped", "BackwardFilter"] == grouped
  # The cotangent that is stuffed with zeros is four times as long.
  assert flops["zero_stuffed", "Forward"] == 4 * grouped


def test_zeros_that_were_put_in_are_no_useful_work():
  share = {one.kind: one.useful_share for one in gpu_calls.read(TEXT)}
  assert share["filled"] == 7 / 19
  assert share["zero_stuffed"] == 100 / (99 * 4 + 1)
  assert share["grouped"] == share["whole_clip"] == 1
  table = gpu_calls.by_kind(gpu_calls.read(TEXT))
  assert table["filled"]["calls"] == 2
  np.testing.assert_allclose(
    table["filled"]["flops_without_zeros"], table["filled"]["flops"] * 7 / 19
  )


def test_the_count_of_a_program_has_its_calls():
  cost = program_cost.of(TEXT)
  calls = gpu_calls.read(TEXT)
  assert cost.uncounted == {}
  elementwise = cost.flops - sum(one.flops for one in calls)
  assert 0 <= elementwise < 0.001 * cost.flops
  assert cost.bytes > 4 * 400 * 16 * 2


def test_a_result_consists_of_tiles():
  batch, length, width, features = shapes()
  tiles = {
    (one.kind, one.what): (one.rows, one.columns, one.matrices)
    for one in gpu_calls.read(TEXT)
  }
  # A weight gradient of 7 taps: few places, long sums.
  assert tiles["whole_clip", "Forward"] == (7 * width, features, 1)
  assert tiles["grouped", "Forward"] == (batch * length // 4, 8, 4)
  assert tiles["grouped", "BackwardFilter"] == (8, 8 * 8, 4)
  one = gpu_calls.read(TEXT)[0]
  assert one.tiles(128) == one.matrices * (
    -(-one.rows // 128) * -(-one.columns // 128)
  )


# One call, whose operands a test replaces.
CALL = """HloModule jit_g

%fused (p: bf16[4,100,32], q: bf16[7,32,32]) -> (bf16[4,100,32], bf16[7,32,32]) {
  %p = bf16[4,100,32]{2,1,0} parameter(0)
  %q = bf16[7,32,32]{2,1,0} parameter(1)
  ROOT %both = (bf16[4,100,32], bf16[7,32,32]) tuple(%p, %q)
}

%inner (x: bf16[4,100,32], k: bf16[7,32,32]) -> bf16[4,100,32] {
  %x = bf16[4,100,32]{2,1,0} parameter(0)
  %k = bf16[7,32,32]{2,1,0} parameter(1)
  %call = (bf16[4,100,32]{2,1,0}, u8[0]{0}) custom-call(%x, %k), window={size=7 pad=3_3}, dim_labels=b0f_0io->b0f, custom_call_target="__cudnn$convBackwardInput", metadata={op_name="jit(g)/net"}
  ROOT %y = bf16[4,100,32]{2,1,0} get-tuple-element(%call), index=0
}

ENTRY %main (image: bf16[4,100,32], kernel: bf16[7,32,32], short: bf16[4,50,32]) -> bf16[4,100,32] {
  %image = bf16[4,100,32]{2,1,0} parameter(0)
  %kernel = bf16[7,32,32]{2,1,0} parameter(1)
  %short = bf16[4,50,32]{2,1,0} parameter(2)
  %few = bf16[4,32,32]{2,1,0} constant({...})
  %zero = bf16[] constant(0)
  %stuffed = bf16[4,100,32]{2,1,0} pad(%short, %zero), padding=0_0_0x0_1_1x0_0_0
  %filled = bf16[7,32,32]{2,1,0} pad(%few, %zero), padding=0_0_1x0_0_0x0_0_0
  %fusion = (bf16[4,100,32], bf16[7,32,32]) fusion(%A, %B), kind=kInput, calls=%fused
  %first = bf16[4,100,32]{2,1,0} get-tuple-element(%fusion), index=0
  %second = bf16[7,32,32]{2,1,0} get-tuple-element(%fusion), index=1
  ROOT %out = bf16[4,100,32]{2,1,0} call(%first, %second), to_apply=%inner
}
"""


@pytest.mark.parametrize(
  ("first", "second", "kind"),
  [
    ("image", "kernel", "ordinary"),
    ("stuffed", "kernel", "zero_stuffed"),
    ("image", "filled", "filled"),
    ("stuffed", "filled", "filled"),
  ],
)
def test_a_pad_is_found_behind_fusions_tuples_and_calls(first, second, kind):
  text = CALL.replace("%A", f"%{first}").replace("%B", f"%{second}")
  (call,) = gpu_calls.read(text)
  assert (call.kind, call.op_name) == (kind, "jit(g)/net")
  assert call.flops == 2 * 4 * 100 * 32 * 7 * 32


def test_padding_at_the_ends_is_no_zero_between():
  text = CALL.replace("x0_1_1x", "x50_0x").replace("%A", "%stuffed")
  (call,) = gpu_calls.read(text.replace("%B", "%kernel"))
  assert call.kind == "ordinary"


# The same product as a call of cuBLAS and as a fusion of Triton.
MATMUL = """HloModule jit_h

%gemm (a: bf16[30,40], b: bf16[40,50]) -> bf16[30,50] {
  %a = bf16[30,40]{1,0} parameter(0)
  %b = bf16[40,50]{1,0} parameter(1)
  ROOT %dot = bf16[30,50]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main (x: bf16[30,40], w: bf16[40,50]) -> bf16[30,50] {
  %x = bf16[30,40]{1,0} parameter(0)
  %w = bf16[40,50]{1,0} parameter(1)
  ROOT %y = PRODUCT
}
"""
CUBLAS = (
  '(bf16[30,50]{1,0}, s8[33554432]{0}) custom-call(%x, %w), '
  'custom_call_target="__cublas$lt$matmul", backend_config={'
  '"gemm_backend_config":{"dot_dimension_numbers":{'
  '"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"],'
  '"lhs_batch_dimensions":[],"rhs_batch_dimensions":[]}}}'
)  # fmt: skip
TRITON = (
  'bf16[30,50]{1,0} fusion(%x, %w), kind=kCustom, calls=%gemm, '
  'backend_config={"fusion_backend_config":{"kind":"__triton_gemm"}}'
)  # fmt: skip


@pytest.mark.parametrize(
  ("product", "library"), [(CUBLAS, "cublas"), (TRITON, "fusion")]
)
def test_products_count_whoever_computes_them(product, library):
  text = MATMUL.replace("PRODUCT", product)
  (call,) = gpu_calls.read(text)
  assert (call.library, call.kind) == (library, "product")
  assert call.flops == program_cost.of(text).flops == 2 * 30 * 40 * 50
  assert (call.rows, call.columns, call.matrices) == (30, 50, 1)
  # The scratch memory of cuBLAS, 32 MiB, is no traffic.
  assert program_cost.of(text).bytes == 2 * (30 * 40 + 40 * 50 + 30 * 50)


def test_a_call_that_is_not_known_is_an_error():
  unknown = CALL.replace("convBackwardInput", "convSideways")
  unknown = unknown.replace("%A", "%image").replace("%B", "%kernel")
  with pytest.raises(hlo_text.NotUnderstood, match="convSideways"):
    gpu_calls.read(unknown)
  without = MATMUL.replace("PRODUCT", CUBLAS.replace("contracting", "other"))
  with pytest.raises(hlo_text.NotUnderstood, match="matmul"):
    program_cost.of(without)
