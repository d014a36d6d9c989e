"""Opus with NoLACE: a decoder of Opus 1.5 or newer that mends coded speech.

opusenc encodes, and libopus as WebAssembly (npm's ogg-opus-decoder with
@wasm-audio-decoders/opus-ml) decodes with its neural enhancement. That hears
wideband alone, so wideband is forced where libopus would choose less.

Starting node and compiling takes half a second, so one decoder serves all
clips of a process, and ends with it: its standard input ends then.
"""

import atexit
import contextlib
import dataclasses
import functools
import os
import pathlib
import selectors
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time

import numpy as np

from soundstream_jax import errors
from soundstream_jax.evaluate.systems import children, node_packages, opus

_SCRIPT = pathlib.Path(__file__).parent / "nolace.mjs"
# Above it libopus chooses more than wideband by itself.
_WIDEBAND_UP_TO_BPS = 12000
_NODE = "Install it (apt-get install nodejs npm)."


@dataclasses.dataclass(frozen=True)
class NoLace(opus.Opus):
  """opusenc, and libopus with enhancement."""

  folder: str = ""  # that holds node_modules
  enhancement: str = "nolace"  # 'lace', or 'none' to compare with

  def decode(self, encoded: bytes) -> np.ndarray:
    """Returns float32 [T'] at 48 kHz, as `opus.Opus.decode`."""
    decoder = _decoder(os.getpid(), self.folder, self.enhancement)
    try:
      return decoder.decode(encoded)
    except errors.InputError as error:
      if decoder.ended:
        _decoder.cache_clear()  # the next clip gets another one
      raise errors.InputError(f"{self.key}: {error}") from None


class Decoder:
  """A node that decodes one file after the other; any thread may ask."""

  def __init__(self, folder: str, enhancement: str):
    """Starts it, and waits until it has compiled.

    Raises:
      InputError: node is not there, or the packages are not.
    """
    self._asking = threading.Lock()
    # A pipe that nobody reads would fill.
    self._told = tempfile.TemporaryFile()  # noqa: SIM115
    environment = {k: v for k, v in os.environ.items() if k != "NODE_OPTIONS"}
    try:
      self._child = subprocess.Popen(
        ["node", str(_SCRIPT), folder, enhancement],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=self._told,
        env=environment,
        process_group=0,  # Ctrl-C is for us
      )
    except OSError as error:
      self._told.close()
      raise errors.InputError(
        f"node cannot be started ({error.strerror}). {_NODE}"
      ) from None
    self.ended = False
    try:
      self._answer()
    except BaseException:
      self.close()
      raise

  def decode(self, encoded: bytes) -> np.ndarray:
    """Returns float32 [T'] at 48 kHz of an Ogg Opus file of one channel.

    Raises:
      InputError: it cannot be decoded, or node fails.
    """
    with self._asking:
      try:
        self._child.stdin.write(struct.pack("<I", len(encoded)) + encoded)
        self._child.stdin.flush()
      except (OSError, ValueError):  # it has ended, or was closed
        raise self._failed("it has ended") from None
      return self._answer()

  def close(self) -> None:
    """Ends node."""
    self.ended = True
    if self._child.poll() is None:
      os.killpg(self._child.pid, signal.SIGKILL)
    self._child.wait()
    for pipe in (self._child.stdin, self._child.stdout):
      with contextlib.suppress(OSError):  # what is left cannot be written
        pipe.close()
    self._told.close()

  def _answer(self) -> np.ndarray:
    deadline = time.monotonic() + children.TIMEOUT_S
    status, count = struct.unpack("<II", self._take(8, deadline))
    if status:
      text = self._take(count, deadline)
      raise errors.InputError(
        f"NoLACE's decoder: {children.said(text)}. Check node, and install the "
        f"packages again: {node_packages.COMMAND}."
      )
    sound = self._take(4 * count, deadline)
    return np.frombuffer(sound, "<f4").astype(np.float32)

  def _take(self, size: int, deadline: float) -> bytes:
    found = bytearray()
    with selectors.DefaultSelector() as pipe:
      pipe.register(self._child.stdout, selectors.EVENT_READ)
      while len(found) < size:
        if not pipe.select(max(0.0, deadline - time.monotonic())):
          raise self._failed(f"it gave nothing for {children.TIMEOUT_S:g} s")
        part = os.read(self._child.stdout.fileno(), size - len(found))
        if not part:
          raise self._failed("it has ended")
        found += part
    return bytes(found)

  def _failed(self, reason: str) -> errors.InputError:
    self._told.seek(0)
    told = children.said(self._told.read())
    self.close()
    return errors.InputError(
      f"node, which decodes: {reason} ({told}). Install the packages again, or "
      f"another node (18 or later): {node_packages.COMMAND}."
    )


def all_settings() -> list[NoLace]:
  """Returns every bitrate; the packages have to be there."""
  folder = node_packages.find()
  versions = ", ".join(
    f"{name.rpartition('/')[2]} {version}"
    for name, version in sorted(node_packages.versions(folder).items())
  )
  return [
    NoLace(
      name="opus_nolace",
      setting=plain.setting,
      label=f"Opus NoLACE {plain.bitrate_bps / 1000:g} kbit/s",
      bitrate_bps=plain.bitrate_bps,
      version=f"{plain.version}; decoded by {versions}",
      wideband=plain.bitrate_bps <= _WIDEBAND_UP_TO_BPS,
      folder=str(folder),
    )
    for plain in opus.all_settings()
  ]


def missing() -> str:
  """Returns '', or why there is no NoLACE and what mends it."""
  if reason := opus.missing():
    return reason
  if not shutil.which("node"):
    return f"node is not installed. {_NODE}"
  if node_packages.find() is None:
    return (
      f"its packages of npm are not installed. Run {node_packages.COMMAND}."
    )
  return ""


@functools.lru_cache(maxsize=4)
def _decoder(pid: int, folder: str, enhancement: str) -> Decoder:
  """Returns this process's decoder: a fork may not use its parent's."""
  del pid
  decoder = Decoder(folder, enhancement)
  atexit.register(decoder.close)
  return decoder
