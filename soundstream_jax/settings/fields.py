"""Fields by dotted name, in nested mappings and nested frozen dataclasses."""

import dataclasses
import operator
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from soundstream_jax import errors


def build(kind: type, values: Any, prefix: str = ""):
  """Returns the dataclass `kind`, whose defaults say every field's type.

  Args:
    values: nested mapping; fields that it lacks keep their defaults.
    prefix: of the names in messages, with a dot at its end.

  Raises:
    InputError: an unknown field or a value of another type.
  """
  if not isinstance(values, Mapping):
    group = f"config.{prefix}".rstrip(".")
    raise errors.InputError(f"{group}={values!r} is not a group of fields.")
  fields = {field.name: field for field in dataclasses.fields(kind)}
  built = {}
  for name, value in values.items():
    if name not in fields:
      raise errors.InputError(
        f"config has no field {prefix}{name}.{errors.nearest(name, fields)}"
      )
    preset = fields[name].default
    if dataclasses.is_dataclass(preset):
      built[name] = build(type(preset), value, f"{prefix}{name}.")
    else:
      like = preset if preset != () else _one_item(fields[name])
      built[name] = _typed(value, like, f"{prefix}{name}")
  return kind(**built)


def get(config: Any, name: str) -> Any:
  """Returns the field of a dataclass at a dotted name."""
  return operator.attrgetter(name)(config)


def walk(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
  """Yields (dotted name, value) of every field below a dataclass."""
  for field in dataclasses.fields(group):
    value = getattr(group, field.name)
    if dataclasses.is_dataclass(value):
      yield from walk(value, f"{prefix}{field.name}.")
    else:
      yield f"{prefix}{field.name}", value


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
  """Returns dotted name -> value of nested dicts or ConfigDicts."""
  flat = {}
  for name, value in values.items():
    if isinstance(value, dict | ml_collections.ConfigDict):
      flat |= flatten(value, f"{prefix}{name}.")
    else:
      flat[f"{prefix}{name}"] = value
  return flat


def _one_item(field: dataclasses.Field) -> tuple[Any]:
  """Returns a tuple as a field has it whose default is an empty one."""
  return (typing.get_args(field.type)[0](),)


def _typed(value: Any, preset: Any, name: str) -> Any:
  """Returns value in the type of the default, or raises InputError."""
  wanted = type(preset)
  if wanted is tuple and isinstance(value, list | tuple):
    return tuple(
      _typed(item, preset[0], f"{name}[{i}]") for i, item in enumerate(value)
    )
  if wanted is float and type(value) is int:
    return float(value)
  if type(value) is not wanted:
    raise errors.InputError(
      f"{name}={value!r} is of type {type(value).__name__}; it must be "
      f"{wanted.__name__}."
    )
  return value
