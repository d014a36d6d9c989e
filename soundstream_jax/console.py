"""How a command prints names: on any terminal, in one line, and harmlessly.

A file's name is any bytes but 0 and "/". It may hold what is no text, what
moves a terminal's cursor, and what the terminal's encoding lacks.
"""

import logging
import os
import re
import shlex
import sys

# Control characters, ends of lines, halves of characters (which stand for bytes
# that are no text), and what turns the direction of writing.
_UNSAFE = (
  r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
)
_IN_A_NAME = re.compile(f"[{_UNSAFE}]")
_IN_A_TEXT = re.compile(rf"(?![\n\t])[{_UNSAFE}]")


def shown(name: str | bytes | os.PathLike) -> str:
  """Returns a name as it is printed: in one line, odd characters escaped.

  A byte that is no text is \\xff, the end of a line \\n, and so on.
  """
  return _IN_A_NAME.sub(_escaped, _read(os.fspath(name)))


def quoted(word: str | os.PathLike) -> str:
  """Returns a word of a command as bash reads it, printable throughout."""
  word = os.fspath(word)
  if word == shown(word):
    return shlex.quote(word)
  named = {"\\": "\\\\", "'": "\\'"}
  escaped = (
    named.get(character, character)
    if character.isascii() and character.isprintable()
    else "".join(f"\\x{byte:02x}" for byte in _bytes(character))
    for character in word
  )
  return f"$'{''.join(escaped)}'"


def safe(text: str) -> str:
  """Returns a text as it is printed; its lines stay lines."""
  return _IN_A_TEXT.sub(_escaped, _read(text))


def line(message: object) -> str:
  """Returns a message, or an error's, as it is printed in one line."""
  return safe(" ".join(str(message).split()))


def prepare() -> None:
  """Has this process print what its terminal lacks with backslashes.

  Also in logs, where paths are shown as names. Binary output stays as it is.
  """
  for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):  # not what a test or a notebook has
      stream.reconfigure(errors="backslashreplace")
  logging.setLogRecordFactory(_Record)


class _Record(logging.LogRecord):
  """One message of a log, whoever logs it."""

  def getMessage(self) -> str:
    if isinstance(self.args, tuple):
      self.args = tuple(
        shown(word) if isinstance(word, os.PathLike) else word
        for word in self.args
      )
    return safe(super().getMessage())


def _read(name: str | bytes) -> str:
  """Reads bytes as UTF-8, also those that Python has read as ASCII."""
  if isinstance(name, str):
    try:
      name = _bytes(name)
    except UnicodeEncodeError:  # other halves, as JSON may have them
      return name
  return name.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
  return text.encode("utf-8", "surrogateescape")


def _escaped(match: re.Match[str]) -> str:
  character = match[0]
  if "\udc80" <= character <= "\udcff":
    return f"\\x{ord(character) - 0xDC00:02x}"
  return character.encode("unicode_escape").decode()
