"""Fetches the audio of Debian packages; nothing is installed.

  OUT/PACKAGE/usr/share/...   audio and documents, as the package has them
  OUT/PACKAGE/package.txt     the package's file name with its version, SHA256

What vouches for the contents is apt: `apt-get download` compares a package's
hash with the lists that the distribution has signed.

A package appears under its name when it is complete. After a kill, a full disk
or a lost network the same command resumes with those that are missing.
"""

import dataclasses
import hashlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from absl import flags

from soundstream_jax import console, errors, paths, whole_files
from soundstream_jax.audio import reading
from soundstream_jax.data_pipelines.debian import unpack
from soundstream_jax.data_pipelines.preparation import disk, interrupts
from soundstream_jax.settings import numbers, path_flags

_INTERRUPTED = 130
_WORK = ".unfinished"
_RECEIPT = "package.txt"
# What is kept of these packages, at most, in units of their size; and of the
# largest, itself and its archives of games while they are unpacked.
_GROWTH = 1.3
_GROWTH_AT_WORK = 2.5


@dataclasses.dataclass
class Fetched:
  """What a run did."""

  done: list[str]  # packages that were there before
  new: list[str]
  missing: list[str]  # packages that this release does not have
  downloaded_bytes: int = 0


def main(argv: Sequence[str], packages: Sequence[str]) -> int:
  """Runs the command; argv[0] is its name.

  Args:
    packages: what is fetched unless --packages says less.

  Raises:
    InputError: a flag, this machine, its network or its disk cannot be used.
  """
  values = define_flags(packages)
  try:
    positional = values(list(argv))[1:]
  except flags.Error as error:
    raise numbers.flag_error(error) from None
  if values.help:
    print(values.get_help())
    return 0
  if positional or not values.out:
    raise errors.InputError(
      f"unexpected argument {positional[0]!r}; options are written "
      "--name=value."
      if positional
      else "--out is missing: the folder that the audio goes to, for example "
      "--out=data/debian."
    )
  for package in values.packages:
    if package not in packages:
      raise errors.InputError(
        f"--packages={','.join(values.packages)}: {package!r} is not one of "
        f"them.{errors.nearest(package, packages)} Use some of "
        f"{', '.join(packages)}."
      )
  out = pathlib.Path(values.out)
  paths.check_writable_folder(f"--out={out}", out)
  started = time.monotonic()
  try:
    with interrupts.Interrupts() as watcher:
      fetched = fetch(out, values.packages, check=watcher.check)
  except KeyboardInterrupt:
    print("interrupted; the same command resumes.", file=sys.stderr)
    return _INTERRUPTED
  _summarize(out, fetched, time.monotonic() - started)
  return 0


def define_flags(packages: Sequence[str]) -> flags.FlagValues:
  """Returns this command's flags, apart from those of the process."""
  values = flags.FlagValues()
  path_flags.define("out", "", "Folder for the audio.", flag_values=values)
  flags.DEFINE_list(
    "packages", list(packages), "Which ones.", flag_values=values
  )
  flags.DEFINE_bool("help", False, "Shows this text.", flag_values=values)
  return values


def fetch(
  out: pathlib.Path, packages: Iterable[str], *, check: Callable[[], None]
) -> Fetched:
  """Fetches and unpacks packages into `out`/PACKAGE.

  Args:
    check: called between packages; may raise to end the work.

  Raises:
    InputError: no apt or no lists of packages, no network, or another process
      at work.
    DiskError: the disk cannot be written to.
  """
  fetched = Fetched([], [], [])
  for package in packages:
    there = (out / package).is_dir()
    (fetched.done if there else fetched.new).append(package)
  if not fetched.new:
    return fetched
  _check_tools()
  with errors.writing(f"--out={out}", out.parent):
    work = out / _WORK
    work.mkdir(parents=True, exist_ok=True)
    with disk.locked(work, out):
      # Whoever held the folder may have fetched some.
      fetched.new = [p for p in fetched.new if not (out / p).is_dir()]
      sizes = _offered(fetched.new, work)
      fetched.missing = [p for p in fetched.new if p not in sizes]
      fetched.new = [p for p in fetched.new if p in sizes]
      if not sizes and not fetched.done:
        raise errors.InputError(
          f"apt knows none of {', '.join(fetched.missing)}. Its lists are "
          "missing, or this release has other packages: run `apt-get update` "
          "as root and try again."
        )
      _check_space(out, sizes)
      for number, package in enumerate(fetched.new, 1):
        check()
        print(
          f"{number}/{len(sizes)} {package}, {sizes[package] / 1e6:.1f} MB",
          file=sys.stderr,
          flush=True,
        )
        try:
          fetched.downloaded_bytes += _fetch_one(package, work, out)
        finally:
          shutil.rmtree(work / package, ignore_errors=True)
      shutil.rmtree(work)
  return fetched


def _fetch_one(package: str, work: pathlib.Path, out: pathlib.Path) -> int:
  """Returns the size of the package in bytes."""
  folder = work / package
  shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
  download, tree = folder / "deb", folder / "tree"
  download.mkdir(parents=True)
  tree.mkdir()
  _apt("download", package, folder=download)
  (deb,) = download.glob("*.deb")
  unpack.unpack(deb, package, tree)
  with open(deb, "rb") as file:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
  disk.write(tree / _RECEIPT, f"{deb.name}\nSHA256 {digest}\n".encode())
  for path in tree.rglob("*"):
    if path.is_file():
      whole_files.sync(path)
  os.replace(tree, out / package)
  return deb.stat().st_size


def _offered(packages: Sequence[str], work: pathlib.Path) -> dict[str, int]:
  """Returns package -> its size in bytes, of those that this release has.

  apt-get fails for all of its arguments if it lacks one: so one by one.
  """
  sizes = {}
  for package in packages:
    answer = _run(["apt-get", "-qq", "--print-uris", "download", package], work)
    # 'URI' name size hash
    fields = shlex.split(answer.stdout)
    if not answer.returncode and len(fields) >= 3 and fields[2].isdecimal():
      sizes[package] = int(fields[2])
  return sizes


def _apt(command: str, package: str, *, folder: pathlib.Path) -> None:
  answer = _run(["apt-get", "-qq", command, package], folder)
  if answer.returncode:
    problems = [
      line.removeprefix("E: ")
      for line in answer.stderr.splitlines()
      if line.startswith("E: ")
    ]
    raise errors.InputError(
      f"{package}: apt-get cannot {command} it "
      f"({(problems or ['no reason given'])[0]}). Check the network and the "
      "disk, and run `apt-get update` as root if the lists are old; the same "
      "command resumes."
    )


def _run(
  command: Sequence[str], folder: pathlib.Path
) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    command,
    cwd=folder,
    env={**os.environ, "LC_ALL": "C"},  # its messages are read
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    errors="replace",
    check=False,
  )


def _check_tools() -> None:
  for tool in ("apt-get", "dpkg-deb"):
    if not shutil.which(tool):
      raise errors.InputError(
        f"{tool} is not on this machine: debian_audio is fetched by the tools "
        "of Debian and Ubuntu. Run this command there, or in a container of "
        "the image debian:bookworm, and copy the folder."
      )


def _check_space(out: pathlib.Path, sizes: dict[str, int]) -> None:
  largest = max(sizes.values(), default=0)
  needed = _GROWTH * sum(sizes.values()) + _GROWTH_AT_WORK * largest
  free = shutil.disk_usage(out).free
  if needed > free:
    raise errors.InputError(
      f"--out={out}: about {needed / 1e6:,.0f} MB are needed and "
      f"{free / 1e6:,.0f} MB are free. Use another disk, or fewer --packages."
    )


def _summarize(out: pathlib.Path, fetched: Fetched, seconds: float) -> None:
  kept = [
    path
    for package in (*fetched.done, *fetched.new)
    for path in (out / package).rglob("*")
    if path.suffix.lower() in reading.SUFFIXES
  ]
  size_bytes = sum(path.stat().st_size for path in kept)
  print(
    f"{len(fetched.new)} packages fetched, "
    f"{fetched.downloaded_bytes / 1e6:.0f} MB in {seconds:.0f} s; "
    f"{len(fetched.done)} were there."
  )
  for package in fetched.missing:
    print(
      f"missing: {package}; the lists of this release do not have it.",
      file=sys.stderr,
    )
  name = console.shown(out)
  print(
    f"{name} has {len(kept)} audio files, {size_bytes / 1e6:.0f} MB. Next: "
    f"--dataset=debian_audio --kind=speech --input={name}, and music, noise."
  )
