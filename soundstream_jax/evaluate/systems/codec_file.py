"""A file that names a codec of two commands; YAML or JSON.

EnCodec's, for one:

    name: encodec
    sample_rate_hz: 24000
    settings: [1500, 3000, 6000, 12000]
    encode: encodec -f -b {kbps} {in} {out}
    decode: encodec -f -r {in} {out}
    suffix: .ecdc
    version: encodec 0.1.1

Opus's:

    name: my_opus
    settings: [6000, 12000]
    encode: opusenc --quiet --hard-cbr --bitrate {kbps} {in} {out}
    decode: opusdec --quiet --rate 48000 {in} {out}
    suffix: .opus

DAC's, whose files are no bitstream, so that its rate is the one that is named,
and which writes into folders:

    name: dac
    sample_rate_hz: 24000
    settings: {"2": 1500, "8": 6000}
    encode: python -m dac encode {in} --output {out} --n_quantizers {setting}
      --model_type 24khz
    decode: python -m dac decode {in} --output {out} --model_type 24khz
    bits: nominal

Fields:
  name: letters a-z, digits and _; of the system, in tables and file names.
  label: for people; the name.
  settings: a list of bitrates in bit/s, or settings with the bitrate of each,
    or null where there is none.
  encode, decode: read {in} and write {out}, with 16-bit wav files at either
    end. {setting} is the setting, {bitrate} the bitrate in bit/s, {kbps} in
    kbit/s, {here} the folder of this file. There is no shell: neither pipes,
    nor patterns, nor variables. {out} may become a folder.
  sample_rate_hz: that encode is given; without it the clips' own.
  suffix: of the encoded file's name; none.
  bits: 'file' (the size of what encode wrote), or 'nominal' (the bitrate).
  header_bytes: of an encoded file that a stream would not have; 0.
  delay_samples: that decoded sound comes late, at sample_rate_hz; 0. Samples
    that come early are negative.
  timeout_s: for each command; 600.
  version: whatever tells one version of the codec from another; none.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from soundstream_jax import errors
from soundstream_jax.evaluate.systems import children, commands

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SETTING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]+")


def read(path: str) -> list[commands.Commands]:
  """Returns a file's codec at all of its settings.

  Raises:
    InputError: no such file, or what is wrong in it.
  """
  with errors.reading(path):
    data = pathlib.Path(path).read_bytes()
  try:
    values = yaml.safe_load(data)
  except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
    raise errors.InputError(
      f"{path}: is neither YAML nor JSON ({' '.join(str(error).split())}). "
      "Mend it, or see `pydoc soundstream_jax.evaluate.systems.codec_file`."
    ) from None
  if not isinstance(values, dict):
    raise errors.InputError(
      f"{path}: holds no fields. Write name:, settings:, encode: and decode:."
    )
  return _Reader(path, values).systems()


@dataclasses.dataclass(frozen=True)
class _Reader:
  """Fields of one file, looked at one by one."""

  path: str
  values: Mapping[str, Any]

  def systems(self) -> list[commands.Commands]:
    known = {
      *("name", "label", "settings", "encode", "decode", "sample_rate_hz"),
      *("suffix", "bits", "header_bytes", "delay_samples", "timeout_s"),
      "version",
    }
    for field in self.values:
      if field not in known:
        near = errors.nearest(str(field), known)
        raise self._error(field, f"is no field.{near}")
    name = self._text("name", of=_NAME, rule="a-z, 0-9 and _, a letter first")
    bits = self._text("bits", "file", of=re.compile("file|nominal"))
    settings = self._settings()
    if bits == "nominal" and None in settings.values():
      raise self._error("bits", "is nominal, and a setting has no bitrate")
    rate_hz = self._number("sample_rate_hz", None, least=1, whole=True)
    fixed = {
      "encode": self._command("encode", settings),
      "decode": self._command("decode", settings),
      "sample_rate_hz": rate_hz,
      "suffix": self._text("suffix", "", of=_SUFFIX, rule="as in .opus"),
      "bits": bits,
      "header_bytes": self._number("header_bytes", 0, least=0, whole=True),
      "delay_samples": self._number("delay_samples", 0, least=None, whole=True),
      "timeout_s": self._number(
        "timeout_s", children.TIMEOUT_S, least=0.001, whole=False
      ),
    }
    if fixed["delay_samples"] and rate_hz is None:
      raise self._error("delay_samples", "needs sample_rate_hz, whose it are")
    # Measurements are kept by version: another command is another one.
    digest = hashlib.sha256(json.dumps(fixed).encode()).hexdigest()[:8]
    said = self._text("version", "")
    label = self._text("label", name)
    return [
      commands.Commands(
        name=name,
        setting=setting,
        label=f"{label} {setting}"
        if bitrate_bps is None
        else f"{label} {bitrate_bps / 1000:g} kbit/s",
        bitrate_bps=bitrate_bps,
        version=f"{said}, commands {digest}" if said else f"commands {digest}",
        here=os.path.dirname(os.path.abspath(self.path)),
        **fixed,
      )
      for setting, bitrate_bps in settings.items()
    ]

  def _settings(self) -> dict[str, float | None]:
    given = self.values.get("settings")
    if isinstance(given, list):
      given = {bitrate: bitrate for bitrate in given}
    if not isinstance(given, dict) or not given:
      raise self._error(
        "settings", "has to be a list of bitrates, or settings: bitrates"
      )
    found = {}
    for setting, bitrate in given.items():
      if not _SETTING.fullmatch(str(setting)):
        raise self._error(
          "settings", f"has {setting!r}, which is no name of a file"
        )
      is_number = isinstance(bitrate, int | float) and bitrate is not True
      if bitrate is not None and not (is_number and 0 < bitrate < 1e9):
        raise self._error(
          "settings", f"has {bitrate!r}, which is no bitrate in bit/s"
        )
      found[str(setting)] = None if bitrate is None else float(bitrate)
    return found

  def _command(self, field: str, settings: Mapping) -> tuple[str, ...]:
    try:
      words = tuple(shlex.split(self._text(field)))
    except ValueError as error:
      raise self._error(field, f"cannot be read ({error})") from None
    if not words:
      raise self._error(field, "is empty: write a command")
    places = {place for word in words for place in commands.PLACE.findall(word)}
    for place in sorted(places.difference(commands.PLACES)):
      known = ", ".join(f"{{{place}}}" for place in commands.PLACES)
      raise self._error(field, f"has {{{place}}}. Known are {known}")
    for place in ("in", "out"):
      if place not in places:
        raise self._error(field, f"has no {{{place}}}, a file's name")
    if places & {"bitrate", "kbps"} and None in settings.values():
      raise self._error(field, "asks for the bitrate, and a setting has none")
    return words

  def _text(
    self,
    field: str,
    default: str | None = None,
    *,
    of: re.Pattern[str] | None = None,
    rule: str = "",
  ) -> str:
    value = self.values.get(field, default)
    if value is None:
      raise self._error(field, "is missing")
    if not isinstance(value, str):
      raise self._error(field, f"is {value!r}, and has to be text")
    if of is not None and value != default and not of.fullmatch(value):
      raise self._error(field, f"is {value!r}. Use {rule or of.pattern}")
    return value

  def _number(self, field: str, default, *, least, whole: bool):
    value = self.values.get(field, default)
    if value is default:
      return value
    kinds = int if whole else int | float
    if not isinstance(value, kinds) or isinstance(value, bool):
      raise self._error(field, f"is {value!r}, and has to be a number")
    if least is not None and value < least:
      raise self._error(field, f"is {value}, and has to be at least {least}")
    return value

  def _error(self, field: object, problem: str) -> errors.InputError:
    return errors.InputError(
      f"{self.path}: {field} {problem}. `pydoc "
      "soundstream_jax.evaluate.systems.codec_file` has the fields."
    )
