"""python -m soundstream_jax.evaluate.systems [--install]

Prints the systems that a model can be compared with here, with their versions,
and of those that are missing why. With --install it first installs the
packages of npm that NoLACE needs, into this user's folder for caches.
"""

import sys

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from absl import app, flags

from soundstream_jax import errors
from soundstream_jax.evaluate import systems
from soundstream_jax.evaluate.systems import node_packages

_INSTALL = flags.DEFINE_bool(
  "install", False, "Installs the packages of npm that NoLACE needs."
)


def main(words):
  sys.exit(errors.run(_main, words[1:]))


def _main(words: list[str]) -> None:
  if words:
    raise errors.InputError(
      f"{words[0]}: this command takes flags alone. Leave it out."
    )
  if _INSTALL.value:
    node_packages.install()
  found, missing = systems.baselines()
  for name, kind in systems.SYSTEMS.items():
    if name in missing:
      print(f"{name}: missing: {missing[name]}")
      continue
    own = [system for system in found if system.name == name]
    settings = ", ".join(system.setting for system in own)
    print(f"{name}: {kind.says}: {settings} ({own[0].version})")


if __name__ == "__main__":
  app.run(main)
