"""Laws of files that the machine's ffmpeg reads."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import ffmpeg, formats, reading

RATE_HZ = 48_000

# What ffmpeg writes, and what else it wants to be told for it.
WRITTEN = {
  "a.m4a": [],
  "alac.m4a": ["-c:a", "alac"],
  "a.aac": [],
  "a.wma": [],
  "a.mp4": ["-c:a", "aac"],
  "a.mkv": ["-c:a", "flac"],
  "a.webm": ["-c:a", "libopus"],
  "a.mov": ["-c:a", "pcm_s16be"],
  "a.wv": [],
  "a.ac3": [],
  "a.flv": ["-c:a", "libmp3lame", "-ar", "44100"],
  "a.m2ts": ["-c:a", "mp2"],
  "a.amr": ["-ar", "8000", "-ac", "1", "-c:a", "libopencore_amrnb"],
  "adpcm.wav": ["-c:a", "adpcm_swf"],  # libsndfile knows no such coding
}


@pytest.fixture
def encode(with_ffmpeg, tmp_path):
  """Returns a function (name, arguments) -> a file of a tone of 2 s."""
  t = np.arange(2 * RATE_HZ) / RATE_HZ
  tone = np.stack([0.5 * np.sin(2 * np.pi * 440 * t), np.zeros_like(t)], 1)
  soundfile.write(tmp_path / "tone.wav", tone, RATE_HZ)

  def run(name, arguments=(), *, inputs=("-i", "tone.wav")):
    subprocess.run(
      [
        *(with_ffmpeg, "-nostdin", "-loglevel", "error", "-y"),
        *(*inputs, *arguments, name),
      ],
      cwd=tmp_path,
      check=True,
    )
    return tmp_path / name

  return run


def _fake(folder, monkeypatch, text):
  """Puts a program named ffmpeg on PATH that lists a format, and then `text`."""
  path = folder / "bin" / "ffmpeg"
  path.parent.mkdir()
  path.write_text(
    f'#!/bin/sh\ncase "$*" in *-demuxers*) echo " D  mov Apple"; exit;; esac\n'
    f"{text}\n"
  )
  path.chmod(0o755)
  monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
  (folder / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1_000))
  return folder / "a.m4a"


# The head of an AU of floats, 48 kHz, two channels.
_HEAD = (
  r"printf '.snd\0\0\0\030\377\377\377\377\0\0\0\006\0\0\273\200\0\0\0\002'"
)


def _read(path):
  with reading.opened(path) as sound:
    return np.concatenate(list(sound.blocks())), sound


def _ended(process_id, seconds=10.0):
  """True where a process is gone, or soon is."""
  for _ in range(round(seconds / 0.05)):
    try:
      status = pathlib.Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
      return True
    if status.rpartition(")")[2].split()[0] == "Z":  # its parent has gone too
      return True
    time.sleep(0.05)
  return False


def test_what_ffmpeg_writes_is_read_and_whole(encode):
  for name, arguments in WRITTEN.items():
    audio, sound = _read(encode(name, arguments))
    assert sound.damage == "", name
    # A codec adds up to a frame at either end.
    assert abs(sound.samples / sound.rate_hz - 2) < 0.1, name
    assert audio.dtype == np.float32
    assert audio.shape == (sound.samples, sound.channels)
    first = audio[sound.rate_hz // 2 : 3 * sound.rate_hz // 2, 0]
    spectrum = np.abs(np.fft.rfft(first)) / len(first) * 2
    assert np.argmax(spectrum) == 440, name
    assert 0.15 < spectrum[440] < 0.55, name


def test_what_has_no_loss_is_equal_to_the_bit_whoever_reads_it(encode):
  expected, _ = soundfile.read(encode("a.wav"), dtype="float32")
  for name, coder in {
    "a.mkv": "flac",
    "b.m4a": "alac",
    "c.wv": "wavpack",
  }.items():
    audio, sound = _read(encode(name, ["-c:a", coder]))
    np.testing.assert_array_equal(audio, expected)
    assert sound.rate_hz == RATE_HZ


def test_the_content_counts_and_not_the_suffix(encode):
  (path := encode("a.m4a")).rename(path.with_name("b.wav"))
  assert _read(path.with_name("b.wav"))[1].samples == 2 * RATE_HZ
  (path := encode("c.flac")).rename(path.with_name("d.m4a"))
  assert _read(path.with_name("d.m4a"))[1].claimed_samples == 2 * RATE_HZ


def test_blocks_are_of_the_one_size_and_follow_each_other(encode, monkeypatch):
  path = encode("a.mkv", ["-c:a", "flac"])
  whole, _ = _read(path)
  monkeypatch.setattr(reading, "_BLOCK_SAMPLES", 1_000)
  with reading.opened(path) as sound:
    blocks = list(sound.blocks())
  assert [len(block) for block in blocks] == [1_000] * 96
  np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize(
  "name",
  ["-i.m4a", "http:x.m4a", "a:b.m4a", "a%03d.m4a", "a'; b\n.m4a", "[?*].m4a"],
)
def test_a_name_is_neither_an_option_nor_a_protocol_nor_a_pattern(
  encode, name, tmp_path, monkeypatch
):
  encode("a.m4a").rename(tmp_path / name)
  monkeypatch.chdir(tmp_path)
  assert _read(name)[1].samples == 2 * RATE_HZ
  odd = os.fsdecode(b"\xff.m4a")
  (tmp_path / name).rename(odd)
  assert _read(odd)[1].samples == 2 * RATE_HZ


PLAYLISTS = {
  "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\n{0}\n",
  "b.m4a": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\nfile:{0}\n",
  "c.mp4": "ffconcat version 1.0\nfile '{0}'\n",
  "d.wav": "\ufeffffconcat version 1.0\nfile '{0}'\n",
  "e.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
  "m=audio 5004 RTP/AVP 0\n",
  "f.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
  "<BaseURL>{0}</BaseURL></MPD>",
}


@pytest.mark.parametrize("sniffed", [True, False])
@pytest.mark.parametrize("name", PLAYLISTS)
def test_what_names_other_files_is_refused_twice_over(
  encode, tmp_path, monkeypatch, name, sniffed
):
  """By its first bytes; and ffmpeg would not open it either."""
  if not sniffed:
    monkeypatch.setattr(formats, "is_playlist", lambda begin: False)
  other = encode("other.aac")
  (tmp_path / name).write_text(PLAYLISTS[name].format(other), "utf-8")
  with pytest.raises(errors.InputError) as caught:
    _read(tmp_path / name)
  message = str(caught.value)
  assert message.startswith(f"{tmp_path / name}: ")
  assert len(message) < 500
  if sniffed:
    assert "a playlist" in message


def test_ffmpeg_reads_those_playlists_if_it_may(encode, tmp_path):
  """So the test above is one of a lock, not of a door that leads nowhere."""
  other = encode("other.aac")
  (tmp_path / "c.mp4").write_text(PLAYLISTS["c.mp4"].format(other.name))
  copy = encode("copy.wav", inputs=["-f", "concat", "-i", "c.mp4"])
  assert soundfile.info(copy).duration > 1.9


def test_no_format_that_leads_elsewhere_is_allowed(with_ffmpeg):
  allowed = set(ffmpeg._formats(str(with_ffmpeg)).split(","))
  assert {"mov", "m4a", "matroska", "aac", "asf", "mpegts", "amr"} <= allowed
  for name in allowed:
    assert not name.startswith(("image2", "hls", "concat", "dash", "rtsp"))
  assert allowed.isdisjoint(
    {"sdp", "rtp", "imf", "lavfi", "sbg", "alsa", "fbdev", "png_pipe", "tty"}
  )


@pytest.mark.usefixtures("with_ffmpeg")
@pytest.mark.parametrize("name", ["a.m4a", "a.wav", "a.mp3", "a.xyz"])
def test_noise_is_never_taken_for_sound(tmp_path, name):
  for seed in range(6):
    data = np.random.default_rng(seed).bytes(20_000)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(errors.InputError, match="cannot be read as audio"):
      _read(tmp_path / name)


def test_a_file_without_sound_says_so(encode):
  path = encode("v.mkv", inputs=["-f", "lavfi", "-i", "testsrc=d=0.2:s=64x64"])
  with pytest.raises(errors.InputError, match="there is no sound in it"):
    _read(path)


def test_of_a_video_the_first_sound_is_read(encode):
  path = encode(
    "v.mkv",
    ["-map", "1:v", "-map", "0:a", "-map", "2:a", "-c:a", "flac"],
    inputs=[
      *("-i", "tone.wav"),
      *("-f", "lavfi", "-i", "testsrc=d=0.2:s=64x64"),
      *("-f", "lavfi", "-i", "sine=1000:sample_rate=8000:duration=1"),
    ],
  )
  assert _read(path)[1].samples == 2 * RATE_HZ


def test_a_cut_file_is_read_as_far_as_it_goes_and_damaged(encode):
  for name in ("a.mkv", "a.aac", "a.wv"):
    path = encode(name, WRITTEN[name])
    data = path.read_bytes()
    path.write_bytes(data[: 2 * len(data) // 3])
    _, sound = _read(path)
    assert sound.damage.startswith("the file is damaged after "), name
    assert 0.2 < sound.samples / RATE_HZ < 1.9, name
  path = encode("a.m4a")
  path.write_bytes(path.read_bytes()[:9_000])
  with pytest.raises(errors.InputError, match="ffmpeg: moov atom not found"):
    _read(path)


@pytest.mark.usefixtures("without_ffmpeg")
@pytest.mark.parametrize("name", ["a.m4a", "a.wav", "noname"])
def test_without_ffmpeg_the_line_says_what_to_install(tmp_path, name):
  (tmp_path / name).write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
  with pytest.raises(errors.InputError) as caught:
    _read(tmp_path / name)
  what = pathlib.Path(name).suffix or "this format"
  assert str(caught.value) == (
    f"{tmp_path / name}: {what} is read by ffmpeg, which is not installed. "
    "Install it (apt-get install ffmpeg) or convert the file to wav."
  )


@pytest.mark.parametrize(
  ("text", "reason"),
  [
    ("echo '[x @ 0x5] [error] first'; exit 1", "no sound"),
    (
      "echo '[x @ 0x5] [error] first' >&2; echo '[error] Error opening input files: last' >&2; exit 1",
      "first; last",
    ),
    ("exit 3", "exit code 3"),
    ("exit 0", "it says nothing"),
    ("kill -9 $$", "ended by SIGKILL"),
    ("head -c 100 /dev/zero", "no sound"),
    (f"{_HEAD}; exit 0", "holds no samples"),
    ("exec sleep 600", "nothing for 0.3 s"),
    (f"{_HEAD}; exec sleep 600", "nothing for 0.3 s"),
    ("exec >&- 2>&-; exec sleep 600", "does not end"),
    (f"{_HEAD}; while :; do echo x >&2; sleep 0.05; done", "takes more than"),
    (f"{_HEAD}; head -c 9000000 /dev/zero", "gives more than"),
  ],
)
def test_a_program_that_misbehaves_is_one_line_and_ends(
  tmp_path, monkeypatch, text, reason
):
  monkeypatch.setattr(ffmpeg, "_SILENT_S", 0.3)
  monkeypatch.setattr(ffmpeg, "_WAITING_S", 0.6)
  monkeypatch.setattr(ffmpeg, "_MOST_BYTES", 8_000_000)
  path = _fake(tmp_path, monkeypatch, text)
  begin = time.monotonic()
  with pytest.raises(errors.InputError, match=reason) as caught:
    _read(path)
  assert time.monotonic() - begin < 10
  assert str(caught.value).startswith(f"{path}: ")
  assert "\n" not in str(caught.value)


def test_what_is_said_of_a_file_does_not_depend_on_where_it_lies(
  tmp_path, monkeypatch
):
  """As ffmpeg 5 says it; a dataset's datasheet keeps it."""
  path = _fake(
    tmp_path,
    monkeypatch,
    "for word; do case $word in file:*) it=$word;; esac; done\n"
    'echo "[error] $it: Invalid argument" >&2; exit 1',
  )
  with pytest.raises(errors.InputError) as caught:
    _read(path)
  told = f"{path}: cannot be read as audio (ffmpeg: Invalid argument). "
  assert str(caught.value).startswith(told)


def test_a_program_that_is_no_ffmpeg_is_named(tmp_path, monkeypatch):
  program = tmp_path / "ffmpeg"
  program.write_text("#!/bin/sh\necho 'lib.so: not found' >&2\nexit 127\n")
  program.chmod(0o755)
  monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
  (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
  with pytest.raises(errors.InputError) as caught:
    _read(tmp_path / "a.m4a")
  assert f"{program} does not work (lib.so: not found)" in str(caught.value)


def test_samples_that_are_not_finite_carry_the_name(tmp_path, monkeypatch):
  path = _fake(
    tmp_path, monkeypatch, rf"{_HEAD}; printf '\177\300\0\0\0\0\0\0'"
  )
  with pytest.raises(errors.InputError, match=r"a\.m4a: sample at 0\.000 s is"):
    _read(path)


def test_a_reader_that_stops_early_leaves_no_process(tmp_path, monkeypatch):
  path = _fake(tmp_path, monkeypatch, f"{_HEAD}; exec cat /dev/zero")
  with reading.opened(path) as sound:
    block = next(sound.blocks())
    assert block.shape == (1 << 18, 2)
    process_id = sound._decoder._child.pid
    assert not _ended(process_id, 0.2)
  with pytest.raises(ProcessLookupError):
    os.kill(process_id, 0)


def test_the_child_can_write_no_file(tmp_path, monkeypatch):
  path = _fake(
    tmp_path,
    monkeypatch,
    f"{_HEAD}; trap '' XFSZ; echo x > {tmp_path}/written; "
    r"printf '\0\0\0\0\0\0\0\0'",
  )
  assert _read(path)[1].samples == 1
  assert (tmp_path / "written").read_bytes() == b""


OPEN = """
import sys
from soundstream_jax.audio import reading
with reading.opened(sys.argv[1]) as sound:
  print(sound._decoder._child.pid, flush=True)
  next(sound.blocks())
"""


def test_the_child_ends_with_a_parent_that_is_killed(tmp_path, monkeypatch):
  """Although it writes nothing, so that no closed pipe would end it."""
  path = _fake(tmp_path, monkeypatch, f"{_HEAD}; exec sleep 600")
  parent = subprocess.Popen(
    [sys.executable, "-c", OPEN, path], stdout=subprocess.PIPE
  )
  process_id = int(parent.stdout.readline())
  assert not _ended(process_id, 0.2)
  parent.send_signal(signal.SIGKILL)
  parent.wait()
  parent.stdout.close()
  assert _ended(process_id)


def test_ctrl_c_is_not_the_end_of_a_file(tmp_path, monkeypatch):
  """A terminal sends it to the whole group; the child is in none of ours."""
  path = _fake(tmp_path, monkeypatch, f"{_HEAD}; exec sleep 600")
  with reading.opened(path) as sound:
    assert os.getpgid(sound._decoder._child.pid) != os.getpgrp()


def test_files_are_read_side_by_side(encode):
  paths = [encode(f"{k}.mkv", ["-c:a", "flac"]) for k in range(3)]
  found = {}

  def read(path):
    found[path] = _read(path)[1].samples

  threads = [threading.Thread(target=read, args=(path,)) for path in paths]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert found == dict.fromkeys(paths, 2 * RATE_HZ)
