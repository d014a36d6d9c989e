"""Laws of the report on a GPU's program: what is in it, and its roofline."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from soundstream_jax.launch.preflight import (
  gpu_calls,
  gpu_report,
  gpu_table,
  gpu_targets,
  hlo_text,
  kernels,
  program_cost,
  roofline,
  table,
  topologies,
)

TEXT = pathlib.Path(__file__).with_name("dilated_and_grouped.hlo").read_text()
H100 = gpu_targets.GPUS["h100"]


def lowered():
  """The program that `dilated_and_grouped.hlo` is compiled from."""

  def total(x, kernel, second):
    numbers = ("NWC", "WIO", "NWC")
    y = lax.conv_general_dilated(
      x, kernel, (1,), [(18, 0)], rhs_dilation=(3,), dimension_numbers=numbers
    )
    z = lax.conv_general_dilated(
      *(y, second, (4,), [(4, 0)]),
      feature_group_count=4,
      dimension_numbers=numbers,
    )
    return jnp.sum(jnp.square(z.astype(jnp.float32)))

  arguments = [
    jax.ShapeDtypeStruct(shape, jnp.bfloat16)
    for shape in ((4, 400, 16), (7, 16, 32), (8, 8, 32))
  ]
  traced = jax.jit(jax.grad(total, argnums=(0, 1, 2))).trace(*arguments)
  return traced.lower(lowering_platforms=("cuda",)).as_text(debug_info=True)


@pytest.fixture(scope="module")
def report():
  return gpu_report.of(
    TEXT, lowered(), [], topologies.parse("h100:1"), devices=1
  )


def test_convolutions_are_counted_by_kind_before_and_after_the_compiler(report):
  written, compiled = report["convolutions"].values()
  count = {k: row["convolutions"] for k, row in written.items()}
  assert count == {
    **{"ordinary": 0, "strided": 1, "dilated_input": 0, "dilated_kernel": 2},
    **{"grouped": 2, "batch_grouped": 1},
  }
  calls = {k: row["calls"] for k, row in compiled.items()}
  assert calls == {
    **{"ordinary": 0, "strided": 0, "product": 0, "grouped": 2},
    **{"zero_stuffed": 1, "filled": 2, "whole_clip": 1},
  }


def test_executed_work_is_the_useful_and_the_zeros(report):
  table = report["convolutions"]["compiled"].values()
  without = sum(row["flops_without_zeros"] for row in table)
  executed = sum(row["flops"] for row in table)
  assert report["product_flops"] == executed > 2 * report["useful_flops"]
  # What is left of the difference is padding.
  assert 1 <= without / report["useful_flops"] < 1.06


def test_the_parts_of_a_step_are_the_whole(report):
  text = TEXT.replace("jit(f)/jvp()/", "jit(f)/jvp(net)/wave_0/")
  parts = gpu_report.of(
    text, lowered(), [], topologies.parse("h100:1"), devices=1
  )["parts"]
  for name in ("product_flops", "useful_flops"):
    whole = sum(row[name] for row in parts.values())
    assert whole == pytest.approx(report[name])
  wave, other = parts["wave_discriminator"], parts["other"]
  assert 0 < wave["product_flops"] < other["product_flops"]
  assert wave["bytes"] + other["bytes"] == program_cost.of(TEXT).bytes


# A convolution in a branch, and one that is always computed.
BRANCH = """HloModule jit_f

%taken (x: bf16[4,400,32]) -> bf16[4,400,32] {
  %x = bf16[4,400,32]{2,1,0} parameter(0)
  %w = bf16[7,32,32]{2,1,0} constant({...})
  %c = (bf16[4,400,32]{2,1,0}, u8[0]{0}) custom-call(%x, %w), window={size=7 pad=3_3}, dim_labels=b0f_0io->b0f, custom_call_target="__cudnn$convForward", metadata={op_name="jit(f)/cond/branch_1_fun/net/conv"}
  ROOT %y = bf16[4,400,32]{2,1,0} get-tuple-element(%c), index=0
}

%not_taken (x: bf16[4,400,32]) -> bf16[4,400,32] {
  ROOT %x = bf16[4,400,32]{2,1,0} parameter(0)
}

ENTRY %main (i: s32[], a: bf16[4,400,32]) -> bf16[4,400,32] {
  %i = s32[] parameter(0)
  %a = bf16[4,400,32]{2,1,0} parameter(1)
  %k = bf16[7,32,32]{2,1,0} constant({...})
  %d = (bf16[4,400,32]{2,1,0}, u8[0]{0}) custom-call(%a, %k), window={size=7 pad=3_3}, dim_labels=b0f_0io->b0f, custom_call_target="__cudnn$convForward", metadata={op_name="jit(f)/net/conv"}
  %b = bf16[4,400,32]{2,1,0} get-tuple-element(%d), index=0
  ROOT %y = bf16[4,400,32]{2,1,0} conditional(%i, %b, %b), branch_computations={%not_taken, %taken}
}
"""


def test_what_is_in_a_branch_is_of_some_steps_alone():
  found = gpu_report.of(
    BRANCH, lowered(), [], topologies.parse("h100:1"), devices=1
  )
  parts = {k: row["product_flops"] for k, row in found["parts"].items()}
  assert parts["other"] == parts[gpu_report.SOMETIMES] > 0
  assert found["product_flops"] == 2 * parts["other"]
  seconds = found["roofline"]["seconds"]["total"]
  assert found["roofline"]["seconds_with_branches"] == 2 * seconds > 0


def test_every_kernel_is_counted_once(report):
  program = hlo_text.parse(TEXT)
  found = kernels.find(program, gpu_calls.find(program))
  assert sum(one.bytes for one in found) == program_cost.of(TEXT).bytes
  assert report["kernels"]["library"]["launches"] == 6
  fusions = TEXT[TEXT.index("ENTRY") :].count(" fusion(")
  assert report["kernels"]["fusion"] == {
    **{"kernels": fusions, "launches": fusions, "small": fusions}
  }


def test_a_report_is_plain_json_and_its_table_has_all_of_it(report):
  assert json.loads(json.dumps(report)) == report
  assert report["sound"] and report["not_known"]
  report = report | {"peak_bytes": 2**30, "memory_limit": 2**35}
  lines = gpu_table.memory(report) + gpu_table.lines(report, audio_seconds=4)
  text = "\n".join(f"{name}  {value}" for name, value in lines)
  text += "\n" + gpu_table.notes(report)
  for kind in ("whole clip", "filled", "zero stuffed", "batch grouped"):
    assert f"\n  {kind}  " in text
  for words in (
    "at once  1.00 GiB",
    "under 1 MB",
    "s of audio per second; see below",
    "  * products at 81% of 989 TFLOP/s",
    "without its zeros",
    "sound without a GPU:\n  * which convolutions",
    "not known without one:\n  * any time",
  ):
    assert words in text


# Flags of benchmarks are defined once a process.
ROW = """
import json, sys
from benchmarks import gpu_compiler
row = gpu_compiler.row_of(json.load(sys.stdin))
print(gpu_compiler.line("h100:1/plain", row))
print(sorted(row))
"""


def test_the_benchmark_has_a_row_of_a_report(report):
  config = {
    "model": {"encoder_channels": 32, "compute_dtype": "bfloat16"},
    "quantizer": {"num_quantizers": 8, "codebook_size": 1024},
  }
  moved = {"kind": "all-gather", "bytes": 10**9, "rounds": 2, "op_name": ""}
  whole = report | {
    **{"config": config, "collectives": [moved], "fits": True, "bytes": 5e9},
    **{"collective_bytes": {"all-gather": 2 * 10**9}, "compile_seconds": 7.0},
    **{"peak_bytes": 3 * 10**9, "flops": 1.0},
  }
  done = subprocess.run(
    [sys.executable, "-c", ROW],
    input=json.dumps(whole),
    capture_output=True,
    text=True,
    check=True,
  )
  line, fields = done.stdout.splitlines()
  assert line.split()[:3] == ["h100:1/plain", "yes", "3.00"]
  calls = report["convolutions"]["compiled"]
  kinds = ("filled", "zero_stuffed", "whole_clip", "grouped")
  assert line.split()[5:9] == [str(calls[kind]["calls"]) for kind in kinds]
  assert "2.000" in line
  assert "config" not in fields and "roofline" in fields


def test_two_methods_are_compared_by_what_a_gpu_does(report):
  whole = report | {"memory": {"temporary": 4}, "fits": True}
  half = json.loads(json.dumps(whole))
  half["product_flops"] /= 2
  half["kernels"]["fusion"]["launches"] = 0
  text = table.compare(half, whole)
  assert re.search(r"products, executed +0\.500", text)
  assert re.search(r"launches +0\.\d{3}", text)
  assert re.search(r"not faster than +1\.000", text)


def call(**fields):
  ordinary = gpu_calls.Call(
    **{"library": "cudnn", "what": "Forward", "name": "c", "op_name": ""},
    **{"rounds": 1, "dtype": "bf16", "useful_share": 1.0, "kind": "ordinary"},
    **{"window": (7,), "groups": 1, "matrices": 1},
    **{"rows": 128, "columns": 128, "flops": 2 * 128 * 128 * 1e6},
  )
  return dataclasses.replace(ordinary, **fields)


def test_a_result_of_few_tiles_keeps_few_multiprocessors_busy():
  one = call()
  assert roofline.share(one, H100) == 1 / H100.cores
  all_busy = call(rows=128 * H100.cores)
  assert roofline.share(all_busy, H100) == 1
  # One tile more takes another wave.
  assert roofline.share(call(rows=128 * H100.cores + 1), H100) < 0.51
  # Equal sums: the time is that of one tile.
  more = call(rows=128 * H100.cores, flops=one.flops * H100.cores)
  assert roofline.product_seconds(more, H100) == pytest.approx(
    roofline.product_seconds(one, H100)
  )
  # A weight gradient that cuDNN knows as one shares its sum out.
  filter_gradient = call(what="BackwardFilter")
  assert roofline.share(filter_gradient, H100) > 0.9


def test_float32_is_slower_and_a_launch_takes_its_time():
  fast, slow = call(), call(dtype="f32")
  assert roofline.rate(fast, H100) > 10 * roofline.rate(slow, H100)
  empty = kernels.Kernel("copy", "c", "", 1, 8, ())
  assert roofline.kernel_seconds(empty, H100) == roofline.LAUNCH_SECONDS
  large = kernels.Kernel("copy", "c", "", 1, int(H100.memory_bandwidth), ())
  assert roofline.kernel_seconds(large, H100) == pytest.approx(1)


def test_collectives_wait_for_the_slower_wires():
  one = program_cost.Collective("all-reduce", 10**9, 1, "")
  seconds = roofline.collective_seconds
  assert seconds(one, H100, devices=1, hosts=1) == 0
  inside = seconds(one, H100, devices=8, hosts=1)
  assert inside == pytest.approx(2 * 7 / 8 / 450)
  across = seconds(one, H100, devices=16, hosts=2)
  assert across == pytest.approx(max(2 * 15 / 16 / 450, 1 / (50 * 8)))
  # A host of one GPU has one wire.
  alone = seconds(one, H100, devices=2, hosts=2)
  assert alone == pytest.approx(1 / 50)
  gathered = dataclasses.replace(one, kind="all-gather")
  assert seconds(gathered, H100, devices=8, hosts=1) == inside / 2


def test_the_bound_is_the_sum_of_each_kernels_longest():
  program = hlo_text.parse(TEXT)
  found = kernels.find(program, gpu_calls.find(program))
  moved = [program_cost.Collective("all-reduce", 10**8, 2, "")]
  bound = roofline.of(found, moved, H100, devices=8, hosts=1)
  for alone in (bound.arithmetic, bound.tiles, bound.bytes, bound.launches):
    assert alone <= bound.kernels * (1 + 1e-9)
  assert bound.arithmetic <= bound.tiles
  assert bound.total == bound.kernels + bound.collectives
  assert bound.collectives == pytest.approx(2 * 2 * 7 / 8 * 1e8 / 450e9)


def test_what_jax_takes_of_the_memory_is_the_limit(monkeypatch):
  for name in gpu_report.FRACTIONS:
    monkeypatch.delenv(name, raising=False)
  one, eight = map(topologies.parse, ("h100:1", "h100:8"))
  assert gpu_report.memory_limit(one) == int(0.75 * H100.memory_bytes)
  monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.9")
  assert gpu_report.memory_limit(one) == int(0.9 * H100.memory_bytes)
  # CUDA's context and NCCL need their share, whatever is asked for.
  monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "1.0")
  limit = gpu_report.memory_limit(eight)
  assert limit < gpu_report.memory_limit(one) < H100.memory_bytes
