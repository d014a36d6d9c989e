"""Packages are fetched one by one, whole or not at all, and once."""

import errno
import io as streams
import pathlib
import shutil
import subprocess
import tarfile

import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.data_pipelines.corpora import debian_audio
from soundstream_jax.data_pipelines.debian import fetch
from soundstream_jax.data_pipelines.preparation import disk

PACKAGES = ["fillets", "klettres", "sonic-pi"]

# What the tests need of the real ones; packages are tar files.
APT_GET = """#!/bin/sh
for package; do :; done
file={mirror}/$package
if [ ! -e "$file" ]; then
  echo "E: Unable to locate package $package" >&2; exit 100
fi
case "$*" in
"-qq --print-uris download $package")
  echo "'http://mirror/$package' ${{package}}_1.0_all.deb" \\
    $(wc -c < "$file") SHA256:0;;
"-qq download $package")
  echo "$package" >> {mirror}/log
  if [ -e {mirror}/offline ]; then
    echo "W: something else" >&2
    echo "E: Failed to fetch http://mirror/$package  No route" >&2; exit 100
  fi
  cp "$file" "${{package}}_1.0_all.deb";;
*) exit 101;;
esac
"""
DPKG_DEB = '#!/bin/sh\n[ "$1" = --fsys-tarfile ] && cat "$2"\n'


@pytest.fixture
def mirror(tmp_path, monkeypatch):
  """The folder of the packages that apt-get knows, all of PACKAGES."""
  folder, tools = tmp_path / "mirror", tmp_path / "bin"
  folder.mkdir()
  tools.mkdir()
  for name, text in (("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB)):
    (tools / name).write_text(
      text.format(mirror=folder) if name == "apt-get" else text
    )
    (tools / name).chmod(0o755)
  monkeypatch.setenv("PATH", str(tools), prepend=":")
  for package in PACKAGES:
    with tarfile.open(folder / package, "w") as opened:
      for name in (f"doc/{package}/copyright", f"{package}/a.ogg", "b.png"):
        member = tarfile.TarInfo(f"./usr/share/{name}")
        member.size = len(package)
        opened.addfile(member, streams.BytesIO(package.encode()))
  return folder


def _log(mirror):
  """The packages that were downloaded, in order."""
  log = mirror / "log"
  return log.read_text().split() if log.exists() else []


def _main(out, *flags):
  return fetch.main(["", f"--out={out}", *flags], PACKAGES)


def _names(folder):
  return sorted(
    path.relative_to(folder).as_posix()
    for path in pathlib.Path(folder).rglob("*")
    if path.is_file()
  )


def _refused(out, *flags, error=errors.InputError):
  with pytest.raises(error) as raised:
    _main(out, *flags)
  assert "\n" not in str(raised.value)
  return str(raised.value)


def test_packages_arrive_with_audio_licence_and_receipt_only(
  mirror, tmp_path, capsys
):
  out = tmp_path / "out"
  assert _main(out) == 0
  assert _names(out) == sorted(
    f"{package}/{name}"
    for package in PACKAGES
    for name in (
      "package.txt",
      f"usr/share/doc/{package}/copyright",
      f"usr/share/{package}/a.ogg",
    )
  )
  assert sorted(p.name for p in out.iterdir()) == PACKAGES
  receipt = (out / "fillets/package.txt").read_text()
  assert receipt.startswith("fillets_1.0_all.deb\nSHA256 ")
  printed = capsys.readouterr()
  assert "3 packages fetched" in printed.out
  assert "3 audio files" in printed.out
  assert "3/3 sonic-pi" in printed.err


def test_a_second_run_fetches_nothing(mirror, tmp_path, capsys):
  _main(tmp_path / "out", "--packages=klettres")
  _main(tmp_path / "out")
  assert _log(mirror) == ["klettres", "fillets", "sonic-pi"]
  (mirror / "offline").touch()
  assert _main(tmp_path / "out") == 0
  assert _log(mirror) == ["klettres", "fillets", "sonic-pi"]
  assert "3 were there" in capsys.readouterr().out


def test_a_package_that_this_release_lacks_is_listed_and_the_others_come(
  mirror, tmp_path, capsys
):
  (mirror / "klettres").unlink()
  assert _main(tmp_path / "out") == 0
  assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
    "fillets",
    "sonic-pi",
  ]
  assert "missing: klettres;" in capsys.readouterr().err


def test_without_lists_of_packages_the_fix_is_named(mirror, tmp_path):
  for package in PACKAGES:
    (mirror / package).unlink()
  assert "`apt-get update` as root" in _refused(tmp_path / "out")


@pytest.mark.parametrize("tool", ["apt-get", "dpkg-deb"])
def test_on_another_system_it_says_where_to_run_it(
  mirror, tmp_path, monkeypatch, tool
):
  (tmp_path / "bin" / tool).unlink()
  monkeypatch.setenv("PATH", str(tmp_path / "bin"))
  message = _refused(tmp_path / "out")
  assert message.startswith(f"{tool} is not on this machine")
  assert "debian:bookworm" in message
  assert not (tmp_path / "out").exists()


def test_a_lost_network_leaves_whole_packages_and_the_next_run_goes_on(
  mirror, tmp_path
):
  out = tmp_path / "out"
  _main(out, "--packages=fillets")
  (mirror / "offline").touch()
  message = _refused(out)
  assert message.startswith("klettres: apt-get cannot download it (Failed")
  assert "No route" in message
  assert not (out / "klettres").exists()
  (mirror / "offline").unlink()
  assert _main(out) == 0
  assert sorted(p.name for p in out.iterdir()) == PACKAGES


def test_a_damaged_package_does_not_get_its_name(mirror, tmp_path):
  whole = (mirror / "klettres").read_bytes()
  (mirror / "klettres").write_bytes(whole[:700])
  assert "cannot be unpacked" in _refused(tmp_path / "out")
  assert not (tmp_path / "out/klettres").exists()
  (mirror / "klettres").write_bytes(whole)
  assert _main(tmp_path / "out") == 0


def test_what_a_killed_run_left_is_redone(mirror, tmp_path):
  out = tmp_path / "out"
  half = out / ".unfinished/klettres"
  (half / "tree/usr/share/klettres").mkdir(parents=True)
  (half / "tree/usr/share/klettres/half.ogg").write_bytes(b"O")
  (half / "deb").mkdir()
  (half / "deb/klettres_1.0_all.deb").write_bytes(b"half")
  assert _main(out) == 0
  assert not any("half" in name for name in _names(out))
  assert not (out / ".unfinished").exists()


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
  mirror, tmp_path, monkeypatch
):
  usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
  monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
  assert "MB are free" in _refused(tmp_path / "out")
  assert _log(mirror) == []


def test_a_disk_that_fills_up_is_one_line_and_no_package_is_half_there(
  mirror, tmp_path, monkeypatch
):
  def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")

  with monkeypatch.context() as patched:
    patched.setattr(shutil, "copyfileobj", full)
    message = _refused(tmp_path / "out", error=errors.DiskError)
  assert "No space left on device" in message
  assert not (tmp_path / "out/fillets").exists()
  assert _main(tmp_path / "out") == 0


def test_two_runs_do_not_get_in_each_others_way(mirror, tmp_path):
  work = tmp_path / "out/.unfinished"
  work.mkdir(parents=True)
  with disk.locked(work, tmp_path / "out"):
    assert "another command" in _refused(tmp_path / "out")


def test_an_interrupt_keeps_whole_packages(mirror, tmp_path, capsys):
  class Stop:
    def __init__(self):
      self.calls = 0

    def __call__(self):
      self.calls += 1
      if self.calls == 2:
        raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    fetch.fetch(tmp_path / "out", PACKAGES, check=Stop())
  assert (tmp_path / "out/fillets").is_dir()
  assert not (tmp_path / "out/klettres").exists()


@pytest.mark.parametrize(
  ("argument", "said"),
  [
    ("--packages=filets", "Did you mean 'fillets'?"),
    ("here", "unexpected argument 'here'"),
    ("--pakages=fillets", "pakages"),
    ("--out=", "--out is missing"),
  ],
)
def test_a_wrong_argument_is_one_line(tmp_path, argument, said):
  assert said in _refused(tmp_path / "out", argument)


@pytest.mark.slow
@pytest.mark.skipif(
  not shutil.which("apt-get"), reason="apt-get is not on this machine"
)
def test_a_real_package_is_fetched_and_found(tmp_path):
  package = "openttd-opensfx"  # 10 MB, and a .cat
  listed = subprocess.run(
    ["apt-cache", "show", package], capture_output=True, check=False
  )
  if listed.returncode:
    pytest.skip(f"apt's lists do not have {package}: run apt-get update")
  out = tmp_path / "out"
  assert (
    fetch.main(
      ["", f"--out={out}", f"--packages={package}"], list(debian_audio.PACKAGES)
    )
    == 0
  )
  described = debian_audio.CORPUS["noise"]
  files = described.find(out)
  assert len(files) == described.expected[package]
  seconds = [soundfile.info(file.path).duration for file in files]
  assert 120 < sum(seconds) < 180
  assert (out / package / f"usr/share/doc/{package}/copyright").is_file()
