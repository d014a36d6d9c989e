"""A codec that is two commands: one encodes a file, one decodes it.

`codec_file` reads such a codec from a file, and says what its fields mean.
"""

import dataclasses
import os
import pathlib
import re
import shutil

import numpy as np

from soundstream_jax import errors
from soundstream_jax.audio import reading, resampling, wav, waveform
from soundstream_jax.evaluate.systems import children, scratch, system

PLACES = ("in", "out", "setting", "bitrate", "kbps", "here")
PLACE = re.compile(r"\{(\w+)\}")

# A codec may leave out a frame at the end; more than that is another clip.
_SHORT_S = 0.1


@dataclasses.dataclass(frozen=True)
class Commands(system.System):
  """A codec of two commands at one setting."""

  encode: tuple[str, ...] = ()  # words, with places in them
  decode: tuple[str, ...] = ()
  here: str = ""
  sample_rate_hz: int | None = None
  suffix: str = ""
  bits: str = "file"
  header_bytes: int = 0
  delay_samples: int = 0
  timeout_s: float = children.TIMEOUT_S

  def code(self, audio: np.ndarray, *, sample_rate_hz: int) -> system.Coded:
    try:
      return self._coded(np.asarray(audio, np.float32), sample_rate_hz)
    except errors.InputError as error:
      text = str(error).removeprefix(f"{self.key}: ")
      raise errors.InputError(f"{self.key}: {text}") from None

  def _coded(self, audio: np.ndarray, sample_rate_hz: int) -> system.Coded:
    if not len(audio):
      return system.Coded(audio, 0)
    rate_hz = self.sample_rate_hz or sample_rate_hz
    given = resampling.resample(audio[:, None], sample_rate_hz, rate_hz)
    with scratch.folder() as folder:
      original, decoded = folder / "original.wav", folder / "decoded.wav"
      encoded = folder / f"encoded{self.suffix}"
      wav.write(original, given, rate_hz)
      self._run(self.encode, original, encoded)
      payload_bits = self._payload_bits(encoded, len(audio) / sample_rate_hz)
      self._run(self.decode, encoded, decoded)
      found = reading.read_mono(_only_file(decoded), sample_rate_hz=rate_hz)
    found = self._in_time(found, len(given), rate_hz)
    output = resampling.resample(found[:, None], rate_hz, sample_rate_hz)
    return system.Coded(
      waveform.fit(output[:, 0], len(audio)), payload_bits=payload_bits
    )

  def _run(
    self, words: tuple[str, ...], given: pathlib.Path, wanted: pathlib.Path
  ) -> None:
    """Runs one of the commands.

    Raises:
      InputError: it fails, or writes nothing.
    """
    places = {
      "in": os.fspath(given),
      "out": os.fspath(wanted),
      "setting": self.setting,
      "here": self.here,
    }
    if self.bitrate_bps is not None:
      places["bitrate"] = f"{self.bitrate_bps:.15g}"
      places["kbps"] = f"{self.bitrate_bps / 1000:.15g}"
    command = [PLACE.sub(lambda found: places[found[1]], w) for w in words]
    said = children.run(command, name=self.key, timeout_s=self.timeout_s)
    if not wanted.exists():
      raise errors.InputError(
        f"{command[0]} ended well and wrote no {{out}} "
        f"({children.said(said)}). Name {{out}} where it takes its output."
      )

  def _payload_bits(self, encoded: pathlib.Path, seconds: float) -> int:
    if self.bits == "nominal":
      return round(self.bitrate_bps * seconds)
    size = sum(path.stat().st_size for path in _files(encoded))
    if size < self.header_bytes:
      raise errors.InputError(
        f"it encoded to {size} bytes, fewer than header_bytes="
        f"{self.header_bytes}. Use the size of its shortest file's header."
      )
    return 8 * (size - self.header_bytes)

  def _in_time(self, found: np.ndarray, length: int, rate_hz: int):
    """Returns [length] without the delay.

    Raises:
      InputError: the sound is too short for that.
    """
    late = self.delay_samples
    found = found[late:] if late >= 0 else np.pad(found, (-late, 0))
    if length - len(found) > _SHORT_S * rate_hz:
      raise errors.InputError(
        f"{length / rate_hz:.2f} s came back as "
        f"{len(found) / rate_hz:.2f} s. Check decode and delay_samples."
      )
    return waveform.fit(found, length)


def missing(codec: Commands) -> str:
  """Returns '', or which of a codec's programs is not there."""
  for words in (codec.encode, codec.decode):
    program = words[0].replace("{here}", codec.here)
    if not shutil.which(program):
      return (
        f"{program} is not installed. Install it, or put its folder on PATH."
      )
  return ""


def _files(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the file, or those below the folder."""
  if path.is_dir():
    return sorted(file for file in path.rglob("*") if file.is_file())
  return [path]


def _only_file(path: pathlib.Path) -> pathlib.Path:
  """Returns the file, or the only one below the folder.

  Raises:
    InputError: there is another number of them.
  """
  files = _files(path)
  if len(files) != 1:
    raise errors.InputError(
      f"{path.name}: decode wrote {len(files)} files. It has to write one."
    )
  return files[0]
