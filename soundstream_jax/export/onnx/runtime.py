"""ONNX files in onnxruntime, on one thread."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

NAME = "onnxruntime"


def session(path: pathlib.Path) -> Any:
  """Opens a file on a CPU, one thread: an onnxruntime.InferenceSession."""
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = 1
  options.inter_op_num_threads = 1
  return onnxruntime.InferenceSession(
    path, options, providers=["CPUExecutionProvider"]
  )


def version() -> str:
  """Returns onnxruntime's version."""
  import onnxruntime

  return onnxruntime.__version__


@dataclasses.dataclass
class OnnxRuntime:
  """A `format.Runtime` of the four graphs.

  Attributes:
    sessions: name of a graph -> session.
    version: of onnxruntime.
    switches: whether one of the graphs has an input `denoise`.
  """

  sessions: dict[str, Any]
  version: str
  switches: bool
  name: str = NAME
  lossy: bool = False
  blocks: tuple[int, ...] | None = ()

  def encode(self, audio, *, num_quantizers, denoise=False):
    (codes,) = self._run(
      "encode", denoise, audio=audio, num_quantizers=_one(num_quantizers)
    )
    return codes

  def decode(self, codes, *, denoise=False):
    (audio,) = self._run("decode", denoise, codes=codes)
    return audio

  def encode_stream(self, audio, blocks, *, num_quantizers, denoise=False):
    hop = self._metadata("hop")
    state, codes = self._start("encode_step", len(audio)), []
    for block in np.split(audio, np.cumsum(blocks)[:-1] * hop, axis=1):
      state, of_block = self._run(
        "encode_step",
        denoise,
        state=state,
        audio=block,
        num_quantizers=_one(num_quantizers),
      )
      codes.append(of_block)
    return np.concatenate(codes, axis=1)

  def decode_stream(self, codes, layers, blocks, *, denoise=False):
    state, audio = self._start("decode_step", len(codes)), []
    ends = np.cumsum(blocks)[:-1]
    for block, arrived in zip(
      np.split(codes, ends, axis=1), np.split(layers, ends, axis=1), strict=True
    ):
      state, of_block = self._run(
        "decode_step", denoise, state=state, codes=block, layers=arrived
      )
      audio.append(of_block)
    return np.concatenate(audio, axis=1)

  def _run(self, graph: str, denoise: bool, **inputs: Any) -> list[np.ndarray]:
    of_graph = {i.name: i.type for i in self.sessions[graph].get_inputs()}
    if "denoise" in of_graph:
      batch = len(next(iter(inputs.values())))
      inputs["denoise"] = np.full(batch, denoise)
    dtypes = {"tensor(float)": np.float32, "tensor(int32)": np.int32}
    return self.sessions[graph].run(
      None,
      {
        name: np.asarray(value, dtypes.get(of_graph[name]))
        for name, value in inputs.items()
      },
    )

  def _start(self, graph: str, streams: int) -> np.ndarray:
    """Returns the state of new streams."""
    (state,) = (
      i for i in self.sessions[graph].get_inputs() if i.name == "state"
    )
    return np.zeros((streams, state.shape[1]), np.float32)

  def _metadata(self, name: str) -> int:
    meta = self.sessions["encode"].get_modelmeta().custom_metadata_map
    return int(meta[name])


def open_folder(folder: pathlib.Path, graphs: Iterable[str]) -> OnnxRuntime:
  """Opens the graphs of a folder, each of a file of its name."""
  sessions = {name: session(folder / f"{name}.onnx") for name in graphs}
  inputs = [i.name for s in sessions.values() for i in s.get_inputs()]
  return OnnxRuntime(sessions, version(), "denoise" in inputs)


def _one(number: int) -> np.ndarray:
  return np.asarray([number], np.int64)
