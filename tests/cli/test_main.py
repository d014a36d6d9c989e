"""Laws of the command line `soundstream`: help, and mistakes in one line."""

import pathlib
import subprocess
import sys

import pytest

import soundstream_jax
from soundstream_jax.cli import __main__ as command
from soundstream_jax.cli import main


def test_mistyped_commands_and_options_name_the_nearest(refused):
  for argv, match in (
    ((), "no command. Use one of: encode, decode, transcode, stream, info,"),
    (("encdoe", "a", "b"), "Did you mean 'encode'?"),
    (("--vresion",), "Did you mean '--version'?"),
    (("encode", "a", "b", "--modle=c"), "Did you mean '--model'?"),
    (("encode", "a", "b"), "--model"),
    (("encode", "a", "b", "--model=c", "--bitrat=5"), "'--bitrate'?"),
    (("encode", "a", "--model=c"), "OUTPUT"),
    (("encode", "a", "b", "c", "--model=d"), "unexpected argument 'c'"),
    (("encode", "a", "b", "--model=c", "--bitrate=fast"), "number of bits/s"),
    (("encode", "a", "b", "--model=c", "--bitrate=nan"), "number of bits/s"),
    (("encode", "a", "b", "--model=c", "--step=-1"), "whole number"),
    (("encode", "a", "b", "--model=c", "--weights=best"), "'ema', 'raw'"),
    (("decode", "a", "b", "--model=c", "--rate=fast"), "'model', 'source'"),
    (
      ("encode", "-a.wav", "b", "--model=c"),
      "For a file of this name write ./-a",
    ),
    (("info", "-x.sstr"), "write ./-x.sstr, or -- before it"),
    (("encode", "a", "b", "--model=c", "--bitrate=3k"), "bits/s, as in 3000."),
    (("encode", "a", "b", "--model=c", "--bitrate=6 kbit/s"), "as in 6000."),
    (("info", "--", "-x.sstr"), "-x.sstr: "),
    (("info",), "FILE"),
    (("transcode", "a", "b"), "--bitrate"),
    (("pin", "--model=c"), "--step"),
  ):
    assert match in refused(*argv), argv


@pytest.mark.parametrize(
  "argv", [["--help"], ["--version"], ["encode", "--help"], ["info", "-h"]]
)
def test_help_and_version_print_and_succeed(argv, capsys):
  with pytest.raises(SystemExit) as stop:
    command.main(argv)
  assert stop.value.code == 0
  out, err = capsys.readouterr()
  assert err == ""
  if argv == ["--version"]:
    assert out == f"soundstream_jax {soundstream_jax.__version__}\n"
  else:
    assert out.startswith("usage: soundstream")


def test_a_command_is_one_module_with_its_flags_help_and_run():
  folder = pathlib.Path(main.__file__).parent
  found = {
    path.stem.replace("_", "-")
    for path in folder.glob("*.py")
    if "\ndef run(" in path.read_text()
  }
  assert found == set(main.COMMANDS)
  for name in main.COMMANDS:
    module = main.module_of(name)
    assert module.HELP and module.__doc__.startswith(f"`soundstream {name}`")
    assert callable(module.add_arguments)


def test_help_on_every_command_loads_no_jax():
  code = (
    "import sys\n"
    "from soundstream_jax.cli import main\n"
    "for argv in (['--help'], *([name, '-h'] for name in main.COMMANDS)):\n"
    "  try:\n"
    "    main.main(argv)\n"
    "  except SystemExit as stop:\n"
    "    assert stop.code == 0\n"
    "assert not {'jax', 'flax', 'soundfile', 'absl'} & set(sys.modules)"
  )
  subprocess.run(
    [sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL
  )


def test_info_and_usage_errors_load_no_jax(encoded):
  code = (
    "import sys\n"
    "from soundstream_jax.cli import __main__ as command\n"
    f"assert command.main(['info', {str(encoded)!r}]) == 0\n"
    "assert command.main(['encdoe']) == 2\n"
    "assert not {'jax', 'flax', 'soundfile', 'absl'} & set(sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
