"""Opus by opus-tools: hard CBR, as libopus chooses and forced to wideband.

    opusenc --hard-cbr --bitrate R --framesize 20 --comp 10 ... in out

Its rate is that of its packets: a file's pages would add 1.5 kbit/s to a clip
of 3 s, and no other system under test has a container. libopus itself chooses
narrowband, a telephone's, up to 9 kbit/s. Forced to wideband it is worse by
PESQ and better by ViSQOL there: a codec has to beat both.

Under 8 kbit/s libopus takes no such wish while the rate is constant; then it
is bounded (--cvbr) instead, and a clip says what it took.
"""

import dataclasses
import io
import re
import shutil

import numpy as np
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import resampling, waveform
from soundstream_jax.evaluate.systems import children, ogg, system

BITRATES_BPS = (6000, 9000, 12000, 16000, 24000)
INSTALL = "Install opus-tools (apt-get install opus-tools)."

_LEAST_WIDEBAND_CBR_BPS = 8000
_RATE_HZ = 48000
_MOST_LATE = 5  # samples at that rate
# OPUS_SET_BANDWIDTH and OPUS_BANDWIDTH_WIDEBAND of opus_defines.h.
_WIDEBAND = ("--set-ctl-int", "4008=1103")


@dataclasses.dataclass(frozen=True)
class Opus(system.System):
  """opusenc and opusdec at one bitrate."""

  wideband: bool = False

  def code(self, audio: np.ndarray, *, sample_rate_hz: int) -> system.Coded:
    audio = np.asarray(audio, np.float32)
    if not len(audio):
      return system.Coded(audio, 0)
    encoded, bits = self.encode(audio, sample_rate_hz=sample_rate_hz)
    decoded = aligned(
      self.decode(encoded), audio, sample_rate_hz=sample_rate_hz
    )
    return system.Coded(decoded, payload_bits=bits)

  def encode(
    self, audio: np.ndarray, *, sample_rate_hz: int
  ) -> tuple[bytes, int]:
    """Returns an Ogg Opus file, and the bits of its packets.

    Raises:
      InputError: as `code`.
    """
    constant = not self.wideband or (
      self.bitrate_bps >= _LEAST_WIDEBAND_CBR_BPS
    )
    encoded = children.run(
      [
        *("opusenc", "--quiet", "--hard-cbr" if constant else "--cvbr"),
        *("--bitrate", f"{self.bitrate_bps / 1000:g}", "--framesize", "20"),
        *("--comp", "10", "--discard-comments", "--padding", "0"),
        *(_WIDEBAND if self.wideband else ()),
        *("-", "-"),
      ],
      name=self.key,
      given=_wav(audio, sample_rate_hz),
    )
    try:
      packets = ogg.opus_packets(encoded)
    except ValueError as error:
      raise errors.InputError(
        f"{self.key}: opusenc wrote no Ogg Opus file ({error}). {INSTALL}"
      ) from None
    return encoded, 8 * sum(map(len, packets))

  def decode(self, encoded: bytes) -> np.ndarray:
    """Returns float32 [T'] at 48 kHz, libopus's own rate, of an Ogg Opus file.

    Raises:
      InputError: as `code`.
    """
    decoded = children.run(
      ["opusdec", "--quiet", "--float", "--rate", str(_RATE_HZ), "-", "-"],
      name=self.key,
      given=encoded,
    )
    return np.frombuffer(decoded, "<f4").astype(np.float32)


def aligned(
  decoded: np.ndarray, audio: np.ndarray, *, sample_rate_hz: int
) -> np.ndarray:
  """Returns float32 [T] of decoded sound at the rate and place of the clip.

  A decoder takes out what the file's head says of its delay, but libopus keeps
  some of its own: narrowband comes 62 us late, wideband 39 us early. That is
  nothing to hear, and much for SI-SDR.

  Args:
    decoded: [T'] at 48 kHz.
    audio: [T], the clip.
    sample_rate_hz: of the clip.
  """
  wanted = _resample(audio, sample_rate_hz, _RATE_HZ)
  padded = np.pad(waveform.fit(decoded, len(wanted)), _MOST_LATE, "edge")
  late = max(
    sorted(range(-_MOST_LATE, _MOST_LATE + 1), key=abs),
    key=lambda late: np.dot(_at(padded, late, len(wanted)), wanted),
  )
  found = _resample(_at(padded, late, len(wanted)), _RATE_HZ, sample_rate_hz)
  return waveform.fit(found, len(audio))


def all_settings() -> list[Opus]:
  """Returns every bitrate, as libopus chooses."""
  return _all("opus")


def all_wideband() -> list[Opus]:
  """Returns every bitrate, forced to wideband."""
  return _all("opus_wideband", wideband=True)


def missing() -> str:
  """Returns '', or why there is no Opus and what mends it."""
  absent = [name for name in ("opusenc", "opusdec") if not shutil.which(name)]
  if not absent:
    return ""
  verb = "is" if len(absent) == 1 else "are"
  return f"{' and '.join(absent)} {verb} not installed. {INSTALL}"


def version(program: str = "opusenc") -> str:
  """Returns 'libopus 1.3.1, opus-tools 0.2'.

  Raises:
    InputError: the program does not say.
  """
  said = children.run([program, "--version"], name=program)
  found = re.match(
    rb"\S+ opus-tools ([^ \n]+) \(using libopus ([^ \n)]+)\)", said
  )
  if not found:
    raise errors.InputError(
      f"{program} --version says {children.said(said)!r}, not its versions. "
      f"{INSTALL}"
    )
  tools, library = (text.decode() for text in found.groups())
  return f"libopus {library}, opus-tools {tools}"


def _all(name: str, *, wideband: bool = False) -> list[Opus]:
  told = version()
  return [
    Opus(
      name=name,
      setting=str(bitrate_bps),
      label=f"Opus{' wideband' if wideband else ''} {bitrate_bps / 1000:g} "
      "kbit/s",
      bitrate_bps=float(bitrate_bps),
      version=told,
      wideband=wideband,
    )
    for bitrate_bps in BITRATES_BPS
  ]


def _wav(audio: np.ndarray, sample_rate_hz: int) -> bytes:
  file = io.BytesIO()
  soundfile.write(file, audio, sample_rate_hz, format="WAV", subtype="FLOAT")
  return file.getvalue()


def _resample(audio: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
  return resampling.resample(audio[:, None], from_hz, to_hz)[:, 0]


def _at(padded: np.ndarray, late: int, length: int) -> np.ndarray:
  start = _MOST_LATE + late
  return padded[start : start + length]
