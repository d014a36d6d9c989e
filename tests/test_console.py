"""Laws of printing names: one printable line, whatever bytes they are."""

import io
import logging
import os
import pathlib
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundstream_jax import console, errors

# What a terminal obeys, what turns the direction, what is no text.
ODD = ["a\nb", "\x1b[31m", "\r", "\u202eabc", "\u200f", "\x9b1m", "\udcff", "ü"]
NAMES = st.binary(min_size=1).map(
  lambda name: os.fsdecode(name.replace(b"\0", b"\n"))
)


def harmless(text):
  return text.encode() is not None and not any(
    unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")
    or unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "PDF")
    for c in text
  )


@given(NAMES)
def test_any_name_is_shown_in_one_harmless_line(name):
  assert harmless(console.shown(name))
  assert harmless(console.shown(os.fsencode(name)))


@pytest.mark.parametrize("name", ["a b.wav", "ü.wav", "音.wav", "a\\b", "~"])
def test_an_ordinary_name_is_shown_as_it_is(name):
  assert console.shown(name) == console.safe(name) == name
  assert console.shown(pathlib.PurePath(name)) == name


def test_what_is_no_text_is_shown_as_the_byte_that_it_is():
  assert console.shown("\udcff\n\x1b") == "\\xff\\n\\x1b"
  # Read as ASCII, where no locale is set, and as JSON may have it.
  assert console.shown("\udcc3\udcbc") == "ü"
  assert console.shown("\ud800") == "\\ud800"


def test_the_lines_of_a_text_stay_and_what_is_in_them_is_harmless():
  assert console.safe("a\n\tb\x1b\u202e\udcff") == "a\n\tb\\x1b\\u202e\\xff"


def test_bash_reads_a_quoted_word_as_it_was():
  words = [*ODD, "a b'c\"d$e\\", "\udcffa1", "x\n'\\", ""]
  quoted = " ".join(map(console.quoted, words))
  assert harmless(quoted)
  done = subprocess.run(
    ["bash", "-c", f"printf '%s\\0' {quoted}"], capture_output=True, check=True
  )
  assert done.stdout == b"".join(os.fsencode(word) + b"\0" for word in words)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("name", ["\udcff", "ü.wav", "音"])
def test_a_command_prints_any_name_on_any_terminal(name, encoding, monkeypatch):
  out, err = io.BytesIO(), io.BytesIO()
  for stream, target in (("stdout", out), ("stderr", err)):
    monkeypatch.setattr(
      sys, stream, io.TextIOWrapper(target, encoding=encoding)
    )
  code = errors.run(lambda: print(name) or print(name, file=sys.stderr))
  sys.stderr.flush()
  assert code == 0
  printed = name.encode(encoding, "backslashreplace") + b"\n"
  assert out.getvalue() == err.getvalue() == printed


@pytest.mark.parametrize("name", ODD)
def test_an_error_is_one_line_whatever_name_is_in_it(name, capsys):
  def fail():
    raise errors.InputError(f"{name}: no.")

  assert errors.run(fail) == 2
  (line,) = capsys.readouterr().err.split("\n")[:-1]
  assert harmless(line)


@pytest.mark.parametrize("name", ODD)
def test_a_line_of_a_log_is_one_line(name, caplog, monkeypatch):
  monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
  console.prepare()
  logging.getLogger("any").warning("resuming %s at %d", pathlib.Path(name), 3)
  (record,) = caplog.records
  assert record.getMessage() == f"resuming {console.shown(name)} at 3"
