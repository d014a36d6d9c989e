"""Files appear whole or not at all, and nothing of ours is written otherwise."""

import ast
import os
import pathlib
import threading

import pytest

from soundstream_jax import endings, errors, whole_files

ROOT = pathlib.Path(__file__).parents[1]

# Functions that write to a path, and which of their arguments it is.
FUNCTIONS = {
  "json.dump": 1,
  "np.save": 0,
  "np.savez": 0,
  "np.savez_compressed": 0,
  "soundfile.write": 0,
}
# Methods of a path.
METHODS = ("write_text", "write_bytes", "touch")
# Injects faults into runs in folders of its own.
INJECTS = "benchmarks/faults/"
# (file, function): why its files need no other name.
OTHERS = {
  ("soundstream_jax/whole_files.py", "opened"): "the helper",
  ("soundstream_jax/folder_lock.py", "_locked"): "a lock",
  ("soundstream_jax/devices/distributed.py", "check_shared"): "an empty file",
  ("soundstream_jax/checkpoint/folder.py", "pin"): "an empty file",
  ("soundstream_jax/devices/distributed.py", "write"): "an empty file",
  ("soundstream_jax/train/monitoring/log_files.py", "open"): "a log",
  ("soundstream_jax/train/monitoring/log_files.py", "_new"): "a log",
  ("launch/sweep/work.py", "start"): "a log",
  ("soundstream_jax/evaluate/measuring/store.py", "add"): "a log",
  ("soundstream_jax/evaluate/measuring/store.py", "_read"): "a log",
  ("soundstream_jax/export/folder.py", "_staged"): "a temporary folder",
  ("soundstream_jax/export/golden.py", "to_bytes"): "memory",
  ("soundstream_jax/evaluate/report/drawing.py", "svg"): "memory",
  ("soundstream_jax/evaluate/report/sounds.py", "_read"): "memory",
  ("soundstream_jax/evaluate/systems/opus.py", "_wav"): "memory",
  ("soundstream_jax/metrics/perceptual/visqol.py", "_no_words_of_libraries"): (
    "nowhere"
  ),
  ("data_pipelines/preparation/archives.py", "_copy"): "a folder with a marker",
  ("data_pipelines/debian/unpack.py", "split_cat"): "a folder that is renamed",
  ("data_pipelines/debian/unpack.py", "_write"): "a folder that is renamed",
  ("data_pipelines/preparation/assemble.py", "_save_bandwidths"): "memory",
  ("benchmarks/gpu/running.py", "_start"): "a log",
  ("benchmarks/same_programs/__main__.py", "_start"): "for its children",
  ("benchmarks/same_programs/probe.py", "_examine"): "for its parent",
  ("benchmarks/same_programs/probe.py", "_save"): "for its parent",
  ("benchmarks/sides.py", "save"): "a temporary folder",
  ("benchmarks/pytorch/worker.py", "reconstruct"): "a temporary folder",
}


def full(*_):
  raise OSError(28, "No space left on device")


@pytest.fixture
def path(tmp_path):
  return tmp_path / "file.json"


def names(folder):
  return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_there_when_the_block_ends_and_not_before(path):
  path.write_text("old")
  with whole_files.written(path) as partial:
    partial.write_text("new")
    assert path.read_text() == "old"
    assert partial.parent == path.parent
    assert endings.unfinished == {str(partial)}
  assert path.read_text() == "new"
  assert names(path.parent) == ["file.json"]
  assert not endings.unfinished


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_fails_leaves_the_old_file_and_nothing_else(path, error):
  path.write_text("old")
  with pytest.raises(error), whole_files.opened(path) as file:
    file.write(b"half")
    raise error
  assert path.read_text() == "old"
  assert names(path.parent) == ["file.json"]
  assert not endings.unfinished


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_line_and_leaves_nothing(path, monkeypatch, call):
  monkeypatch.setattr(whole_files.os, call, full)
  with pytest.raises(
    errors.DiskError, match=r"file\.json could not .* MB free"
  ):
    whole_files.write(path, "text")
  assert names(path.parent) == []


def test_a_file_system_that_cannot_sync_is_no_full_one(path, monkeypatch):
  def cannot(_):
    raise OSError(22, "Invalid argument")

  monkeypatch.setattr(whole_files.os, "fsync", cannot)
  whole_files.write(path, "text")
  assert path.read_text() == "text"


def test_a_folder_that_is_not_there_is_a_mistyped_path(tmp_path):
  (tmp_path / "file").write_text("")
  for place in (tmp_path / "none", tmp_path / "file"):
    with pytest.raises(
      errors.InputError, match=f"cannot be written to {place}"
    ):
      whole_files.write(place / "a", b"")


def test_many_that_write_one_file_leave_one_whole_file(path):
  texts = [str(number) * 100_000 for number in range(8)]
  writers = [
    threading.Thread(target=whole_files.write, args=(path, text))
    for text in texts
  ]
  for writer in writers:
    writer.start()
  for writer in writers:
    writer.join()
  assert path.read_text() in texts
  assert names(path.parent) == ["file.json"]


def test_the_longest_name_can_be_written(tmp_path):
  path = tmp_path / ("ü" * 127)  # 254 bytes
  whole_files.write(path, b"x")
  assert path.read_bytes() == b"x"


def test_a_link_stays_and_what_is_no_file_is_written_as_it_is(tmp_path):
  (tmp_path / "there").mkdir()
  link = tmp_path / "link"
  link.symlink_to(tmp_path / "there/file")
  whole_files.write(link, "through")
  assert link.is_symlink() and link.read_text() == "through"
  os.mkfifo(tmp_path / "pipe")
  heard = []
  reader = threading.Thread(
    target=lambda: heard.append((tmp_path / "pipe").read_bytes())
  )
  reader.start()
  with whole_files.replacing(tmp_path / "pipe") as partial:
    partial.write_bytes(b"sound")
  reader.join()
  assert heard == [b"sound"]
  with whole_files.replacing("/dev/null") as partial:
    assert str(partial) == "/dev/null"


def _sources():
  for folder in ("soundstream_jax", "data_pipelines", "launch", "benchmarks"):
    for path in sorted((ROOT / folder).rglob("*.py")):
      yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def direct_writes(tree):
  """Yields (function, line) of writes to a path that no helper of ours gave."""
  given = {
    item.optional_vars.id
    for node in ast.walk(tree)
    if isinstance(node, ast.With)
    for item in node.items
    if isinstance(item.optional_vars, ast.Name)
    and ast.unparse(item.context_expr).startswith("whole_files.")
  }
  for function in ast.walk(tree):
    if not isinstance(function, ast.FunctionDef):
      continue
    for node in ast.walk(function):
      if isinstance(node, ast.Call) and _writes_to(node) not in (None, *given):
        yield function.name, node.lineno


def _writes_to(call):
  """Returns what a call writes to, as source; None if it writes nothing."""
  function = ast.unparse(call.func)
  name = function.rpartition(".")[2]
  if name == "open":
    method = not function.startswith(("open", "io.", "os.", "wave."))
    mode = [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
    mode = mode[0 if method else 1 :]
    modes = [m.value for m in mode if isinstance(m, ast.Constant)]
    if any(isinstance(m, str) and set(m) & set("wax+") for m in modes):
      return function[: -len(".open")] if method else ast.unparse(call.args[0])
    return None
  if function in FUNCTIONS:
    return ast.unparse(call.args[FUNCTIONS[function]])
  if name in METHODS:
    return function.rpartition(".")[0]
  return ast.unparse(call.args[0]) if name == "savefig" else None


def test_every_file_is_written_by_the_helper():
  found = {
    (file, function): line
    for file, tree in _sources()
    for function, line in direct_writes(tree)
  }
  assert {
    (file, function): line
    for (file, function), line in found.items()
    if (file, function) not in OTHERS and not file.startswith(INJECTS)
  } == {}
  assert OTHERS.keys() <= found.keys()


@pytest.mark.parametrize(
  "line",
  [
    "open(path, 'w')",
    "open(path, mode='ab')",
    "path.open('x')",
    "path.write_text(text)",
    "np.save(path, array)",
    "figure.savefig(path, dpi=3)",
    "soundfile.write(path, audio, 1)",
    "json.dump(value, path)",
  ],
)
def test_a_direct_write_is_seen(line):
  tree = ast.parse(f"def f():\n  {line}")
  assert list(direct_writes(tree)) == [("f", 2)]
  whole = ast.parse(
    f"def f():\n  with whole_files.written(p) as path:\n    {line}"
  )
  assert list(direct_writes(whole)) == []


def test_reading_is_no_write():
  tree = ast.parse("def f():\n  open(path, 'rb')\n  path.open()\n  open(path)")
  assert list(direct_writes(tree)) == []
