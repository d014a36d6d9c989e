"""Laws of `benchmarks.same_programs`: what counts as the same program."""

import importlib.util
import pathlib
import re

import pytest

FILE = pathlib.Path(__file__).parents[1] / (
  "benchmarks/same_programs/canonical.py"
)

PROGRAM = """\
module @jit_step attributes {mhlo.num_partitions = 1 : i32} {
  func.func public @main(%arg0: tensor<4xf32> {jax.buffer_donor = true}, %arg1: tensor<4xf32>) -> (tensor<4xf32> {jax.result_info = "result['a']"}, tensor<4xf32> {jax.result_info = "result['b']", mhlo.sharding = "x"}) {
    %cst = stablehlo.constant dense<2.000000e+00> : tensor<f32>
    %0 = call @double(%arg0, %cst) : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
    %1:2 = call @both(%0, %arg1) : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
    %2 = stablehlo.custom_call @double(%1#0) {backend_config = "140501294340176"} : (tensor<4xf32>) -> tensor<4xf32>
    %3 = "stablehlo.sort"(%2) <{dimension = 0 : i64}> ({
    ^bb0(%arg2: tensor<f32>, %arg3: tensor<f32>):
      %4 = stablehlo.compare LT, %arg2, %arg3, FLOAT : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %4 : tensor<i1>
    }) : (tensor<4xf32>) -> tensor<4xf32>
    return %3, %1#1 : tensor<4xf32>, tensor<4xf32>
  }
  func.func private @double(%arg0: tensor<4xf32>, %arg1: tensor<f32>) -> tensor<4xf32> {
    %0 = stablehlo.broadcast_in_dim %arg1, dims = [] : (tensor<f32>) -> tensor<4xf32>
    %1 = stablehlo.multiply %arg0, %0 : tensor<4xf32>
    return %1 : tensor<4xf32>
  }
  func.func private @both(%arg0: tensor<4xf32>, %arg1: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %0:2 = stablehlo.while(%iterArg = %c, %iterArg_0 = %arg0) : tensor<i32>, tensor<4xf32>
    cond {
      %c_1 = stablehlo.constant dense<3> : tensor<i32>
      %3 = stablehlo.compare LT, %iterArg, %c_1, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %3 : tensor<i1>
    } do {
      %c_2 = stablehlo.constant dense<1> : tensor<i32>
      %3 = stablehlo.add %iterArg, %c_2 : tensor<i32>
      %4 = stablehlo.add %iterArg_0, %arg1 : tensor<4xf32>
      stablehlo.return %3, %4 : tensor<i32>, tensor<4xf32>
    }
    %1 = stablehlo.add %arg0, %arg1 : tensor<4xf32>
    %2 = stablehlo.subtract %0#1, %arg1 : tensor<4xf32>
    return %1, %2 : tensor<4xf32>, tensor<4xf32>
  }
}
"""


@pytest.fixture(scope="module")
def canonical():
  """The module from its file: this folder of benchmarks needs no jax."""
  spec = importlib.util.spec_from_file_location("canonical", FILE)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def swapped_functions(program):
  head, one, two = program.split("  func.func private ")
  two = two.removesuffix("}\n")
  return "  func.func private ".join([head, two, one + "}\n"])


def replaced(*pairs):
  def change(program):
    for old, new in pairs:
      assert old in program
      program = program.replace(old, new)
    return program

  return change


NAMES_ONLY = {
  "module": replaced(("@jit_step", "@jit_other")),
  "function": lambda p: re.sub(r"(?<!custom_call )@both", "@another", p),
  "function that is named as a target": lambda p: re.sub(
    r"(?<!custom_call )@double", "@twice", p
  ),
  "order of functions": swapped_functions,
  "results": replaced(("result['a']", "result[0].b{c}"), ("['b']", "")),
  "address": replaced(("140501294340176", "140158403874192")),
  "values": replaced(("%cst", "%cst_7"), ("%iterArg", "%loop")),
  "a function without a caller": lambda p: p.replace(
    "  func.func private @both",
    "  func.func private @unused() -> tensor<i32> {\n"
    "    %c = stablehlo.constant dense<0> : tensor<i32>\n"
    "    return %c : tensor<i32>\n  }\n  func.func private @both",
  ),
}

ANOTHER_PROGRAM = {
  "constant": replaced(("dense<2.0", "dense<2.5")),
  "constant in a loop": replaced(("dense<3>", "dense<4>")),
  "operand": replaced(("subtract %0#1, %arg1", "subtract %0#1, %arg0")),
  "operand in a loop": replaced(("add %iterArg_0, %arg1", "add %arg1, %arg1")),
  "order of a sort": replaced(("LT, %arg2", "GT, %arg2")),
  "argument": replaced(("both(%0, %arg1)", "both(%0, %arg0)")),
  "result": replaced(("return %3, %1#1", "return %3, %1#0")),
  "target": replaced(("custom_call @double", "custom_call @triple")),
  "donation": replaced((" {jax.buffer_donor = true}", "")),
  "sharding": replaced(('sharding = "x"', 'sharding = "y"')),
  "order of arguments": replaced(
    ("%arg0: tensor<4xf32> {", "%arg9: tensor<4xf32> {"),
    ("%arg1: tensor<4xf32>) -> (tensor<4xf32> {", "%arg0: tensor<4xf32>) -> ("
     "tensor<4xf32> {"),
    ("%arg9: tensor<4xf32> {", "%arg1: tensor<4xf32> {"),
  ),
}  # fmt: skip


@pytest.mark.parametrize("change", NAMES_ONLY.values(), ids=NAMES_ONLY)
def test_names_do_not_count(canonical, change):
  program = change(PROGRAM)
  assert program != PROGRAM
  assert canonical.text(program) == canonical.text(PROGRAM)
  assert canonical.graph(program) == canonical.graph(PROGRAM)


@pytest.mark.parametrize(
  "change", ANOTHER_PROGRAM.values(), ids=ANOTHER_PROGRAM
)
def test_another_program_has_another_text_and_graph(canonical, change):
  program = change(PROGRAM)
  assert canonical.text(program) != canonical.text(PROGRAM)
  assert canonical.graph(program) != canonical.graph(PROGRAM)


def test_functions_with_the_same_body_are_one(canonical):
  first = PROGRAM.index("  func.func private @double")
  last = PROGRAM.index("  func.func private @both")
  copy = PROGRAM[first:last].replace("@double", "@double_0")
  twice = PROGRAM.replace(
    "    return %3,",
    "    %9 = call @double(%3, %cst) : (tensor<4xf32>, tensor<f32>) -> "
    "tensor<4xf32>\n    return %9,",
  )
  two = twice.replace("call @double(%3", "call @double_0(%3")
  two = two.removesuffix("}\n") + copy + "}\n"
  assert canonical.text(two) == canonical.text(twice)
  assert canonical.text(two) != canonical.text(PROGRAM)


def test_the_graph_sees_neither_order_nor_calls(canonical):
  lines = PROGRAM.split("\n")
  at = next(k for k, line in enumerate(lines) if "%1 = stablehlo.add" in line)
  loop = next(k for k, line in enumerate(lines) if "%0:2 = stable" in line)
  lines.insert(loop, lines.pop(at))
  program = "\n".join(lines).replace(
    "    %0 = call @double(%arg0, %cst) : (tensor<4xf32>, tensor<f32>) -> "
    "tensor<4xf32>\n",
    "    %5 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> "
    "tensor<4xf32>\n    %0 = stablehlo.multiply %arg0, %5 : tensor<4xf32>\n",
  )
  assert canonical.text(program) != canonical.text(PROGRAM)
  assert canonical.graph(program) == canonical.graph(PROGRAM)
  assert canonical.operations(program) == canonical.operations(PROGRAM)


def test_operations_count_as_often_as_their_function_is_called(canonical):
  more = PROGRAM.replace(
    "    return %3,",
    "    %9 = call @double(%3, %cst) : (tensor<4xf32>, tensor<f32>) -> "
    "tensor<4xf32>\n    return %9,",
  )
  added = canonical.operations(more) - canonical.operations(PROGRAM)
  assert added == {"stablehlo.broadcast_in_dim": 1, "stablehlo.multiply": 1}


def test_a_canonical_text_is_its_own(canonical):
  text = canonical.text(PROGRAM)
  assert canonical.text(text) == text
  assert canonical.graph(text) == canonical.graph(PROGRAM)


MOVES = """\
module @jit_move {
  func.func public @main(%arg0: tensor<4xf32>, %arg1: tensor<2x4xf32>) -> tensor<2x4xf32> {
    BODY
    %8 = stablehlo.broadcast_in_dim %7, dims = [0, 1] : (tensor<1x4xf32>) -> tensor<2x4xf32>
    %9 = stablehlo.multiply %arg1, %8 : tensor<2x4xf32>
    return %9 : tensor<2x4xf32>
  }
}
"""
SHORT = """\
    %7 = stablehlo.reshape %arg0 : (tensor<4xf32>) -> tensor<1x4xf32>"""
LONG = """\
    %0 = stablehlo.reshape %arg0 : (tensor<4xf32>) -> tensor<1x4xf32>
    %1 = stablehlo.broadcast_in_dim %0, dims = [0, 1] : (tensor<1x4xf32>) -> tensor<1x4xf32>
    %c = stablehlo.constant dense<0.000000e+00> : tensor<f32>
    %2 = stablehlo.reduce(%1 init: %c) applies stablehlo.add across dimensions = [0] : (tensor<1x4xf32>, tensor<f32>) -> tensor<4xf32>
    %3 = stablehlo.pad %2, %c, low = [0], high = [0], interior = [0] : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
    %4 = stablehlo.slice %3 [0:4] : (tensor<4xf32>) -> tensor<4xf32>
    %7 = stablehlo.reshape %4 : (tensor<4xf32>) -> tensor<1x4xf32>"""


def test_the_graph_sees_no_move_that_changes_nothing(canonical):
  graphs = {
    canonical.graph(MOVES.replace("    BODY", body)) for body in (SHORT, LONG)
  }
  assert len(graphs) == 1


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("low = [0], high = [0]", "low = [1], high = [-1]"),
    ("applies stablehlo.add", "applies stablehlo.multiply"),
    ("slice %3 [0:4] :", "reverse %3, dims = [0] :"),
    ("dims = [0, 1] : (tensor<1x4", "dims = [1, 0] : (tensor<4x1"),
  ],
)
def test_the_graph_sees_moves_that_change_something(canonical, old, new):
  long = MOVES.replace("    BODY", LONG)
  assert old in long
  assert canonical.graph(long) != canonical.graph(long.replace(old, new, 1))
