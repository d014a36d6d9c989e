"""Measurements on disk, a line each, as they come: OUT/measurements.jsonl.

A line is of one system and one clip:

  key, clip, class, seconds
  payload_bits, entropy_bits   null where it is no codec, or not coded
  values                       metric -> number, null where it has none
  missing                      metric -> why it has none
  versions                     metric -> version that measured it
  of                           digest of all that decides the line: the
                               system's version, the clip's sound, `versions`

The last whole line of a system and a clip counts; one that is half written,
as a killed process leaves it, does not. Lines are added, never changed.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from soundstream_jax import console, errors
from soundstream_jax.evaluate.measuring import tasks

FILE = "measurements.jsonl"


@dataclasses.dataclass(frozen=True)
class Line:
  """What is known of one system on one clip; fields as they are on disk."""

  key: str
  clip: str
  kind: str
  seconds: float
  subject: str  # digest of the system and the clip's sound; not on disk
  payload_bits: int | None = None
  entropy_bits: int | None = None
  values: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
  missing: Mapping[str, str] = dataclasses.field(default_factory=dict)
  versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def lacks(self, versions: Mapping[str, str]) -> list[str]:
    """Returns the metrics of `versions` that are not measured by them."""
    return [n for n, v in versions.items() if self.versions.get(n) != v]

  def with_result(
    self, result: tasks.Result, versions: Mapping[str, str]
  ) -> "Line":
    """Returns the line with more values, measured by these versions."""
    names = result.values
    missing = {n: why for n, why in self.missing.items() if n not in names}
    return dataclasses.replace(
      self,
      payload_bits=result.payload_bits,
      entropy_bits=result.entropy_bits,
      values={**self.values, **result.values},
      missing={**missing, **result.missing},
      versions={**self.versions, **{n: versions[n] for n in names}},
    )

  def only(self, names: Mapping[str, Any]) -> "Line":
    """Returns the line without other metrics than these."""

    def chosen(of):
      return {name: of[name] for name in names if name in of}

    return dataclasses.replace(
      self,
      values=chosen(self.values),
      missing=chosen(self.missing),
      versions=chosen(self.versions),
    )


def subject(system_version: str, clip_digest: str) -> str:
  """Returns the digest of a system and a clip's sound."""
  return _digest([system_version, clip_digest])


class Store:
  """The lines of a folder, of which one process at a time is in charge."""

  def __init__(self, out: pathlib.Path | None):
    """Reads the lines of a folder.

    Args:
      out: that is there; None keeps all in memory.

    Raises:
      InputError: the file cannot be read.
    """
    self._path = None if out is None else out / FILE
    self._lines: dict[tuple[str, str], dict[str, Any]] = {}
    if self._path is not None:
      self._read()

  def find(self, key: str, clip: str, subject_digest: str) -> Line | None:
    """Returns what is known of a system and a clip; None: nothing, or of
    another version of the system, or of other sound."""
    entry = self._lines.get((key, clip))
    if entry is None:
      return None
    if entry["of"] != _digest([subject_digest, dict(entry["versions"])]):
      return None
    return Line(
      key=key,
      clip=clip,
      kind=entry["class"],
      seconds=entry["seconds"],
      subject=subject_digest,
      payload_bits=entry["payload_bits"],
      entropy_bits=entry["entropy_bits"],
      values=entry["values"],
      missing=entry["missing"],
      versions=entry["versions"],
    )

  def add(self, line: Line) -> None:
    """Adds a line; it is on the disk when this returns.

    Raises:
      DiskError: the disk cannot be written to.
    """
    entry = {
      "key": line.key,
      "clip": line.clip,
      "class": line.kind,
      "seconds": line.seconds,
      "payload_bits": line.payload_bits,
      "entropy_bits": line.entropy_bits,
      "values": dict(line.values),
      "missing": dict(line.missing),
      "versions": dict(line.versions),
      "of": _digest([line.subject, dict(line.versions)]),
    }
    self._lines[line.key, line.clip] = entry
    if self._path is None:
      return
    data = json.dumps(entry, allow_nan=False).encode() + b"\n"
    with errors.writing(FILE, self._path.parent), open(self._path, "ab") as f:
      f.write(data)

  def _read(self) -> None:
    with errors.reading(console.shown(self._path)):
      try:
        data = self._path.read_bytes()
      except FileNotFoundError:
        return
    for text in data.split(b"\n"):
      try:
        entry = json.loads(text)
        if entry.keys() >= _FIELDS:
          self._lines[entry["key"], entry["clip"]] = entry
      except (ValueError, AttributeError):
        continue
    if data and not data.endswith(b"\n"):
      # Else the next line would be a part of the half one.
      with errors.writing(FILE, self._path.parent), open(self._path, "ab") as f:
        f.write(b"\n")


_FIELDS = {
  *("key", "clip", "class", "seconds", "payload_bits", "entropy_bits"),
  *("values", "missing", "versions", "of"),
}


def _digest(value: Any) -> str:
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
