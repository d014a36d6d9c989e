"""The format `stablehlo`: programs of jax.export, and StableHLO as text.

    encode.jax, decode.jax             of any batch, frames and, to decode, layers
    {encode,decode}_step_{1,8,32}.jax  of any batch; a stream's block of frames
    encode.mlir, decode.mlir           of one second, batch 1
    {encode,decode}_step_1.mlir        of one frame, batch 1
    stablehlo.json                     names, shapes and types, rates, fingerprint

The `.jax` files are for cpu, cuda and tpu. `jax.export.deserialize(data).call`
runs one; that takes jax and flatbuffers, and nothing of this project. Arguments
are by position, in the order of stablehlo.json (see `functions`); which platform
it is jax tells the program by itself. The `.mlir` files are for other compilers:
StableHLO with static sizes, the weights as constants.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import export

import soundstream_jax
from soundstream_jax import errors
from soundstream_jax.checkpoint import exported
from soundstream_jax.export import blocks as blocks_lib
from soundstream_jax.export import format as format_lib
from soundstream_jax.export import functions

PLATFORMS = ("cpu", "cuda", "tpu")
ABOUT = "stablehlo.json"
FORMAT_VERSION = 1
EXTRA = "export-stablehlo"


def files(
  model: exported.Exported, options: format_lib.Options
) -> dict[str, bytes]:
  """Returns path below the folder -> content.

  Raises:
    InputError: no flatbuffers.
  """
  del options  # none that changes these files
  _check_packages()
  most = model.config.quantizer.num_quantizers
  b, f = export.symbolic_shape("b, f")
  # In a scope of its own: a program has to have every size of its scope.
  of_codes = export.symbolic_shape("b, f, q", constraints=[f"q <= {most}"])
  programs = {
    "encode": functions.encode(model, b, f),
    "decode": functions.decode(model, *of_codes),
  }
  (b,) = export.symbolic_shape("b")
  for frames in functions.BLOCKS:
    programs[f"encode_step_{frames}"] = functions.encode_step(model, b, frames)
    programs[f"decode_step_{frames}"] = functions.decode_step(model, b, frames)
  # Of one second, rounded up to whole frames.
  second = -int(-model.config.rates.frame_rate_hz // 1)
  texts = {
    "encode": functions.encode(model, 1, second),
    "decode": functions.decode(model, 1, second, most),
    "encode_step_1": functions.encode_step(model, 1, 1),
    "decode_step_1": functions.decode_step(model, 1, 1),
  }
  found = {
    f"{name}.jax": bytes(functions.traced(program, PLATFORMS).serialize())
    for name, program in programs.items()
  }
  found |= {
    f"{name}.mlir": functions.traced(program, PLATFORMS[:1])
    .mlir_module()
    .encode()
    for name, program in texts.items()
  }
  programs = {f"{name}.jax": program for name, program in programs.items()}
  texts = {f"{name}.mlir": program for name, program in texts.items()}
  found[ABOUT] = _about(model, programs | texts)
  return found


def runtimes(folder: pathlib.Path) -> Sequence[format_lib.Runtime]:
  """Returns what runs the folder: jax.

  Raises:
    InputError: no flatbuffers.
  """
  _check_packages()
  return [Jax(folder)]


class Jax:
  """The `.jax` programs, on jax's default device; a `format.Runtime`."""

  name = "jax.export"
  lossy = False
  blocks = functions.BLOCKS

  def __init__(self, folder: pathlib.Path):
    self.version = jax.__version__
    self._folder = folder
    self._about = json.loads((folder / ABOUT).read_text())
    self._programs = {}
    self.switches = self._about["film"] != "none"

  def encode(self, audio, *, num_quantizers, denoise=False):
    codes = self._call("encode", denoise, audio)
    return np.asarray(codes)[..., :num_quantizers]

  def decode(self, codes, *, denoise=False):
    return np.asarray(self._call("decode", denoise, codes.astype(np.int32)))

  def encode_stream(self, audio, blocks, *, num_quantizers, denoise=False):
    codes = self._run("encode_step", blocks, denoise, audio)
    return codes[..., :num_quantizers]

  def decode_stream(self, codes, layers, blocks, *, denoise=False):
    codes = blocks_lib.filled(codes, self._about["num_quantizers"])
    layers = layers.astype(np.int32)
    return self._run("decode_step", blocks, denoise, codes, layers)

  def _run(self, name: str, blocks, denoise: bool, *arrays) -> np.ndarray:
    def step(frames, state, *arrays):
      return self._call(f"{name}_{frames}", denoise, state, *arrays)

    state = np.zeros((len(arrays[0]), self._about[f"{name}_state"]), np.float32)
    return blocks_lib.run(step, state, blocks, *arrays)

  def _call(self, name: str, denoise: bool, *arrays) -> Any:
    if name not in self._programs:
      data = (self._folder / f"{name}.jax").read_bytes()
      program = export.deserialize(bytearray(data))
      self._programs[name] = jax.jit(program.call)
    if "denoise" in self._about["files"][f"{name}.jax"]["inputs"]:
      arrays += (np.full(len(arrays[0]), denoise),)
    return self._programs[name](*arrays)


def _about(
  model: exported.Exported, programs: Mapping[str, functions.Function]
) -> bytes:
  """Returns ABOUT: what a caller has to know, as JSON."""
  config = model.config
  about = {
    "format_version": FORMAT_VERSION,
    "version": soundstream_jax.__version__,
    "jax": jax.__version__,
    "fingerprint": exported.fingerprint_of(model).hex(),
    **functions.about(config),
    "platforms": list(PLATFORMS),
    "encode_step_state": functions.state_size(programs["encode_step_1.jax"]),
    "decode_step_state": functions.state_size(programs["decode_step_1.jax"]),
    "files": {
      name: functions.signature(program) for name, program in programs.items()
    },
  }
  return (json.dumps(about, indent=2) + "\n").encode()


def _check_packages() -> None:
  """Raises InputError where there is no flatbuffers, which jax.export takes."""
  try:
    import flatbuffers  # noqa: F401
  except ImportError:
    raise errors.InputError(
      "format=stablehlo takes flatbuffers, which is not installed: pip install "
      f"'soundstream_jax[{EXTRA}]'."
    ) from None


FORMAT = format_lib.Format(
  about="programs of jax.export for cpu, cuda and tpu; StableHLO as text",
  packages=("flatbuffers",),
  extra=EXTRA,
  files=files,
  runtimes={"jax.export": runtimes},
  consumer="""\
import numpy as np
from jax import export


def run(name, *arrays):
  program = export.deserialize(bytearray(open(name, "rb").read()))
  off = np.zeros(1, bool)  # the switch, where the program has one
  return program.call(*[*arrays, off][: len(program.in_avals)])


golden = np.load("golden.npz")
codes = run("encode.jax", golden["audio"][None])
audio = run("decode.jax", codes)
assert np.array_equal(codes[0], golden["codes"])
print("audio differs by", np.abs(audio[0] - golden["decoded"]).max())
""",
)
