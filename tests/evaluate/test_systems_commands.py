"""Laws of a codec that is two commands in a file, and of what it starts."""

import json
import os
import pathlib
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
import yaml

from soundstream_jax import errors
from soundstream_jax.evaluate import systems
from soundstream_jax.evaluate.systems import children, codec_file, commands

RATE_HZ = 24_000

# A codec of 8 bits a sample with a head of 4 bytes, which comes late.
TOY = """
import array, sys, wave
mode, given, wanted, late = sys.argv[1:]
if mode == "encode":
  with wave.open(given) as file:
    rate_hz = file.getframerate()
    sound = array.array("h", file.readframes(file.getnframes()))
  coded = bytes((sample >> 8) + 128 for sample in sound)
  open(wanted, "wb").write(rate_hz.to_bytes(4, "little") + coded)
else:
  coded = open(given, "rb").read()
  sound = array.array("h", [((b - 128) << 8) + 128 for b in coded[4:]])
  with wave.open(wanted, "wb") as file:
    file.setparams((1, 2, int.from_bytes(coded[:4], "little"), 0, "NONE", ""))
    file.writeframes(bytes(2 * int(late)) + sound.tobytes())
"""
PYTHON = f"{sys.executable} -I -S {{here}}/toy.py"
FIELDS = {
  "name": "toy",
  "settings": [8_000],
  "encode": f"{PYTHON} encode {{in}} {{out}} 0",
  "decode": f"{PYTHON} decode {{in}} {{out}} 0",
}


@pytest.fixture
def write(tmp_path, monkeypatch):
  """Returns a function (**fields) -> path of a codec's file; None drops one."""
  (tmp_path / "toy.py").write_text(TOY)
  (tmp_path / "temporary").mkdir()
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

  def write_it(**fields):
    fields = {k: v for k, v in (FIELDS | fields).items() if v is not None}
    path = tmp_path / "codec.json"
    path.write_text(json.dumps(fields))
    return str(path)

  yield write_it
  assert list((tmp_path / "temporary").iterdir()) == []


def only(path):
  (found,), missing = systems.baselines([], [path])
  assert missing == {}
  return pickle.loads(pickle.dumps(found))


@pytest.mark.parametrize(
  ("late", "rate_hz"),
  [(0, None), (0, RATE_HZ), (1_000, RATE_HZ), (1_000, 16_000)],
)
def test_two_commands_are_a_codec(late, rate_hz, write, syllables):
  system = only(
    write(
      sample_rate_hz=rate_hz,
      header_bytes=4,
      decode=f"{PYTHON} decode {{in}} {{out}} {late}",
      delay_samples=late,
    )
  )
  audio = syllables(0.5, RATE_HZ)
  coded = system.code(audio, sample_rate_hz=RATE_HZ)
  assert coded.payload_bits == 8 * len(audio) * (rate_hz or RATE_HZ) / RATE_HZ
  assert coded.audio.dtype == np.float32 and coded.audio.shape == audio.shape
  step = 1 / 127
  error = np.abs(coded.audio - audio)
  # Of 16 kHz, the band that it has.
  assert (error.max() < step) if rate_hz != 16_000 else (error.mean() < step)


def test_every_setting_is_a_system_with_its_places_filled(write, tmp_path):
  path = write(
    settings={"low": 1_500, "high": None},
    label="Toy",
    encode="echo {in} {out} {here}/{setting}",
    version="1.2",
  )
  low, high = codec_file.read(path)
  assert (low.key, low.label) == ("toy@low", "Toy 1.5 kbit/s")
  assert (high.key, high.label) == ("toy@high", "Toy high")
  assert (low.bitrate_bps, high.bitrate_bps) == (1_500, None)
  assert low.here == str(tmp_path) and low.version.startswith("1.2, commands ")
  # Measurements are kept by version.
  other = codec_file.read(write(encode="echo {in} {out}", version="1.2"))
  assert other[0].version != low.version
  # A command that writes nothing is one line, with what it said.
  with pytest.raises(errors.InputError, match=r"toy@low: echo .*/low\)"):
    low.code(np.zeros(99, np.float32), sample_rate_hz=RATE_HZ)


def test_a_codec_may_write_into_a_folder_and_name_its_rate(write, syllables):
  copy = "import pathlib as p, shutil as s, sys as y;"
  copy += "g, w = map(p.Path, y.argv[1:]);"
  copy += "g = next(g.glob('*')) if g.is_dir() else g;"
  copy += "w.mkdir(); s.copy(g, w / 'a.wav')"
  command = f'{sys.executable} -c "{copy}" {{in}} {{out}}'
  audio = syllables(0.25, RATE_HZ)
  system = only(write(encode=command, decode=command))
  coded = system.code(audio, sample_rate_hz=RATE_HZ)
  assert coded.payload_bits == 8 * (2 * len(audio) + 44)
  np.testing.assert_allclose(coded.audio, audio, atol=2**-15)
  system = only(write(encode=command, decode=command, bits="nominal"))
  assert system.code(audio, sample_rate_hz=RATE_HZ).payload_bits == 2_000


def test_opus_by_two_commands_is_opus(opus_tools, write, syllables):
  encode = "opusenc --quiet --hard-cbr --bitrate {kbps} {in} {out}"
  decode = "opusdec --quiet --rate 48000 {in} {out}"
  path = write(
    name="mine", settings=[12_000], encode=encode, decode=decode, suffix=".opus"
  )
  (ours, theirs), _ = systems.baselines(["opus@12000"], [path])
  audio = syllables(1.0, RATE_HZ)
  one, other = (s.code(audio, sample_rate_hz=RATE_HZ) for s in (ours, theirs))
  assert np.corrcoef(one.audio, other.audio)[0, 1] > 0.98
  # The container's pages are charged to a file.
  assert 1.05 < other.payload_bits / one.payload_bits < 2


def test_the_examples_that_are_shown_can_be_read(tmp_path):
  blocks, block = [], []
  for line in [*codec_file.__doc__.splitlines(), ""]:
    if line.startswith("    ") or (block and not line):
      block.append(line[4:])
    elif block:
      blocks.append("\n".join(block))
      block = []
  names = []
  for text in blocks:
    if "encode:" in text:
      path = tmp_path / "example.yaml"
      path.write_text(text)
      names += [system.key for system in codec_file.read(str(path))]
      assert yaml.safe_load(text)["decode"].split()
  assert {"encodec@6000", "my_opus@6000", "dac@8"} <= set(names)


@pytest.mark.parametrize(
  ("fields", "says"),
  [
    ({"name": None}, "name is missing"),
    ({"name": "Opus 2"}, "name is 'Opus 2'. Use a-z"),
    ({"name": "opus"}, "name 'opus' is taken"),
    ({"nmae": "toy"}, "nmae is no field. Did you mean 'name'?"),
    ({"settings": []}, "settings has to be a list of bitrates"),
    ({"settings": ["a/b"]}, "settings has 'a/b', which is no name"),
    ({"settings": [True]}, "settings has True, which is no bitrate"),
    ({"settings": {"a": -1}}, "settings has -1, which is no bitrate"),
    ({"settings": {"a": None}, "bits": "nominal"}, "bits is nominal, and"),
    ({"settings": {"a": None}, "encode": "x {in} {out} {kbps}"}, "encode asks"),
    ({"encode": "x {in} {outt}"}, "encode has {outt}. Known are {in}, {out}"),
    ({"decode": "x {in}"}, "decode has no {out}"),
    ({"decode": "x 'y"}, "decode cannot be read (No closing quotation)"),
    ({"decode": ""}, "decode is empty"),
    ({"decode": 3}, "decode is 3, and has to be text"),
    ({"bits": "guess"}, "bits is 'guess'. Use file|nominal"),
    ({"suffix": "opus"}, "suffix is 'opus'. Use as in .opus"),
    ({"sample_rate_hz": 0}, "sample_rate_hz is 0, and has to be at least 1"),
    ({"sample_rate_hz": "24k"}, "sample_rate_hz is '24k', and has to be a num"),
    ({"timeout_s": 0}, "timeout_s is 0, and has to be at least"),
    ({"delay_samples": 5}, "delay_samples needs sample_rate_hz"),
  ],
)
def test_a_field_that_is_wrong_is_one_line(fields, says, write):
  path = write(**fields)
  with pytest.raises(errors.InputError) as caught:
    systems.baselines([], [path])
  text = str(caught.value)
  assert text.startswith(path) and says in text and text.endswith(".")
  assert "\n" not in text


@pytest.mark.parametrize("text", ["a: [", "\x00", "- a", "", "3"])
def test_a_file_that_is_none_is_one_line(text, write, tmp_path):
  path = tmp_path / "bad.yaml"
  path.write_text(text)
  with pytest.raises(errors.InputError) as caught:
    codec_file.read(str(path))
  assert str(caught.value).startswith(str(path)) and "\n" not in str(
    caught.value
  )
  with pytest.raises(errors.InputError, match=r"no\.yaml: No such file"):
    codec_file.read(str(tmp_path / "no.yaml"))


def test_a_program_that_is_not_there_is_missing_by_name(write):
  path = write(encode="no_such_program {in} {out}")
  assert systems.baselines(["low_pass@3500"], [path])[1] == {
    "toy": "no_such_program is not installed. Install it, or put its folder on "
    "PATH."
  }


SAYS = f"{sys.executable} -c \"import sys; print('oh', file=sys.stderr); "


@pytest.mark.parametrize(
  ("fields", "says"),
  [
    ({"decode": SAYS + 'sys.exit(3)" {in} {out}'}, "ended with exit code 3: oh"),
    (
      {"encode": SAYS + 'import os; os.kill(os.getpid(), 15)" {in} {out}'},
      "was ended by SIGTERM: oh",
    ),
    (
      {"encode": SAYS + 'import time; time.sleep(99)" {in} {out}',
       "timeout_s": 0.5},
      "was ended after 0.5 s",
    ),
    ({"decode": "cp {here}/toy.py {out} {in}"}, "exit code 1"),
    ({"decode": "cp {in} {out}"}, "cannot be read as audio"),
    ({"header_bytes": 99_999}, "fewer than header_bytes=99999"),
    (
      {"sample_rate_hz": RATE_HZ, "delay_samples": 5_000},
      "0.50 s came back as 0.29 s",
    ),
  ],
)  # fmt: skip
def test_a_command_that_fails_is_one_line_with_what_it_said(
  fields, says, write, syllables
):
  system = only(write(**fields))
  with pytest.raises(errors.InputError) as caught:
    system.code(syllables(0.5, RATE_HZ), sample_rate_hz=RATE_HZ)
  text = str(caught.value)
  assert text.startswith("toy@8000: ") and says in text and "\n" not in text


def test_there_is_no_shell_and_nothing_to_ask(write):
  said = (
    f'{sys.executable} -c "import sys; print(sys.argv[-3:], sys.stdin.read())"'
  )
  system = only(write(encode=f"{said} {{in}} {{out}} > $HOME *;"))
  with pytest.raises(errors.InputError, match=r"\['>', '\$HOME', '\*;'\]"):
    system.code(np.zeros(99, np.float32), sample_rate_hz=RATE_HZ)


def test_an_empty_clip_runs_nothing(write):
  system = only(write(encode="false {in} {out}"))
  coded = system.code(np.zeros(0, np.float32), sample_rate_hz=RATE_HZ)
  assert coded.audio.shape == (0,) and coded.payload_bits == 0


def has_ended(pid):
  """Waits for a process that is no child of ours; False if it goes on."""
  try:
    process = os.pidfd_open(pid)
  except ProcessLookupError:
    return True
  try:
    return select.select([process], [], [], 30)[0] == [process]
  finally:
    os.close(process)


def test_a_child_of_a_child_ends_with_the_time(tmp_path):
  # The one that was started ends at once, and leaves one with our pipes.
  pid = tmp_path / "pid"
  code = "import os, sys, time; os.fork() and os._exit(0);"
  code += "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
  begin = time.monotonic()
  with pytest.raises(errors.InputError, match=r"ended after 2 s"):
    children.run([sys.executable, "-c", code, pid], name="it", timeout_s=2)
  assert time.monotonic() - begin < 30
  assert has_ended(int(pid.read_text()))


RUN = """
import sys
import numpy as np
from soundstream_jax.evaluate import systems
(system,), _ = systems.baselines([], sys.argv[1:])
system.code(np.zeros(2400, np.float32), sample_rate_hz=24000)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_ends_with_its_process_and_its_files_with_the_next(
  number, write, tmp_path
):
  code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()));"
  code += "time.sleep(60)"
  path = write(
    encode=f'{sys.executable} -c "{code}" {{here}}/pid {{in}} {{out}}'
  )
  environment = os.environ | {"TMPDIR": tempfile.gettempdir()}
  process = subprocess.Popen([sys.executable, "-c", RUN, path], env=environment)
  pid = tmp_path / "pid"
  deadline = time.monotonic() + 60
  while not (pid.is_file() and pid.read_text()):
    assert time.monotonic() < deadline and process.poll() is None
    time.sleep(0.02)
  process.send_signal(number)
  process.wait()
  assert has_ended(int(pid.read_text()))
  left = list(pathlib.Path(tempfile.gettempdir()).iterdir())
  assert len(left) == 1
  only(write()).code(np.zeros(99, np.float32), sample_rate_hz=RATE_HZ)


def test_files_of_a_codec_at_work_are_left_alone(write):
  with commands.scratch.folder() as one, commands.scratch.folder() as other:
    assert one != other and one.is_dir() and other.is_dir()
    assert list(one.iterdir()) == list(other.iterdir()) == []
