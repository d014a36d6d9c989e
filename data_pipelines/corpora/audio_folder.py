"""Any folder of audio files as a dataset: finds them and groups them.

A group is what must not be spread over splits: by default the files of one
folder. Which split it goes to depends on nothing but its name.
"""

import functools
import pathlib
import re
from collections.abc import Callable

from soundstream_jax import errors
from soundstream_jax.audio import folders
from soundstream_jax.data_pipelines import corpus, layout

FLAGS = ("group_by",)
_KINDS = (*corpus.KINDS, "audio")


def describe(kind: str | None, *, group_by: str) -> corpus.Corpus:
  """Returns the dataset that any folder is.

  Args:
    kind: one of corpus.KINDS, or 'audio', the default, for whatever it is.
    group_by: see `grouping`.

  Raises:
    InputError: another kind, or a `group_by` that is none.
  """
  if kind is not None and kind not in _KINDS:
    raise errors.InputError(
      f"--kind={kind} is none of {', '.join(_KINDS)}."
      f"{errors.nearest(kind, _KINDS)}"
    )
  grouping(group_by)  # archives take hours until it is used
  return corpus.Corpus(
    name="audio_folder",
    title="",
    kind=kind or "audio",
    homepage="",
    licence="",
    version="",
    citation="",
    sample_rate_hz=0,
    hours=0.0,
    splits=f"By the name of the group (--group_by={group_by}).",
    find=functools.partial(find, group_by=group_by),
    more_groups=corpus.MORE_GROUPS_BY_FLAGS,
  )


def find(root: pathlib.Path, *, group_by: str) -> list[corpus.File]:
  """Returns the audio files below the folder in path order.

  Symbolic links are followed; hidden files and folders are passed over.

  Raises:
    InputError: no audio in the folder, or a `group_by` that does not fit.
  """
  group_of = grouping(group_by)
  walked = folders.walk(root)
  files = []
  for path in walked.files:
    name = layout.decoded(path.relative_to(root).as_posix())
    size_bytes = path.stat().st_size
    files.append(corpus.File(path, name, group_of(name), size_bytes))
  layout.tell_left_out(walked)
  if not files:
    raise errors.InputError(
      f"--input={root} has no audio files; it has "
      f"{folders.seen(walked.others)}."
    )
  return sorted(files, key=lambda file: file.name)


def grouping(group_by: str) -> Callable[[str], str]:
  """Returns the function file name -> group.

  Args:
    group_by: 'parent', 'file', 'depth:N', or a regular expression with one
      group that is searched in the name.

  Raises:
    InputError: none of these. The returned function raises it for a name in
      which the expression is not found.
  """
  if group_by == "parent":
    return lambda name: name.rpartition("/")[0] or "."
  if group_by == "file":
    return lambda name: name
  if group_by.startswith("depth:"):
    depth = group_by.removeprefix("depth:")
    if not depth.isdecimal() or int(depth) < 1:
      raise errors.InputError(
        f"--group_by={group_by}: the depth must be a whole number of at least "
        "1, for example depth:1 for the folders directly below --input."
      )
    return lambda name: "/".join(name.split("/")[:-1][: int(depth)]) or "."
  try:
    pattern = re.compile(group_by)
  except re.error as error:
    raise errors.InputError(
      f"--group_by={group_by} is not a regular expression ({error}). Use "
      "parent, file, depth:N, or an expression such as '(speaker[0-9]+)'."
    ) from None
  if pattern.groups != 1:
    near = errors.nearest(group_by, ("parent", "file", "depth:1"))
    raise errors.InputError(
      f"--group_by={group_by} has {pattern.groups} groups, not one.{near} Use "
      "parent, file, depth:N, or an expression such as '(speaker[0-9]+)'."
    )

  def search(name: str) -> str:
    match = pattern.search(name)
    if match is None or not match[1]:
      raise errors.InputError(
        f"--group_by={group_by} finds no group in {name!r}. Change the "
        "expression so that it matches every file's path below --input."
      )
    return match[1]

  return search
