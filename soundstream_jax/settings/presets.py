"""Presets by name, and the --config flags that choose and change them.

A preset is a Python file with get_config() -> ConfigDict. `--config=NAME`
chooses one, `--config.a.b=value` changes a field; a flag that does not fit ends
the command in one line, where absl and ml_collections print a traceback or a
page of usage.
"""

import ast
import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import re
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags

from soundstream_jax import errors, paths
from soundstream_jax.settings import constraints, fields, numbers

_CONFIG_FLAG = re.compile(r"--?config(?:\.([^=]*))?(?:=(.*))?", re.DOTALL)
_BOOLEANS = {
  **dict.fromkeys(("true", "1", "yes", "on"), True),
  **dict.fromkeys(("false", "0", "no", "off"), False),
}


def preset_files() -> dict[str, pathlib.Path]:
  """Returns the shipped presets, name -> file, in the order of their names."""
  spec = importlib.util.find_spec("soundstream_jax.configs")
  folder = pathlib.Path(spec.origin).parent
  return {
    path.stem: path
    for path in sorted(folder.glob("*.py"))
    if not path.stem.startswith("_")
  }


def load(name: str) -> ml_collections.ConfigDict:
  """Returns the ConfigDict of a shipped preset name or of a Python file.

  A shipped name ("tiny") is the installed configs/NAME.py; anything that ends
  in .py or contains a path separator is a file. Either defines `get_config()`.
  `~` in its fields that are paths is expanded.

  Raises:
    InputError: no such preset or file, with the nearest name, or a file that
      is no preset.
  """
  flag = f"--config={paths.expand(name)}"
  module = read_module(
    name, preset_files(), flag=flag, kind="preset", defines="get_config()"
  )
  config = module.get_config() if hasattr(module, "get_config") else None
  if not isinstance(config, ml_collections.ConfigDict):
    raise errors.InputError(
      f"{flag}: the file defines no get_config() that returns a "
      "ConfigDict. Start from soundstream_jax.config.default()."
    )
  expand_paths(config, flag=flag)
  return config


def read_module(
  name: str,
  shipped: Mapping[str, pathlib.Path],
  *,
  flag: str,
  kind: str,
  defines: str,
) -> types.ModuleType:
  """Runs a Python file by a shipped name or by its path; returns its module.

  Args:
    name: a key of `shipped`, or what ends in .py or has a path separator.
    shipped: name -> file.
    flag: that named it, for messages.
    kind: of file, for messages.
    defines: the function that it has to define, for messages.

  Raises:
    InputError: no such name, with the nearest, or file; or one that is not
      Python.
  """
  name = paths.expand(name)
  if name.endswith(".py") or os.sep in name:
    path = pathlib.Path(name)
    if not paths.readable(flag, path):
      raise errors.InputError(f"{flag}: there is no such file.")
    if path.suffix != ".py" or path.is_dir():
      raise errors.InputError(
        f"{flag} is not a Python file. Give a {kind}'s name or a .py "
        f"file that defines {defines}."
      )
  else:
    if name not in shipped:
      raise errors.InputError(
        f"{flag} is not a {kind}.{errors.nearest(name, shipped)} "
        f"{kind.capitalize()}s: {', '.join(shipped)}; or give a path to a .py "
        "file."
      )
    path = shipped[name]
  spec = importlib.util.spec_from_file_location(f"soundstream_{kind}", path)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except SyntaxError as error:
    raise errors.InputError(
      f"{flag}: line {error.lineno} is not Python ({error.msg})."
    ) from None
  return module


def expand_paths(config: ml_collections.ConfigDict, *, flag: str) -> None:
  """Expands `~` in the fields that are paths.

  Raises:
    InputError: there is no such home; begins with the flag and the field.
  """
  for key, text in fields.flatten(config).items():
    if key in constraints.PATHS and isinstance(text, str) and "~" in text:
      found = _expanded(key, text, flag=f"{flag}: {key}")
      config.update_from_flattened_dict({key: found})


def override(config: ml_collections.ConfigDict, key: str, text: str) -> None:
  """Sets config.key from the text of a flag, converted to the field's type.

  Raises:
    InputError: unknown key (with the nearest one) or text of another type.
  """
  flat = fields.flatten(config)
  if key not in flat:
    raise errors.InputError(
      f"--config.{key}: there is no such field.{errors.nearest(key, flat)}"
    )
  present = flat[key]
  if key in fields.ONE_OR_SEVERAL:
    present = () if text.lstrip().startswith(("(", "[")) else 0
  try:
    value = _parse(text, present)
    if key in constraints.PATHS:
      value = _expanded(key, text, flag=f"--config.{key}")
  except errors.InputError:
    raise
  except (ValueError, SyntaxError, TypeError):
    raise errors.InputError(
      f"--config.{key}={text} is not {numbers.example(text, type(present))}. The present "
      f"value is {flat[key]!r}."
    ) from None
  # A preset may hold 1 where the field is a float; the type is checked later.
  with config.ignore_type():
    config.update_from_flattened_dict({key: value})


def parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses absl flags and keeps the `--config*` ones for `given`.

  For `app.run(main, flags_parser=config.parse_flags)`. A flag error is one
  line and exit code 2, with the nearest flag's name. `--help` is no error, and
  may be read by a `head` that leaves.
  """
  parsed = []

  def parse() -> None:
    # absl prints help while it parses, and ends with an error's code.
    with contextlib.suppress(SystemExit):
      parsed.append(read(argv, flags.FLAGS))

  code = errors.run(parse)
  if not parsed:
    sys.exit(code)
  positional, found = parsed[0]
  _GIVEN.name, _GIVEN.overrides = found.name, found.overrides
  return positional


@dataclasses.dataclass
class Given:
  """The --config flags of a command line."""

  name: str | None = None  # of --config itself
  # (field, text) of every --config.field
  overrides: list[tuple[str, str]] = dataclasses.field(default_factory=list)


# Those of this process; absl keeps its own flags the same way.
_GIVEN = Given()


def given() -> Given:
  """Returns the --config flags of this process."""
  return _GIVEN


def read(
  argv: Sequence[str], values: flags.FlagValues
) -> tuple[list[str], Given]:
  """Parses a command line into `values` and the --config flags.

  Returns:
    ([argv[0]], the --config flags).

  Raises:
    InputError: a flag that `values` does not have, with the nearest one, a
      value of another type, or a word that is no flag.
  """
  found = Given()
  try:
    # Files named by --flagfile may hold --config flags too.
    arguments = values.read_flags_from_files(list(argv[1:]))
    positional = values([argv[0], *_take_config_flags(arguments, found)])
  except flags.UnrecognizedFlagError as error:
    raise errors.InputError(
      f"there is no flag --{error.flagname}."
      f"{errors.nearest(error.flagname, values)} --help lists them."
    ) from None
  except flags.Error as error:
    raise numbers.flag_error(error) from None
  if len(positional) > 1:
    raise errors.InputError(
      f"unexpected argument {positional[1]!r}; options are written "
      "--name=value."
    )
  return positional, found


def _take_config_flags(arguments: Sequence[str], found: Given) -> list[str]:
  """Moves the --config flags to `found`; returns the other arguments."""
  rest, waiting = [], list(arguments)
  while waiting:
    argument = waiting.pop(0)
    if argument == "--":
      return [*rest, argument, *waiting]
    match = _CONFIG_FLAG.fullmatch(argument)
    if match is None:
      rest.append(argument)
      continue
    key, text = match.groups()
    if text is None:
      if not waiting or waiting[0].startswith("--"):
        raise errors.InputError(
          f"{argument} has no value. Write {argument}=VALUE."
        )
      text = waiting.pop(0)
    if key is None:
      found.name = text
    else:
      found.overrides.append((key, text))
  return rest


def _expanded(key: str, text: str, *, flag: str) -> str:
  """Returns the text of a field that is a path, or several, with `~` expanded.

  Raises:
    InputError: there is no such home; begins with the flag.
  """
  several = key in constraints.SOURCES
  try:
    return paths.expand_each(text) if several else paths.expand(text)
  except errors.InputError as error:
    raise errors.InputError(f"{flag}={text}: {error}") from None


def _parse(text: str, present: Any) -> Any:
  """Reads the text of a flag as the type of the present value.

  Raises:
    ValueError, SyntaxError, TypeError: the text is of another type.
  """
  if isinstance(present, str):
    return text
  if isinstance(present, bool):
    if text.lower() not in _BOOLEANS:
      raise ValueError(text)
    return _BOOLEANS[text.lower()]
  if isinstance(present, int):
    return numbers.whole(text)
  if isinstance(present, float):
    return float(text)
  value = ast.literal_eval(text)
  if not isinstance(value, list | tuple):
    raise ValueError(text)
  return tuple(value)
