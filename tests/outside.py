"""Programs that tests take from the machine; without them tests are skipped.

By name, so that a run says what was not run; `.ci/run` installs all of them.
"""

import shutil
import subprocess

import pytest

# As Debian and others call them.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> tuple[str, str]:
  """Returns the paths of Chromium and of its driver."""
  found = next(filter(None, map(shutil.which, BROWSERS)), None)
  driver = shutil.which("chromedriver")
  if found is None or driver is None:
    missing = [
      name
      for name, there in (("chromium", found), ("chromedriver", driver))
      if there is None
    ]
    pytest.skip(f"no browser is installed: no {', '.join(missing)}")
  return found, driver


def node() -> str:
  """Returns the path of node."""
  found = shutil.which("node")
  if found is None:
    pytest.skip("node is not installed (apt-get install nodejs)")
  return found


def npm_registry() -> None:
  """Needs npm, and a registry that answers."""
  if not shutil.which("npm"):
    pytest.skip("npm is not installed (apt-get install nodejs npm)")
  answers = subprocess.run(
    ["npm", "ping", "--fetch-retries=0", "--fetch-timeout=10000"],
    capture_output=True,
  )
  if answers.returncode:
    pytest.skip("no registry of npm answers")
