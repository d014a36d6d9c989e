"""The format `onnx`: four graphs, for onnxruntime and all that reads ONNX."""

import pathlib
from collections.abc import Sequence

from soundstream_jax import config as config_lib
from soundstream_jax.checkpoint import exported
from soundstream_jax.export import digests
from soundstream_jax.export import format as format_lib
from soundstream_jax.export.onnx import codes, graphs, runtime

CONSUMER = """\
import numpy as np
import onnxruntime


def run(graph, **inputs):
  session = onnxruntime.InferenceSession(f"{graph}.onnx")
  inputs["denoise"] = np.array([False])  # asked for by some models
  names = [each.name for each in session.get_inputs()]
  return session.run(None, {name: inputs[name] for name in names})[0]


golden = np.load("golden.npz")
audio, layers = golden["audio"][None], np.array([golden["codes"].shape[1]])
codes = run("encode", audio=audio, num_quantizers=layers)
decoded = run("decode", codes=codes)
print((codes[0] != golden["codes"]).sum(), "codes differ")
print(abs(decoded[0] - golden["decoded"]).max(), "is the largest difference")
"""


def refusal(
  config: config_lib.Config, options: format_lib.Options
) -> str | None:
  """Returns why a model cannot be written as ONNX, or None."""
  del options
  kind = config.quantizer.kind
  if kind not in codes.NEAREST:
    return (
      f"quantizer.kind={kind} is not among those that are written as ONNX: "
      f"{', '.join(codes.NEAREST)}. Use the format stablehlo."
    )
  return None


def files(
  model: exported.Exported, options: format_lib.Options
) -> dict[str, bytes]:
  """Returns the four files; FiLM's switch is an input of them."""
  del options
  made = graphs.Model.of(model)
  metadata = made.metadata()
  return {
    f"{name}.onnx": graph(made).model(metadata)
    for name, graph in graphs.GRAPHS.items()
  }


def tensors(
  folder: pathlib.Path, names: Sequence[str]
) -> dict[str, dict[str, str]]:
  """Returns file -> stored tensor -> SHA-256, of files below a folder."""
  import onnx
  from onnx import numpy_helper

  return {
    name: digests.of(
      {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(folder / name).graph.initializer
      }
    )
    for name in names
  }


FORMAT = format_lib.Format(
  about="ONNX graphs of files and of streams: onnxruntime, also in browsers",
  packages=("onnx",),
  extra="export-onnx",
  refusal=refusal,
  files=files,
  tensors=lambda folder: tensors(folder, [f"{n}.onnx" for n in graphs.GRAPHS]),
  runtimes={
    "onnxruntime": lambda folder: [runtime.open_folder(folder, graphs.GRAPHS)]
  },
  consumer=CONSUMER,
)
