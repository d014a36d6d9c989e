"""Real speech, music and noise from Debian packages: no account, no form.

  python -m soundstream_jax.data_pipelines.corpora.debian_audio --out=DIR

fetches 0.96 GB into DIR/PACKAGE (`debian.fetch`: needs Debian or Ubuntu, but
not root), of which `find` takes, with paths as in the package:

  speech  *_desc_LANGUAGE.ogg of tuxpaint-stamps-default, one main voice for a
          language; the Czech dialogue of fillets-ng-data-cs, with -m- and -v-
          in the names of its two fish; LANGUAGE/ of klettres-data
  music   songs of six games; artists as the files' own tags name them
  noise   sounds of six games and of two music programs

Left out of speech: Belarusian, Catalan and Greek of tuxpaint (hiss; nothing
above 8 kHz), hedgewars' voices (shouts). Left out of klettres: Spanish, Russian
and Czech, because speakers of these train elsewhere here, and it is not known
who they are; Setswana, which is clipped. Left out of noise: what holds a voice,
by its name and by a voice activity detector that was run over all of it once
(indistinct crowds stay); spoken numbers; tunes; single periods of waveforms;
files of 11 kHz or less, where they lie in folders of their own; five files that
libsndfile does not open. Of files with the same bytes one is taken.

Who speaks is told by language and folder only; nobody has listened to it all.
There is little English, and all of it is held out. Overdriven, with 7 and 3 %
of samples at full scale: tuxpaint's Spanish (trains) and klettres' Malayalam
(validates). Numbers of files are those of Debian 12; other releases lack
packages, which are then reported.

Sources: each package's usr/share/doc/PACKAGE/copyright, kept beside the audio;
the rest was counted and measured on the unpacked packages.
"""

import functools
import hashlib
import pathlib
import sys

from soundstream_jax import endings

if __name__ == "__main__":  # before what takes seconds to import
  endings.obey()

from soundstream_jax import errors
from soundstream_jax.data_pipelines import corpus, layout
from soundstream_jax.data_pipelines.debian import fetch, rules

TITLE = "audio of Debian packages"

_COMMAND = "soundstream_jax.data_pipelines.corpora.debian_audio"

# Package -> licence of its audio.
PACKAGES = {
  "fillets-ng-data-cs": "GPL-2",
  "fretsonfire-songs-muldjord": "CC BY-SA 3.0",
  "fretsonfire-songs-sectoid": "MIT",
  "hedgewars-data": "music GPL-2, sounds GFDL-1.3 and CC BY-SA 3.0",
  "klettres-data": "GPL-2 or later",
  "lmms-common": "GPL-2 or later",
  "openttd-opensfx": "CC BY-SA 3.0",
  "singularity-music": "CC BY-SA 3.0",
  "sonic-pi-samples": "CC0",
  "tuxpaint-stamps-default": "GPL-2",
  "ufoai-sound": "GPL-2, CC BY 3.0, CC BY-SA 3.0 and public domain, by file",
  "unknown-horizons": "CC BY-SA 3.0",
  "wesnoth-1.16-music": "GPL-2 or later",
}


def find(root: pathlib.Path, *, kind: str) -> list[corpus.File]:
  """Returns the files of one kind.

  Raises:
    InputError: none of the packages of this kind is there.
  """
  packages = rules.packages(kind)
  try:
    folder = layout.locate(
      root, title=TITLE, own_names=["debian_audio"], parts=packages
    )
  except errors.InputError as error:
    raise errors.InputError(
      f"{error} To fetch it: `python -m {_COMMAND} --out={root}`."
    ) from None
  files = layout.read(
    folder,
    title=TITLE,
    parts=packages,
    describe=functools.partial(rules.describe, kind),
  )
  return _distinct(files)


def _distinct(files: list[corpus.File]) -> list[corpus.File]:
  """Leaves out files that are copies of one before them, byte for byte."""
  by_size = {}
  for file in files:
    by_size.setdefault(file.size_bytes, []).append(file)
  copies = set()
  for same in by_size.values():
    digests = set()
    for file in same if len(same) > 1 else ():
      digest = hashlib.sha256(file.path.read_bytes()).digest()
      if digest in digests:
        copies.add(file.name)
      digests.add(digest)
  return [file for file in files if file.name not in copies]


def _of_kind(
  kind: str, *, hours: float, splits: str, expected: dict[str, int]
) -> corpus.Corpus:
  licences = (f"{name}: {PACKAGES[name]}" for name in rules.packages(kind))
  return corpus.Corpus(
    name="debian_audio",
    title=TITLE,
    kind=kind,
    homepage="https://packages.debian.org/bookworm/",
    licence=(
      f"{'; '.join(licences)}. Each package's usr/share/doc/PACKAGE/copyright "
      "has the whole text and the authors to be named"
    ),
    version="bookworm (Debian 12)",
    citation=(
      "Debian 12 bookworm, packages "
      f"{', '.join(rules.packages(kind))}, https://packages.debian.org"
    ),
    sample_rate_hz=0,
    hours=hours,
    splits=splits,
    find=functools.partial(find, kind=kind),
    expected=expected,
  )


CORPUS = {
  "speech": _of_kind(
    "speech",
    hours=4.4,
    splits=(
      "Ours, by speaker as far as language and folder tell: fillets and "
      "tuxpaint's bg, es, ru train; tuxpaint's da, fr, ro, ten languages of "
      "klettres and unknown-horizons' voices test; tuxpaint's en, lt, ml, nl "
      "and klettres' en, en_GB, hu, lt, ml, nl validate."
    ),
    expected={
      "fillets-ng-data-cs": 1_875,
      "klettres-data": 1_505,
      "tuxpaint-stamps-default": 4_342,
      "unknown-horizons": 13,
    },
  ),
  "music": _of_kind(
    "music",
    hours=6.4,
    splits=(
      "Ours, by song, and by artist where that is known: all of "
      "unknown-horizons and some songs of other packages test, and others "
      "validate; muldjord, sectoid and singularity are each one artist, some "
      "of whose songs train and some do not."
    ),
    expected={
      "fretsonfire-songs-muldjord": 8,
      "fretsonfire-songs-sectoid": 8,
      "hedgewars-data": 26,
      "singularity-music": 16,
      "unknown-horizons": 15,
      "wesnoth-1.16-music": 40,
    },
  ),
  "noise": _of_kind(
    "noise",
    hours=0.7,
    splits=(
      "Ours, by package and folder: unknown-horizons tests; hedgewars and "
      "ufoai's doors, misc, seq and ugv validate; the others train."
    ),
    expected={
      "hedgewars-data": 72,
      "lmms-common": 164,
      "openttd-opensfx": 67,
      "sonic-pi-samples": 158,
      "tuxpaint-stamps-default": 77,
      "ufoai-sound": 264,
      "unknown-horizons": 16,
    },
  ),
}


if __name__ == "__main__":
  sys.exit(errors.run(fetch.main, sys.argv, list(PACKAGES)))
