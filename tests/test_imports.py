"""Laws of the package's shape: who imports whom, and what importing does.

The house, floor by floor; this picture is the law that is tested. A module
imports from its own floor and from those below: no arrow leads upward.

    evaluate   cli
       |
     export
       |
     codec
       |
     train
       |
    checkpoint
       |
    losses     metrics
       |
     model
       |
    convolution
       |
     audio      data      devices
       |
    config     precision   rng
       |
     rates     settings
       |
    whole_files     folder_lock
       |
    errors   console   paths   os_signals   endings   caches

The leaves configs, launch and data_pipelines stand beside the house: they
import from every floor, and nobody imports them.
"""

import ast
import functools
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = "soundstream_jax"
LEAVES = ("configs", "launch", "data_pipelines")

# From the ground floor up.
FLOORS = [
  set(line.split())
  for line in reversed(re.findall(r"^ {4,}([a-z_ ]+)$", __doc__, re.MULTILINE))
]
RANK = {room: rank for rank, rooms in enumerate(FLOORS) for room in rooms}

# Modules of a folder, __init__ left out, and lines of a file.
MOST_MODULES = 18
MOST_LINES = 350

# Beyond the floors: importer -> rooms that it never sees.
STRANGERS = {
  "model": {"data"},
  "losses": {"model", "data"},
  "metrics": {"model", "data", "losses"},
  "codec": {"train"},
  "export": {"train", "data", "losses"},
  "cli": {"train", "evaluate"},
  "evaluate": {"train", "cli"},
}

# Reading these runs code that a file brings along.
UNSAFE = {"pickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve"}


def module_files():
  """Returns module name -> file; leaves are inside the package."""
  folders = {PACKAGE: ROOT / PACKAGE}
  folders |= {f"{PACKAGE}.{leaf}": ROOT / leaf for leaf in LEAVES}
  return {
    ".".join(
      (name, *path.relative_to(folder).with_suffix("").parts)
    ).removesuffix(".__init__"): path
    for name, folder in folders.items()
    for path in sorted(folder.rglob("*.py"))
  }


FILES = module_files()


@functools.cache
def tree_of(name):
  return ast.parse(FILES[name].read_text())


@functools.cache
def imports_of(name):
  """Returns the names of what a module imports, anywhere in its file.

  `from a import b` is "a.b" where that is a module of ours, else "a".
  """
  found = set()
  for node in ast.walk(tree_of(name)):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{name}: relative import"
      for alias in node.names:
        inner = f"{node.module}.{alias.name}"
        found.add(inner if inner in FILES else node.module)
  return frozenset(found)


def room_of(name):
  """Returns 'train' for soundstream_jax.train.loop, '' for the package."""
  return [*name.split("."), ""][1]


def own_imports(name):
  return {i for i in imports_of(name) if i.split(".")[0] == PACKAGE}


def closure(name):
  """Returns every module of ours that importing `name` needs."""
  found, waiting = set(), [name]
  while waiting:
    module = waiting.pop()
    if module not in found and module in FILES:
      found.add(module)
      waiting += own_imports(module)
  return found


def outside_imports(names):
  """Returns the top-level packages of others that the modules import."""
  return {i.split(".")[0] for name in names for i in imports_of(name)}


CORE = [name for name in FILES if room_of(name) not in ("", *LEAVES)]


def arrows_upward(imports):
  """Returns the pairs (importer, imported) that lead to a higher floor."""
  return [
    (name, imported)
    for name, imported in imports
    if RANK.get(room_of(imported), len(FLOORS)) > RANK[room_of(name)]
  ]


def test_the_picture_shows_every_room_and_no_other():
  assert "errors" in FLOORS[0] and FLOORS[-1] == {"evaluate", "cli"}
  rooms = {room_of(name) for name in CORE}
  assert rooms == set(RANK)
  assert len(RANK) == sum(map(len, FLOORS))


def test_no_arrow_leads_upward():
  assert (
    arrows_upward(
      (name, imported)
      for name in CORE
      for imported in own_imports(name) - {PACKAGE}
    )
    == []
  )


def test_an_arrow_upward_is_refused():
  up = (f"{PACKAGE}.model.encoder", f"{PACKAGE}.losses.objective")
  level = (f"{PACKAGE}.data.loader", f"{PACKAGE}.devices.host_memory")
  leaf = (f"{PACKAGE}.train.loop", f"{PACKAGE}.launch.demo")
  assert arrows_upward([up, level, up[::-1], leaf]) == [up, leaf]


def test_rooms_that_do_not_know_each_other_import_nothing_of_each_other():
  assert [
    (name, imported)
    for name in CORE
    for imported in own_imports(name)
    if room_of(imported) in STRANGERS.get(room_of(name), ())
  ] == []


def test_a_leaf_is_imported_by_nobody_but_itself():
  assert [
    (name, imported)
    for name in FILES
    for imported in own_imports(name)
    if room_of(imported) in LEAVES and room_of(imported) != room_of(name)
  ] == []


def test_a_leaf_is_never_imported_by_its_folders_name():
  assert outside_imports(FILES).isdisjoint({*LEAVES, "tests"})


def test_what_is_imported_from_the_package_is_a_module():
  assert [
    (name, f"{node.module}.{alias.name}")
    for name in FILES
    for node in ast.walk(tree_of(name))
    if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == PACKAGE
    for alias in node.names
    if f"{node.module}.{alias.name}" not in FILES
  ] == []


def test_every_file_says_what_it_is():
  docstrings = {name: ast.get_docstring(tree_of(name)) for name in FILES}
  assert [name for name, text in docstrings.items() if not text] == []
  # "What comes of a step" is a riddle; "Result of a step" is not.
  assert [n for n, text in docstrings.items() if text.startswith("What")] == []


def test_a_folder_has_few_modules():
  folders = [
    path.parent for path in FILES.values() if path.name != "__init__.py"
  ]
  assert {
    str(folder.relative_to(ROOT)): folders.count(folder)
    for folder in set(folders)
    if folders.count(folder) > MOST_MODULES
  } == {}


def test_a_file_is_short():
  lines = {name: len(FILES[name].read_text().splitlines()) for name in FILES}
  assert {n: count for n, count in lines.items() if count > MOST_LINES} == {}


def test_nothing_that_runs_code_from_a_file_is_imported():
  assert outside_imports(FILES).isdisjoint(UNSAFE)


def test_nothing_needs_tensorflow():
  assert "tensorflow" not in outside_imports(FILES)


def test_librosa_is_a_reference_of_the_tests_alone():
  assert outside_imports(FILES).isdisjoint({"librosa", "numba"})


def test_nothing_below_training_is_compiled_on_its_own():
  assert [
    (name, node.lineno)
    for name in CORE
    if RANK[room_of(name)] < RANK["train"]
    for node in ast.walk(tree_of(name))
    if isinstance(node, ast.Attribute) and node.attr in ("jit", "pjit", "pmap")
  ] == []


def test_only_the_gradients_see_model_and_losses():
  def sees_both(name):
    return {"model", "losses"} <= set(map(room_of, own_imports(name)))

  assert list(filter(sees_both, CORE)) == [f"{PACKAGE}.train.gradients"]


def test_importing_the_package_loads_nothing_of_it_and_no_jax():
  code = (
    f"import sys, {PACKAGE} as package; package.load\n"
    f"assert [m for m in sys.modules if m.startswith('{PACKAGE}.')] == []\n"
    "assert 'jax' not in sys.modules and 'numpy' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["examples", "shared_buffers", "source"])
def test_worker_processes_load_no_jax(name):
  needed = closure(f"{PACKAGE}.data.{name}")
  assert f"{PACKAGE}.data.{name}" in needed
  assert outside_imports(needed).isdisjoint({"jax", "flax", "optax"})


@pytest.mark.parametrize("room", ["codec", "export", "cli", "evaluate"])
def test_who_uses_a_model_loads_no_optimizer(room):
  modules = [name for name in CORE if room_of(name) == room]
  for name in modules:
    assert "optax" not in outside_imports(closure(name))


IMPORT_ALL = """
import importlib, sys
from absl import flags
for name in sys.argv[1:]:
  known = set(flags.FLAGS)
  importlib.import_module(name)
  # Two commands may each have a flag of the same name.
  for flag in set(flags.FLAGS) - known:
    delattr(flags.FLAGS, flag)
import numpy as np
from soundstream_jax import metrics
clips = np.ones((1, 4000, 1), np.float32)
metrics.measure(clips, clips, sample_rate_hz=24000)
# numba writes beside itself, or fails, when librosa is imported.
for name in ("tensorflow", "matplotlib", "librosa", "numba"):
  assert name not in sys.modules, name
"""


def test_importing_everything_touches_no_device_and_prints_nothing(tmp_path):
  # With no such platform, whatever asks jax for a device fails.
  done = subprocess.run(
    [sys.executable, "-c", IMPORT_ALL, *FILES],
    env=os.environ | {"JAX_PLATFORMS": "none_such"},
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
  assert list(tmp_path.iterdir()) == []
