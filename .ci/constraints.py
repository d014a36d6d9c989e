"""Renews the constraints files: the newest versions that fit together.

`make constraints` runs it with the oldest Python that setup.py allows, whose
versions newer ones have too. Lines with a marker are for other Pythons, and are
kept as they are.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).parents[1]
OLDEST = (3, 11)
# Beam wants older versions than the rest.
EXTRAS = {
  "launch/constraints.txt": "bench,export-hf,export-litert,export-onnx,"
  "export-stablehlo,metrics,plots,preflight-gpu,test,tpu",
  "data_pipelines/constraints.txt": "beam",
}


def main():
  if sys.version_info[:2] != OLDEST:
    sys.exit(
      f"error: this is Python {sys.version.split()[0]}; the versions are those "
      "for the oldest that is allowed. Run it with Python "
      f"{'.'.join(map(str, OLDEST))}."
    )
  for name, extras in EXTRAS.items():
    renew(ROOT / name, resolve(extras))


def resolve(extras: str) -> dict[str, str]:
  """Returns name -> version of all that the package and its extras need."""
  with tempfile.TemporaryDirectory() as folder:
    venv.create(folder, with_pip=True)
    report = pathlib.Path(folder, "report.json")
    subprocess.run(
      [
        pathlib.Path(folder, "bin/python"),
        *("-m", "pip", "install", "--quiet", "--dry-run"),
        *("--ignore-installed", "--report", report, f"{ROOT}[{extras}]"),
      ],
      check=True,
    )
    packages = json.loads(report.read_text())["install"]
  # A version for CPUs alone ends in "+cpu"; without that both are allowed.
  versions = {
    package["metadata"]["name"]: package["metadata"]["version"].split("+")[0]
    for package in packages
  }
  del versions["soundstream_jax"]
  return {
    name.replace("_", "-").lower(): version
    for name, version in versions.items()
  }


def renew(path: pathlib.Path, versions: dict[str, str]) -> None:
  old = path.read_text().splitlines()
  head = [line for line in old if line.startswith("#")]
  other = [line for line in old if ";" in line and line[0] != "#"]
  new = [f"{name}=={version}" for name, version in sorted(versions.items())]
  path.write_text("\n".join([*head, *new, *other]) + "\n")
  print(f"{path}: {len(new) + len(other)} packages")


if __name__ == "__main__":
  main()
