"""The format `litert`: a stream's steps as .tflite, in float32 and in int8.

    {encode,decode}_step_{1,8,32}.tflite    float32; a block of so many frames
    int8/...                                the same with int8 weights: other codes
    litert.json                             names, shapes and types, rates,
                                            fingerprints

One signature, `serving_default`, whose inputs and outputs have names:
(state, audio) -> (new_state, codes); (state, codes, layers) -> (new_state,
audio); and `denoise` where the model has its FiLM. Batch is 1. A stream begins
with zeros as state, and may go on with a block of another size. Whole files go
through the steps, too.

This module alone touches the converter, whose interface is undocumented: the
versions that are known to work are pinned, and checked.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import soundstream_jax
from soundstream_jax import errors
from soundstream_jax.checkpoint import exported
from soundstream_jax.export import blocks as blocks_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import functions

ABOUT = "litert.json"
FORMAT_VERSION = 1
EXTRA = "export-litert"
PINS = {
  "litert-converter": "0.5.0",
  "ai-edge-litert": "2.3.0",
  "ai-edge-quantizer": "0.10.0",
}
SIGNATURE = "serving_default"
INT8 = "int8"
# Of ai-edge-quantizer: int8 weights for each channel; what they meet is rounded
# to int8 as it comes.
RECIPE = "dynamic_wi8_afp32"
_METADATA = "soundstream_jax"


def files(
  model: exported.Exported, options: format_lib.Options
) -> dict[str, bytes]:
  """Returns path below the folder -> content.

  Raises:
    InputError: a package that is missing, or of another version.
  """
  del options  # none that changes these files
  _check_versions()
  programs = {}
  for frames in functions.BLOCKS:
    programs[f"encode_step_{frames}"] = functions.encode_step(model, 1, frames)
    programs[f"decode_step_{frames}"] = functions.decode_step(model, 1, frames)
  about = _about(model, programs)
  found = {}
  for name, program in programs.items():
    known = {k: v for k, v in about.items() if k not in ("files", INT8)}
    # Converted twice: what a .tflite says of itself cannot be changed later.
    data, to_round = tflite(program, known, known | about[INT8])
    found[f"{name}.tflite"] = data
    found[f"{INT8}/{name}.tflite"] = _quantized(to_round)
  found[ABOUT] = (json.dumps(about, indent=2) + "\n").encode()
  return found


def int8_fingerprint(of_float: bytes) -> bytes:
  """Returns the 32 bytes that name the int8 model made of a float model.

  It is another codec, so it must not have the float model's name; the same
  recipe makes the same of the same model.
  """
  return hashlib.sha256(of_float + f"{INT8} {RECIPE}".encode()).digest()


def runtimes(folder: pathlib.Path) -> Sequence[format_lib.Runtime]:
  """Returns what runs the folder: LiteRT, with float and with int8 weights.

  Raises:
    InputError: no ai-edge-litert.
  """
  if importlib.util.find_spec("ai_edge_litert") is None:
    raise errors.InputError(
      "format=litert is run by ai-edge-litert, which is not installed: "
      f"pip install 'soundstream_jax[{EXTRA}]'."
    )
  return [LiteRt(folder, lossy=False), LiteRt(folder, lossy=True)]


class LiteRt:
  """Runs a folder's steps on one thread; a `format.Runtime`."""

  blocks = functions.BLOCKS

  def __init__(self, folder: pathlib.Path, *, lossy: bool):
    self.name = f"litert {INT8}" if lossy else "litert"
    self.version = importlib.metadata.version("ai-edge-litert")
    self.lossy = lossy
    self._about = json.loads((folder / ABOUT).read_text())
    self._folder = folder / INT8 if lossy else folder
    self._steps = {}
    self.switches = self._about["film"] != "none"

  def encode(self, audio, *, num_quantizers, denoise=False):
    blocks = blocks_lib.cut(audio.shape[1] // self._about["hop"], self.blocks)
    return self.encode_stream(
      audio, blocks, num_quantizers=num_quantizers, denoise=denoise
    )

  def decode(self, codes, *, denoise=False):
    layers = np.full(codes.shape[:2], codes.shape[2])
    blocks = blocks_lib.cut(codes.shape[1], self.blocks)
    return self.decode_stream(codes, layers, blocks, denoise=denoise)

  def encode_stream(self, audio, blocks, *, num_quantizers, denoise=False):
    codes = self._run("encode_step", blocks, denoise, audio=audio)
    return codes[..., :num_quantizers]

  def decode_stream(self, codes, layers, blocks, *, denoise=False):
    codes = blocks_lib.filled(codes, self._about["num_quantizers"])
    layers = layers.astype(np.int32)
    return self._run("decode_step", blocks, denoise, codes=codes, layers=layers)

  def _run(self, name: str, blocks, denoise: bool, **arrays) -> np.ndarray:
    """Runs the examples of a batch one after the other."""
    described = self._about["files"][f"{name}_1.tflite"]
    kind = described["outputs"][1]

    def step(frames, state, *block):
      inputs = {"state": state, **dict(zip(arrays, block, strict=True))}
      if "denoise" in described["inputs"]:
        inputs["denoise"] = np.full(1, denoise)
      outputs = self._step(f"{name}_{frames}")(**inputs)
      return outputs["new_state"], outputs[kind]

    zeros = np.zeros(described["inputs"]["state"]["shape"], np.float32)
    batch = len(next(iter(arrays.values())))
    rows = [
      blocks_lib.run(
        step, zeros, blocks, *(x[row : row + 1] for x in arrays.values())
      )
      for row in range(batch)
    ]
    return np.concatenate(rows)

  def _step(self, name: str) -> Any:
    if name not in self._steps:
      from ai_edge_litert import interpreter

      path = self._folder / f"{name}.tflite"
      found = interpreter.Interpreter(model_path=str(path), num_threads=1)
      self._steps[name] = found.get_signature_runner(SIGNATURE)
    return self._steps[name]


def tflite(
  program: functions.Function, *abouts: Mapping[str, Any]
) -> list[bytes]:
  """Returns a program with static sizes as .tflite, once for each of `abouts`.

  Args:
    abouts: what a file says of itself: its metadata `soundstream_jax`, JSON.
  """
  text = functions.traced(program, ["cpu"]).mlir_module()
  return [_converted(text, program, about) for about in abouts]


def _converted(
  text: str, program: functions.Function, about: Mapping[str, Any]
) -> bytes:
  """Returns the .tflite of StableHLO, with the names of the program."""
  # Else it computes constants in a way that depends on the processor, and says
  # so on every use.
  os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
  from litert_converter import converter_api_ext as converter
  from litert_converter.mlir import ir, passmanager

  context = ir.Context()
  converter.prepare_mlir_context(context)
  context.allow_unregistered_dialects = True
  with context, ir.Location.unknown():
    module = ir.Module.parse(text)
    for op in module.body.operations:
      named = op.operation.name == "func.func"
      if named and ir.StringAttr(op.attributes["sym_name"]).value == "main":
        converter.set_signature(
          op.operation, SIGNATURE, list(program.inputs), list(program.outputs)
        )
    module.operation.attributes["tfl.metadata"] = ir.DictAttr.get(
      {_METADATA: ir.StringAttr.get(json.dumps(about))}
    )
    passes = passmanager.PassManager("builtin.module")
    converter.run_convert_to_tfl_passes(
      module, passes, converter.ConvertToTFLConfig()
    )
    passes.run(module.operation)
    return bytes(converter.export_flatbuffer_to_bytes(module.operation))


def _quantized(data: bytes) -> bytes:
  """Returns a .tflite with int8 weights."""
  from ai_edge_quantizer import quantizer, recipe

  work = quantizer.Quantizer(bytearray(data))
  work.load_quantization_recipe(getattr(recipe, RECIPE)())
  # It shows its progress, whoever asks.
  quiet = io.StringIO()
  with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
    return bytes(work.quantize().quantized_model)


def _about(
  model: exported.Exported, programs: Mapping[str, functions.Function]
) -> dict[str, Any]:
  """Returns what ABOUT says."""
  config = model.config
  name = exported.fingerprint_of(model)
  return {
    "format_version": FORMAT_VERSION,
    "version": soundstream_jax.__version__,
    "fingerprint": name.hex(),
    "lossy": False,
    **functions.about(config),
    "files": {
      f"{name}.tflite": functions.signature(program)
      for name, program in programs.items()
    },
    INT8: {
      "fingerprint": int8_fingerprint(name).hex(),
      "lossy": True,
      "recipe": RECIPE,
    },
  }


@functools.cache
def _check_versions() -> None:
  """Raises InputError where a package is missing, or not as pinned."""
  wrong = []
  for name, pinned in PINS.items():
    try:
      version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      version = "not installed"
    if version != pinned:
      wrong.append(f"{name}=={pinned} ({version})")
  if wrong:
    raise errors.InputError(
      f"format=litert takes {', '.join(wrong)}: pip install "
      f"'soundstream_jax[{EXTRA}]'."
    )


FORMAT = format_lib.Format(
  about="a stream's steps for blocks of 1, 8, 32 frames; float and int8 weights",
  packages=("litert_converter", "ai_edge_litert", "ai_edge_quantizer"),
  extra=EXTRA,
  files=files,
  runtimes={"ai_edge_litert": runtimes},
  consumer="""\
import numpy as np
from ai_edge_litert.interpreter import Interpreter

golden = np.load("golden.npz")
step = Interpreter("encode_step_1.tflite").get_signature_runner()
inputs = {  # zeros: the state of a new stream, and the switch, if any
  name: np.zeros(what["shape"], what["dtype"])
  for name, what in step.get_input_details().items()
}
codes = []
for inputs["audio"] in golden["audio"].reshape(-1, *inputs["audio"].shape):
  found = step(**inputs)
  inputs["state"] = found["new_state"]
  codes.append(found["codes"][0, 0])
assert np.array_equal(codes, golden["codes"])
""",
)
