"""Results: one entry for each model and runtime, written as they come."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from soundstream_jax import errors, whole_files

Entry = dict[str, Any]


class Results:
  """A JSON file of entries, of which a later run keeps those that still hold."""

  def __init__(self, path: str, *, again: bool = False):
    """Opens the file if it is there.

    Args:
      path: of the file.
      again: keeps nothing.

    Raises:
      InputError: it is not such a file.
    """
    self._path = pathlib.Path(path)
    self.entries: dict[str, Entry] = {}
    if again or not self._path.exists():
      return
    try:
      self.entries = json.loads(self._path.read_text())["entries"]
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise errors.InputError(
        f"--json={path} cannot be read ({error}). Remove it, or name another "
        "file."
      ) from None

  def entry(self, key: str, of: Mapping[str, str]) -> Entry:
    """Returns the entry of a name, empty unless it is of the same things.

    Args:
      key: model and runtime.
      of: the model's fingerprint, the sound, versions.
    """
    kept = self.entries.get(key, {})
    if kept.get("of") != dict(of):
      kept = {"of": dict(of)}
    return kept

  def put(self, key: str, entry: Entry) -> None:
    """Keeps an entry, and writes the file."""
    self.entries[key] = entry
    ordered = {name: self.entries[name] for name in sorted(self.entries)}
    text = json.dumps({"entries": ordered}, indent=1)
    whole_files.write(self._path, text + "\n")
