"""Laws of what the package needs: declared, pinned, and the same everywhere."""

import ast
import functools
import importlib.metadata
import pathlib
import re
import subprocess
import sys

import pytest
from packaging import markers, requirements, utils

ROOT = pathlib.Path(__file__).parents[1]
CONSTRAINTS = "launch/constraints.txt"
# Beam wants older versions than the rest.
FILES = {CONSTRAINTS, "data_pipelines/constraints.txt"}
PACKAGE = ("soundstream_jax", "configs", "launch", "data_pipelines")

# What our own code imports of an extra, and only inside functions.
OPTIONAL = {"matplotlib": "plots", "apache-beam": "beam"}
OPTIONAL |= dict.fromkeys(
  ("pesq", "pystoi", "visqol-python", "zimtohrli"), "metrics"
)
OPTIONAL |= dict.fromkeys(("onnx", "onnxruntime"), "export-onnx")
OPTIONAL |= dict.fromkeys(("torch", "transformers"), "export-hf")
OPTIONAL |= dict.fromkeys(
  ("litert-converter", "ai-edge-litert", "ai-edge-quantizer"), "export-litert"
)
OPTIONAL |= {"flatbuffers": "export-stablehlo"}
# What is declared and not imported by our code, and why.
FOR_OTHERS = {"librosa": "the reference of the tests"}


def setup_arguments():
  """Returns the literal arguments of setup() in setup.py."""
  tree = ast.parse((ROOT / "setup.py").read_text())
  (call,) = (
    node
    for node in ast.walk(tree)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup"
  )
  return {
    word.arg: ast.literal_eval(word.value)
    for word in call.keywords
    if word.arg in ("install_requires", "extras_require")
  }


def names(lines):
  """Returns the distributions of requirements, in their normal form."""
  return {
    utils.canonicalize_name(requirements.Requirement(line).name)
    for line in lines
  }


SETUP = setup_arguments()
EXTRAS = {
  extra: names(lines) for extra, lines in SETUP["extras_require"].items()
}
NEEDED = names(SETUP["install_requires"])
DISTRIBUTIONS = importlib.metadata.packages_distributions()


def pins(name):
  """Returns the lines of a file of constraints."""
  lines = (ROOT / name).read_text().splitlines()
  return [requirements.Requirement(x) for x in lines if not x.startswith("#")]


def versions(name):
  """Returns distribution -> version, of this Python and this system."""
  return {
    utils.canonicalize_name(pin.name): next(iter(pin.specifier)).version
    for pin in pins(name)
    if pin.marker is None or pin.marker.evaluate()
  }


@functools.cache
def outside_imports(*folders):
  """Returns (file, name, inside a function) of what others' packages give."""
  ours = {path.stem for path in ROOT.glob("tests/*/*.py")}
  # Beside the processes that benchmarks.faults disturbs.
  ours |= {path.stem for path in ROOT.glob("benchmarks/faults/inside/*.py")}
  ours |= {*PACKAGE, "tests", "benchmarks", "examples"}
  ours |= sys.stdlib_module_names
  found = set()
  for folder in folders:
    for path in (ROOT / folder).rglob("*.py"):
      tree = ast.parse(path.read_text())
      inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
      }
      for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
          modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
          modules = [node.module]
        found |= {
          (str(path.relative_to(ROOT)), top, node in inside)
          for top in (module.split(".")[0] for module in modules)
          if top not in ours
        }
  return found


def distributions(module):
  """Returns who may bring a module, in normal form; it need not be here."""
  brought = DISTRIBUTIONS.get(module, [module])
  return {utils.canonicalize_name(name) for name in brought}


def undeclared(found, declared):
  return [
    (file, module)
    for file, module, _ in sorted(found)
    if declared.isdisjoint(distributions(module))
  ]


def test_what_the_package_imports_is_declared():
  found = outside_imports(*PACKAGE)
  assert {module for _, module, _ in found} > {"jax", "yaml", "orbax"}
  assert undeclared(found, NEEDED | set(OPTIONAL)) == []


def test_what_an_extra_brings_is_imported_inside_functions_only():
  for _, module, inside in outside_imports(*PACKAGE):
    for name in distributions(module) & set(OPTIONAL):
      assert inside, module
      assert name in EXTRAS[OPTIONAL[name]]


@pytest.mark.parametrize(
  ("folder", "extras"),
  [
    # Slow tests open exported models in what `make test-slow` installs.
    ("tests", ["test", "export-hf", "export-litert"]),
    ("benchmarks", ["bench"]),
  ],
)
def test_what_tests_and_benchmarks_import_is_declared(folder, extras):
  declared = NEEDED.union(*(EXTRAS[extra] for extra in extras))
  assert undeclared(outside_imports(folder), declared) == []


def test_what_is_declared_is_imported_or_has_a_reason():
  imported = {
    name
    for _, module, _ in outside_imports(*PACKAGE)
    for name in distributions(module)
  }
  assert NEEDED - imported == set(FOR_OTHERS)


def test_an_import_that_is_not_declared_is_found():
  found = {("a.py", "numpy", False), ("a.py", "rich", True)}
  assert undeclared(found, {"numpy"}) == [("a.py", "rich")]


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_line_of_the_constraints_is_one_version(name):
  for pin in pins(name):
    (only,) = pin.specifier
    assert (only.operator, pin.extras, pin.url) == ("==", set(), None), pin
  # One version for all Pythons, or of some Pythons alone.
  pinned = [utils.canonicalize_name(pin.name) for pin in pins(name)]
  assert len(pinned) == len(set(pinned))


@pytest.mark.parametrize("extra", ["", *SETUP["extras_require"]])
def test_every_declared_dependency_has_a_line_that_it_allows(extra):
  file = "data_pipelines" if extra == "beam" else "launch"
  found = versions(f"{file}/constraints.txt")
  lines = SETUP["extras_require"].get(extra, []) + SETUP["install_requires"]
  for requirement in map(requirements.Requirement, lines):
    version = found[utils.canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), (requirement, version)


def test_the_compiler_for_gpus_is_of_jaxs_version():
  pinned = versions(CONSTRAINTS)
  for part in ("jax-cuda12-plugin", "jax-cuda12-pjrt", "jaxlib"):
    assert pinned[part] == pinned["jax"]


def test_the_tests_run_with_the_versions_of_the_constraints():
  """All that is needed, and what that needs; `make` installs it so."""
  pinned = versions(CONSTRAINTS)
  waiting = [(name, frozenset()) for name in NEEDED | EXTRAS["test"]]
  seen = set()
  while waiting:
    name, extras = item = waiting.pop()
    if item in seen:
      continue
    seen.add(item)
    found = importlib.metadata.distribution(name)
    version = found.version.split("+")[0]
    assert pinned.get(name) == version, (
      f"{name} {version} is installed. Run `make test` to install what "
      f"{CONSTRAINTS} says, or `make constraints` to renew it."
    )
    for line in found.requires or ():
      requirement = requirements.Requirement(line)
      if wanted(requirement.marker, extras):
        inner = utils.canonicalize_name(requirement.name)
        waiting.append((inner, frozenset(requirement.extras)))
  assert len(seen) > 50


def wanted(marker: markers.Marker | None, extras) -> bool:
  return marker is None or any(
    marker.evaluate({"extra": extra}) for extra in (extras or {""})
  )


def test_make_the_image_and_the_tpu_vm_install_by_the_constraints():
  done = subprocess.run(
    ["make", "--dry-run", "--always-make", ".venv/.installed-test"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert "install -c launch/constraints.txt -e '.[test]'" in done.stdout
  guide = (ROOT / "launch/README.md").read_text()
  (image,) = re.findall(r"^ +COPY \. (\S+)\n +(RUN .*)$", guide, re.MULTILINE)
  folder, command = image
  assert command.startswith(
    f"RUN pip install -c {folder}/launch/constraints.txt "
  )
  assert f'"{folder}[tpu]"' in command


def test_make_says_in_one_line_that_python_is_too_old(tmp_path):
  old = tmp_path / "bin/python3"
  old.parent.mkdir()
  old.write_text(OLD_PYTHON.format(python=sys.executable))
  old.chmod(0o755)
  done = subprocess.run(
    ["make", "UV=", f"VENV={tmp_path / 'venv'}", f"{tmp_path}/venv/bin/python"],
    cwd=ROOT,
    env={"PATH": f"{old.parent}:/usr/bin:/bin"},
    capture_output=True,
    text=True,
    check=False,
  )
  said, *rest = done.stderr.splitlines()
  assert said == "python3 is 3.10.13; 3.11 or later is needed."
  assert len(rest) == 1 and rest[0].startswith("make: ***")
  assert not (tmp_path / "venv").exists()


# It runs what is given with -c, and nothing else.
OLD_PYTHON = """\
#!/bin/bash
[ "$1" = -c ] || exit 99
exec {python} -c '
import sys
sys.version_info, sys.version = (3, 10, 13, "final", 0), "3.10.13 (main)"
exec(sys.argv[1])' "$2"
"""
