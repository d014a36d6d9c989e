"""An ONNX graph that is written operator by operator.

Values are known by their names. Operators are those of opset 17, in files of IR
version 8: the newest that runtimes of 2022 and after all open.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OPSET = 17
IR_VERSION = 8

# Of a slice that has no end.
END = np.iinfo(np.int64).max


class Graph:
  """Operators, in the order in which they are added, and what they read."""

  def __init__(self, name: str):
    """Begins an empty graph; its name is what programs show."""
    self._name = name
    self._nodes: list[Any] = []
    self._inputs: list[Any] = []
    self._outputs: list[Any] = []
    self._weights: dict[str, Any] = {}
    self._constants: dict[tuple, str] = {}

  def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> str:
    """Declares an input; lengths that may vary have names."""
    self._inputs.append(_declared(name, dtype, shape))
    return name

  def output(
    self, name: str, dtype: Any, shape: Sequence[int | str], value: str
  ) -> None:
    """Declares that a value is an output."""
    from onnx import helper

    self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
    self._outputs.append(_declared(name, dtype, shape))

  def weight(self, name: str, array: np.ndarray) -> str:
    """Stores an array under a name of its own."""
    from onnx import numpy_helper

    if name in self._weights:
      raise ValueError(f"{name} is there already.")
    array = np.asarray(array, order="C")
    self._weights[name] = numpy_helper.from_array(array, name)
    return name

  def constant(self, value: Any, dtype: Any = np.int64) -> str:
    """Returns the name of a small array; of equal ones there is one."""
    array = np.asarray(value, dtype)
    key = array.dtype.str, array.shape, array.tobytes()
    if key not in self._constants:
      name = f"constant_{len(self._constants)}"
      self._constants[key] = self.weight(name, array)
    return self._constants[key]

  def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
    """Adds an operator of one output, and returns that."""
    return self.add_many(operator, 1, *inputs, **attributes)[0]

  def add_many(
    self, operator: str, outputs: int, *inputs: str, **attributes: Any
  ) -> list[str]:
    """Adds an operator of several outputs."""
    from onnx import helper

    name = f"{operator}_{len(self._nodes)}"
    names = [name] + [f"{name}_{i}" for i in range(1, outputs)]
    self._nodes.append(
      helper.make_node(operator, inputs, names, name=name, **attributes)
    )
    return names

  def cast(self, x: str, dtype: Any) -> str:
    """Converts values, as numpy does."""
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return self.add("Cast", x, to=kind)

  def reshape(self, x: str, *lengths: int) -> str:
    """Reshapes; 0 keeps an axis' length, -1 follows from the others."""
    return self.add("Reshape", x, self.constant(lengths))

  def slice(self, x: str, axis: int, start: int, end: int = END) -> str:
    """x[start:end] of one axis, counted from its end if negative."""
    bounds = (self.constant([v]) for v in (start, end, axis))
    return self.add("Slice", x, *bounds)

  def model(self, metadata: Mapping[str, str]) -> bytes:
    """Returns the file, checked.

    Args:
      metadata: of the file's metadata_props.
    """
    import onnx
    from onnx import helper

    graph = helper.make_graph(
      self._nodes,
      self._name,
      self._inputs,
      self._outputs,
      initializer=list(self._weights.values()),
    )
    model = helper.make_model(
      graph,
      opset_imports=[helper.make_opsetid("", OPSET)],
      ir_version=IR_VERSION,
      producer_name="soundstream_jax",
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _declared(name: str, dtype: Any, shape: Sequence[int | str]) -> Any:
  from onnx import helper

  kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
  return helper.make_tensor_value_info(name, kind, list(shape))
