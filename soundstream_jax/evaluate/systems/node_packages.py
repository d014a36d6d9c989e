"""Packages of npm that NoLACE needs, in a cache folder, installed when asked.

    python -m soundstream_jax.evaluate.systems --install

runs `npm ci --ignore-scripts`: just the versions of package-lock.json, whose
digests npm checks, and none of their scripts. The lock names no registry: npm
asks the one that it is set to. A folder is named after the lock, and appears
when it is whole.
"""

import hashlib
import json
import pathlib
import shutil
import tempfile

from soundstream_jax import caches, errors
from soundstream_jax.evaluate.systems import children

COMMAND = "python -m soundstream_jax.evaluate.systems --install"

_FILES = ("package.json", "package-lock.json")
_HERE = pathlib.Path(__file__).parent
_CACHE = "nolace"
_INSTALLED = "node_modules/.package-lock.json"  # npm writes it last


def find() -> pathlib.Path | None:
  """Returns the folder that holds node_modules; None: not installed."""
  cache = caches.folder(_CACHE)
  if cache is None:
    return None
  folder = cache / _name()
  return folder if (folder / _INSTALLED).is_file() else None


def install() -> pathlib.Path:
  """Installs the packages, if they are not there; returns their folder.

  Raises:
    InputError: there is no npm or no cache, or npm fails.
  """
  found = find()
  if found is not None:
    return found
  if not shutil.which("npm"):
    raise errors.InputError(
      "npm is not installed. Install it (apt-get install nodejs npm), and run "
      f"{COMMAND} again."
    )
  cache = caches.folder(_CACHE)
  if cache is None:
    raise errors.InputError(
      "the packages of npm need a folder for caches. Set XDG_CACHE_HOME to a "
      "folder's whole path."
    )
  with (
    errors.writing("packages of npm", cache),
    tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as new,
  ):
    for name in _FILES:
      shutil.copy(_HERE / name, new)
    children.run(
      ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
      name="npm ci",
      cwd=new,
    )
    folder = cache / _name()
    try:
      pathlib.Path(new).rename(folder)
    except OSError:  # another process was as fast
      if find() is None:
        raise
    pathlib.Path(new).mkdir(exist_ok=True)  # to be removed at the block's end
  return folder


def versions(folder: pathlib.Path) -> dict[str, str]:
  """Returns the version of each package that package.json names."""
  wanted = json.loads((_HERE / "package.json").read_text())["dependencies"]
  return {
    name: json.loads(
      (folder / "node_modules" / name / "package.json").read_text()
    )["version"]
    for name in wanted
  }


def _name() -> str:
  digest = hashlib.sha256()
  for name in _FILES:
    digest.update((_HERE / name).read_bytes())
  return digest.hexdigest()[:12]
