"""Laws of paths that a user names: `~` is a home, in every flag and field."""

import argparse
import dataclasses
import errno
import inspect
import json
import os
import pathlib
import pwd
import re
import subprocess
import sys

import pytest

from benchmarks.export import __main__ as exports
from benchmarks.faults import __main__ as faults
from benchmarks.gpu import __main__ as gpu
from benchmarks.same_programs import __main__ as same_programs
from soundstream_jax import config as config_lib
from soundstream_jax import errors, paths
from soundstream_jax.checkpoint import folder as folder_lib
from soundstream_jax.cli import main as cli
from soundstream_jax.settings import constraints, presets

USER = pwd.getpwuid(os.getuid())
# What says of a flag, an argument or a field that it is a path.
SAYS = re.compile(
  r"\b(folders?|files?|dir|path|workdir|checkout|datasets? of|for the rows|"
  r"input|output|prepared datasets|where \S+ (\S+ )?goes|archives)\b",
  re.IGNORECASE,
)
# What speaks of files, and is none.
NO_PATHS = {"describe", "group_by", "kind", "take_over", "force"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
  (tmp_path / "home").mkdir()
  (tmp_path / "cwd").mkdir()
  monkeypatch.chdir(tmp_path / "cwd")
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  return str(tmp_path / "home")


def test_a_leading_tilde_is_the_home_and_no_other_is(home):
  assert paths.expand("~") == home
  assert paths.expand("~/") == f"{home}/"
  assert paths.expand("~/a/~/b") == f"{home}/a/~/b"
  for text in ("", "-", "a", "./~", "./~/a", "a~", "a/~", "/~", "auto"):
    assert paths.expand(text) == text


def test_a_tilde_with_a_user_is_that_users_home():
  assert paths.expand(f"~{USER.pw_name}/a") == f"{USER.pw_dir.rstrip('/')}/a"


def test_a_home_may_be_the_root(monkeypatch):
  monkeypatch.setenv("HOME", "/")
  assert paths.expand("~") == "/"
  assert paths.expand("~/a") == "/a"


@pytest.mark.parametrize("unset", ["", "relative", None])
def test_without_a_home_it_is_one_line(unset, monkeypatch):
  if unset is None:
    monkeypatch.delenv("HOME")
  else:
    monkeypatch.setenv("HOME", unset)
  # A container may run as a number that has no name.
  monkeypatch.setattr(paths.pwd, "getpwuid", {}.__getitem__)
  with pytest.raises(errors.InputError, match=r"has no home\. Set HOME"):
    paths.expand("~/a")


def test_an_empty_home_is_the_one_of_the_users_list(monkeypatch):
  monkeypatch.setenv("HOME", "")
  assert paths.home() == USER.pw_dir


@pytest.mark.parametrize("text", ["~no such user/a", "~\udcff", "~\n"])
def test_a_user_who_is_not_there_is_one_line(text):
  with pytest.raises(errors.InputError, match=r"there is no user .* \./~"):
    paths.expand(text)


def test_a_file_that_a_shells_pattern_found_is_that_file():
  pathlib.Path("~$a.wav").touch()
  assert paths.expand("~$a.wav") == "~$a.wav"


def test_each_of_several_paths_is_expanded(home):
  assert paths.expand_each("~/a:0.7, ~/b:0.3,c,./~") == (
    f"{home}/a:0.7, {home}/b:0.3,c,./~"
  )
  assert paths.expand_each("~:2,~") == f"{home}:2,{home}"
  pathlib.Path("x,~y").mkdir()
  assert paths.expand_each("x,~y") == "x,~y"


def test_a_path_holds_no_byte_0():
  for expand in (paths.expand, paths.expand_each):
    with pytest.raises(errors.InputError, match="byte 0"):
      expand("a\0b")


FLAGS_OF_ALL = """
import importlib, json, sys
from absl import app, flags, logging
found = []
def note(command, values, names):
  for name in names:
    flag = values[name]
    try:
      several = getattr(flag.parser, "several", False)
      value = flag.parser.parse("~/x,~/y" if several else "~/x")
    except (ValueError, TypeError):
      value = None
    found.append((command, name, flag.help, value))
for name in sys.argv[1:]:
  before = set(flags.FLAGS)
  module = importlib.import_module(name)
  own = set(flags.FLAGS) - before
  by_module = flags.FLAGS.find_module_defining_flag
  note(name, flags.FLAGS, [n for n in own if by_module(n) == name])
  for flag in own:
    delattr(flags.FLAGS, flag)
from soundstream_jax.data_pipelines import prepare
from soundstream_jax.data_pipelines.debian import fetch
from soundstream_jax.settings import training_flags
for name, values in (
  ("prepare", prepare.define_flags()),
  ("fetch", fetch.define_flags(["a"])),
  ("train", training_flags.define(flags.FlagValues())),
):
  note(name, values, list(values))
print(json.dumps(found))
"""
COMMANDS = [
  *("soundstream_jax.evaluate.__main__", "soundstream_jax.launch.check"),
  "soundstream_jax.evaluate.report.__main__",
  "soundstream_jax.evaluate.systems.__main__",
  "soundstream_jax.evaluate.compare",
  *("soundstream_jax.launch.demo", "soundstream_jax.launch.gke"),
  *("soundstream_jax.launch.local", "soundstream_jax.launch.slurm"),
  "soundstream_jax.launch.preflight.__main__",
  *(
    "soundstream_jax.launch.sweep.__main__",
    "soundstream_jax.launch.sweep.point",
  ),
  *("benchmarks.cpu", "benchmarks.data"),
  *("benchmarks.loop", "benchmarks.streaming", "benchmarks.frames"),
  "benchmarks.gpu_compiler",
]


def test_the_commands_with_flags_are_all_that_define_some():
  root = pathlib.Path(__file__).parents[1]
  defining = {
    str(path.relative_to(root))
    for folder in ("soundstream_jax", "launch", "data_pipelines", "benchmarks")
    for path in (root / folder).rglob("*.py")
    if re.search(r"(flags\.DEFINE_|path_flags\.define\()", path.read_text())
  }
  named = {
    name.replace("soundstream_jax.launch", "launch").replace(".", "/") + ".py"
    for name in COMMANDS
  }
  functions = {
    "data_pipelines/prepare.py",
    "data_pipelines/debian/fetch.py",
    "soundstream_jax/settings/path_flags.py",
    "soundstream_jax/settings/training_flags.py",
  }
  assert defining <= named | functions


def test_every_flag_that_is_a_path_knows_the_home(home):
  done = subprocess.run(
    [sys.executable, "-c", FLAGS_OF_ALL, *COMMANDS],
    capture_output=True,
    text=True,
    check=True,
    cwd=pathlib.Path(__file__).parents[1],
  )
  expanded, others = set(), set()
  for command, name, text, value in json.loads(done.stdout):
    # --config is read by presets.load, whose law is below.
    if name in ("config", *NO_PATHS) or not (
      SAYS.search(name) or SAYS.search(text)
    ):
      continue
    wanted = (f"{home}/x", f"{home}/x,{home}/y")
    (expanded if value in wanted else others).add(f"{command} --{name}")
  assert others == set()
  assert {"prepare --out", "prepare --input", "train --workdir"} <= expanded
  assert "soundstream_jax.launch.slurm --script" in expanded
  assert len(expanded) >= 15


@pytest.fixture
def parsers(monkeypatch):
  """Returns the parsers of every command that uses argparse."""
  found = [cli._parser(name) for name in cli.COMMANDS]

  def keep(parser, *_):
    found.append(parser)
    raise SystemExit

  monkeypatch.setattr(argparse.ArgumentParser, "parse_args", keep)
  for module in (exports, faults, gpu, same_programs):
    with pytest.raises(SystemExit):
      module._parse()
  return found


def test_every_argument_that_is_a_path_knows_the_home(parsers, home):
  seen = 0
  for parser in parsers:
    for action in parser._actions:
      words = f"{action.dest} {action.metavar} {action.help}"
      takes_one = action.nargs is None and action.choices is None
      if not (takes_one and SAYS.search(words)) or action.dest in NO_PATHS:
        continue
      seen += 1
      assert callable(action.type), f"{parser.prog} {action.dest}"
      assert str(action.type("~/x")) == f"{home}/x", (parser.prog, action.dest)
  assert seen >= 22


def test_a_home_that_is_not_there_is_one_line_of_a_command(capsys):
  assert cli.main(["info", "~no such user/a.sstr"]) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert "soundstream info: argument FILE: ~no such user: there is no" in line


def fields_that_are_paths():
  """Yields the fields of text whose comment or name says that they are paths."""
  for name, value in config_lib.walk(config_lib.Config()):
    if not isinstance(value, str):
      continue
    group, _, field = name.rpartition(".")
    kind = type(config_lib.get(config_lib.Config(), group)) if group else None
    lines = inspect.getsource(kind or config_lib.Config).splitlines()
    at = next(i for i, line in enumerate(lines) if f"  {field}: str" in line)
    text = lines[at]
    while lines[at - 1].lstrip().startswith("#"):
      text += lines[at - 1]
      at -= 1
    # 'FIRST:LAST' writes a trace into the workdir.
    if SAYS.search(text) and "WORKDIR/" not in text:
      yield name


def test_every_field_that_is_a_path_is_marked():
  named = {*fields_that_are_paths(), *constraints.SOURCES}
  assert named == set(constraints.PATHS)
  assert {"init_from", "compilation_cache", "data.sources"} <= named


@pytest.mark.parametrize("name", constraints.PATHS)
def test_every_field_that_is_a_path_knows_the_home(name, home, tmp_path):
  given = presets.Given("tiny", [(name, "~/x")])
  assert config_lib.get(config_lib.from_flags(given=given), name) == (
    f"{home}/x"
  )
  # In a file, which is itself in the home, too.
  pathlib.Path(home, "mine.py").write_text(
    "from soundstream_jax import config\n"
    "def get_config():\n"
    "  values = config.load('tiny')\n"
    f"  values.{name} = '~/x'\n"
    "  return values\n"
  )
  given = presets.Given("~/mine.py")
  assert config_lib.get(config_lib.from_flags(given=given), name) == (
    f"{home}/x"
  )


def test_each_source_of_a_configuration_knows_the_home(home):
  given = presets.Given("tiny", [("data.sources", "~/a:0.7,~/b:0.3")])
  config = config_lib.from_flags(given=given)
  assert config.data.sources == f"{home}/a:0.7,{home}/b:0.3"


def test_a_field_with_an_unknown_home_is_one_line_with_the_field():
  given = presets.Given("tiny", [("init_from", "~no such user/x")])
  with pytest.raises(errors.InputError, match=r"^--config\.init_from=~no such"):
    config_lib.from_flags(given=given)


def test_what_a_run_has_saved_is_taken_as_it_is():
  # Before `~` was expanded it was the name of a folder.
  saved = config_lib.to_dict(
    dataclasses.replace(config_lib.Config(), init_from="~/x")
  )
  assert config_lib.from_flags(saved, presets.Given()).init_from == "~/x"


@pytest.mark.parametrize("name", ["\udcff", "a\nb", "ü", "\x1b[31m", "\u202e"])
def test_a_resumed_run_finds_a_folder_of_any_name_again(name, tmp_path):
  data = dataclasses.replace(config_lib.Data(), sources=f"/{name}:2")
  config = dataclasses.replace(config_lib.Config(), data=data)
  folder_lib.write_config(tmp_path, config)
  text = (tmp_path / "config.json").read_bytes()
  assert text.isascii() and b"\x1b" not in text
  saved = folder_lib.read_config(tmp_path)
  assert config_lib.from_flags(saved, presets.Given()) == config


def test_a_path_that_is_not_utf_8_is_one_line(tmp_path):
  paths.check_text("--out=x", tmp_path / "ü\n\x1b")
  with pytest.raises(errors.InputError, match=r"^--out=\\xff: .* Rename it"):
    paths.check_text("--out=\udcff", tmp_path / "\udcff")


def test_a_read_only_disk_is_a_disks_error(tmp_path, monkeypatch):
  monkeypatch.setattr(paths.os, "access", lambda *_, **__: False)
  with pytest.raises(errors.InputError, match=os.strerror(errno.EACCES)):
    paths.check_writable_folder("--out=x", tmp_path / "new/x")

  class ReadOnly:
    f_flag, f_bavail, f_blocks, f_bfree, f_frsize = os.ST_RDONLY, 1, 1, 1, 1

  monkeypatch.setattr(paths.os, "statvfs", lambda path: ReadOnly)
  with pytest.raises(errors.DiskError, match=os.strerror(errno.EROFS)):
    paths.check_writable_folder("--out=x", tmp_path / "new/x")


def test_what_can_be_used_passes_and_nothing_is_made(tmp_path):
  paths.check_writable_folder("--out=x", tmp_path / "new/x")
  paths.check_writable_file("--json=x", tmp_path / "x")
  assert paths.readable("--in=x", tmp_path)
  assert not paths.readable("--in=x", tmp_path / "x")
  assert sorted(p.name for p in tmp_path.iterdir()) == ["cwd", "home"]
