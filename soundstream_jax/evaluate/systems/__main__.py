"""python -m soundstream_jax.evaluate.systems [--install] [--codecs=FILE]

Prints the systems that a model can be compared with here, with their versions,
and of those that are missing why. With --install it first installs the
packages of npm that NoLACE needs, into this user's folder for caches. --codecs
names files with codecs of two commands, which are looked at too.
"""

import sys

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from absl import app, flags

from soundstream_jax import console, errors
from soundstream_jax.evaluate import systems
from soundstream_jax.evaluate.systems import node_packages
from soundstream_jax.settings import lists, path_flags

_INSTALL = flags.DEFINE_bool(
  "install", False, "Installs the packages of npm that NoLACE needs."
)

_CODECS = path_flags.define(
  "codecs", "", "Files with codecs of two commands each.", several=True
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
  files = lists.split(_CODECS.value)
  found, missing = systems.baselines(codec_files=files)
  for name in dict.fromkeys([*systems.SYSTEMS, *(s.name for s in found)]):
    own = [system for system in found if system.name == name]
    if not own:
      continue
    kind = systems.SYSTEMS.get(name)
    says = kind.says if kind else "two commands"
    settings = ", ".join(system.setting for system in own)
    print(console.line(f"{name}: {says}: {settings} ({own[0].version})"))
  for name, reason in missing.items():
    print(console.line(f"{name}: missing: {reason}"))


if __name__ == "__main__":
  app.run(main)
