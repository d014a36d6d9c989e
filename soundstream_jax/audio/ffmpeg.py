"""Sound that libsndfile does not read, by the machine's ffmpeg.

It is a child that decodes the first track of sound into a pipe, which is read
block by block. A file may be hostile: so ffmpeg opens that file alone, by its
path, in formats that name no other files; it writes no file, asks nobody, has
limits of time, size and memory, and ends with its parent.
"""

import functools
import os
import pathlib
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np

from soundstream_jax import errors

# Seconds without a sign of life, and of waiting for one file in all: what the
# reader needs for itself does not count.
_SILENT_S = 60.0
_WAITING_S = 6 * 3600.0
# Of sound, at 48 kHz in stereo about 190 hours.
_MOST_BYTES = 1 << 38
_MEMORY_BYTES = 8 << 30

_READ_BYTES = 1 << 20
_LINE_BYTES = 1 << 12
_LINE_SHOWN = 200

# Formats that name other files, run scripts, come from devices or the network,
# or are no sound at all. Those of single pictures end in _pipe.
_REFUSED = (
  "applehttp avisynth bin bluray concat concatf dash data dvdvideo fd "
  "ffmetadata ftp hls image2 image2pipe imf ipfs lavfi libcdio mpjpeg mlv "
  "rawvideo rtp rtsp sap sbg sdp smil tty vapoursynth vobsub "
  "webm_dash_manifest xbin"
)

# What the child does before it becomes ffmpeg. 1 is PR_SET_PDEATHSIG.
_BECOME = """
import ctypes, os, resource, sys
parent, memory, *command = sys.argv[1:]
for what, most in (
  (resource.RLIMIT_FSIZE, 0),
  (resource.RLIMIT_CORE, 0),
  (resource.RLIMIT_AS, int(memory)),
):
  hard = resource.getrlimit(what)[1]
  if hard == resource.RLIM_INFINITY or hard >= most:
    resource.setrlimit(what, (most, most))
if sys.platform == "linux":
  ctypes.CDLL(None).prctl(1, 9)
  if os.getppid() != int(parent):
    os._exit(1)
os.execv(command[0], command)
"""


def installed() -> bool:
  """True where ffmpeg is on PATH."""
  return _program() is not None


class Decoder:
  """A file that ffmpeg decodes; to be closed, by the thread that made it.

  Attributes:
    rate_hz, channels: of the sound.
    complaint: '', or the last error that ffmpeg told of.
  """

  def __init__(self, path: str | os.PathLike, name: str):
    """Starts ffmpeg, and waits until it knows what it decodes.

    Args:
      path: a file.
      name: of it, for messages.

    Raises:
      InputError: ffmpeg is not there, or does not read the file.
    """
    program = _program()
    if program is None:
      raise missing(path, name)
    self._name = name
    self._told: list[str] = []  # the first error, and the last
    self._unsure = False
    self._sound, self._line = bytearray(), bytearray()
    self._given_bytes, self._waited_s = 0, 0.0
    self._source = _source(path).decode("utf-8", "replace")
    self._child = _start(program, _command(program, path))
    self._pipes = selectors.DefaultSelector()
    for pipe in (self._child.stdout, self._child.stderr):
      os.set_blocking(pipe.fileno(), False)
      self._pipes.register(pipe, selectors.EVENT_READ)
    try:
      self.rate_hz, self.channels = self._begin()
    except BaseException:
      self.close()
      raise
    self._frame_bytes = 4 * self.channels

  @property
  def complaint(self) -> str:
    return self._told[-1] if self._told else ""

  def read(self, samples: int) -> np.ndarray:
    """Returns float32 [n, C] of what follows; n < `samples` at the end alone.

    Raises:
      InputError: ffmpeg does not answer, gives too much, or was killed.
    """
    self._fill(samples * self._frame_bytes)
    whole = len(self._sound) // self._frame_bytes
    size = min(samples, whole) * self._frame_bytes
    block = np.frombuffer(bytes(self._sound[:size]), ">f4").astype(np.float32)
    del self._sound[:size]
    self._given_bytes += size
    if self._given_bytes > _MOST_BYTES:
      raise self._error(f"it gives more than {_MOST_BYTES >> 30} GiB of sound")
    return block.reshape(-1, self.channels)

  def close(self) -> None:
    """Ends ffmpeg."""
    self._child.kill()
    self._child.wait()
    self._pipes.close()
    self._child.stdout.close()
    self._child.stderr.close()

  def _begin(self) -> tuple[int, int]:
    """Reads the head of the AU that ffmpeg writes: (rate in Hz, channels)."""
    self._fill(24)
    if len(self._sound) < 24:
      raise self._error(self._reason())
    magic, start, _, _, rate_hz, channels = struct.unpack(
      ">4s5I", self._sound[:24]
    )
    if magic != b".snd" or not rate_hz or not 0 < channels < 1 << 10:
      raise self._error("what it gives is no sound")
    self._fill(start)
    if self._unsure:
      raise self._error("its content is not audio")
    del self._sound[:start]
    return rate_hz, channels

  def _fill(self, size: int) -> None:
    """Reads until so many bytes are there, or there are no more."""
    while len(self._sound) < size and self._pipes.get_map():
      begin = time.monotonic()
      ready = self._pipes.select(_SILENT_S)
      self._waited_s += time.monotonic() - begin
      if not ready:
        raise self._error(f"it gave nothing for {_SILENT_S:g} s")
      if self._waited_s > _WAITING_S:
        raise self._error(f"it takes more than {_WAITING_S / 3600:g} h")
      # First what it says, which came first.
      for key, _ in sorted(
        ready, key=lambda item: item[0].fileobj is self._child.stdout
      ):
        self._take(key.fileobj)
    if not self._pipes.get_map():
      self._check_end()

  def _take(self, pipe) -> None:
    part = os.read(pipe.fileno(), _READ_BYTES)
    if not part:
      self._pipes.unregister(pipe)
    elif pipe is self._child.stdout:
      self._sound += part
      return
    *lines, rest = (bytes(self._line) + part).split(b"\n")
    self._line = bytearray(rest[:_LINE_BYTES])
    for line in lines if part else [*lines, rest]:
      self._hear(line[:_LINE_BYTES].decode("utf-8", "replace").strip())

  def _hear(self, line: str) -> None:
    """Takes a line, as in `[mov @ 0x55] [error] moov atom not found`."""
    self._unsure |= "misdetection possible" in line
    # Older versions begin with it. What is said goes with a dataset.
    line = line.replace(f"{self._source}: ", "").replace(self._source, "it")
    for level in ("[error] ", "[fatal] ", "[panic] "):
      _, found, text = line.rpartition(level)
      if found:
        text = "".join(c if c.isprintable() else "?" for c in text)
        self._told[1:] = [text[:_LINE_SHOWN]]

  def _check_end(self) -> None:
    """Waits for the end of a child that has closed its pipes."""
    try:
      code = self._child.wait(_SILENT_S)
    except subprocess.TimeoutExpired:
      raise self._error("it does not end") from None
    if code < 0:
      raise self._error(f"it was ended by {signal.Signals(-code).name}")
    if code and not self._told:
      self._told.append(f"exit code {code}")

  def _reason(self) -> str:
    if any("matches no streams" in line for line in self._told):
      return "there is no sound in it"
    if any("not on whitelist" in line for line in self._told):
      return "it is a playlist, a script or no sound"
    # The last error says in general what the first says of this file.
    told = dict.fromkeys(
      line.removeprefix("Error opening input: ").removeprefix(
        "Error opening input files: "
      )
      for line in self._told
    )
    return "; ".join(told) or "it says nothing"

  def _error(self, reason: str) -> errors.InputError:
    return errors.InputError(
      f"{self._name}: cannot be read as audio (ffmpeg: {reason.rstrip('.')}). "
      "Use another file, or convert it to wav."
    )


def missing(path: str | os.PathLike, name: str) -> errors.InputError:
  """Returns the error of a file that only ffmpeg would read."""
  suffix = pathlib.PurePath(path).suffix.lower()
  return errors.InputError(
    f"{name}: {suffix or 'this format'} is read by ffmpeg, which is not "
    "installed. Install it (apt-get install ffmpeg) or convert the file to wav."
  )


def _program() -> str | None:
  return shutil.which("ffmpeg")


def _command(program: str, path: str | os.PathLike) -> list[bytes | str]:
  return [
    *("-nostdin", "-hide_banner", "-loglevel", "level+warning"),
    *("-protocol_whitelist", "file,pipe"),
    *("-format_whitelist", _formats(program)),
    *(
      "-threads",
      "1",
      "-i",
      _source(path),
      "-map",
      "0:a:0",
      "-vn",
      "-sn",
      "-dn",
    ),
    *("-map_metadata", "-1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"),
  ]


def _source(path: str | os.PathLike) -> bytes:
  """Returns a path as ffmpeg's -i takes it.

  An absolute one behind "file:" is neither an option nor a protocol, and only
  the formats of numbered pictures, which are refused, see a pattern.
  """
  return b"file:" + os.fsencode(os.path.abspath(path))


@functools.cache
def _formats(program: str) -> str:
  """Returns the formats that are read, with commas between.

  Raises:
    InputError: the program is no ffmpeg that works.
  """
  child = _start(program, ["-hide_banner", "-loglevel", "error", "-demuxers"])
  try:
    text, told = child.communicate(timeout=_SILENT_S)
  except subprocess.TimeoutExpired:
    child.kill()
    text, told = child.communicate()
  names = []
  for line in text.decode("utf-8", "replace").splitlines():
    words = line.split()  # D, d where it is a device, name, description
    if len(words) > 1 and words[0] == "D" and words[1] != "d":
      names += words[1].split(",")
  if not names:
    last = told.decode("utf-8", "replace").strip().rpartition("\n")[2]
    raise errors.InputError(
      f"{program} does not work ({last or 'it lists no formats'}). Install "
      "ffmpeg again, or convert the file to wav."
    )
  refused = set(_REFUSED.split())
  return ",".join(
    name for name in names if name not in refused and not name.endswith("_pipe")
  )


def _start(program: str, command: list[bytes | str]) -> subprocess.Popen:
  """Starts ffmpeg with its limits.

  Raises:
    InputError: the system has no room for a process.
  """
  environment = {k: v for k, v in os.environ.items() if k != "FFREPORT"}
  try:
    return subprocess.Popen(
      [
        *(sys.executable, "-I", "-S", "-c", _BECOME),
        *(str(os.getpid()), str(_MEMORY_BYTES), program, *command),
      ],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      env=environment,
      # Ctrl-C is for us: a file that it cut short would look like its end.
      process_group=0,
    )
  except OSError as error:
    raise errors.InputError(
      f"{program} cannot be started ({error.strerror}). End other programs, or "
      "convert the file to wav."
    ) from None
