"""MUSAN: 109 hours of speech, music and noise at 16 kHz.

  musan/KIND/SOURCE/KIND-SOURCE-NUMBER.wav

beside README, LICENSE and ANNOTATIONS files. KIND is what --kind= asks for, and
noise if nothing is asked. Of these files only music/*/ANNOTATIONS are read:
their fourth word is the artist, the group of a piece of music. A piece of
speech or noise is a group of its own: who speaks or who recorded it is not
said, so a speaker may be in two splits. Use LibriTTS to measure on speakers
that are held out.

Noise is mostly without speech, but crowds are in it: indistinct voices.

Sources: OpenSLR 17 (archive, checksum.md5, licence); files per kind and hours
from the paper cited (60 h speech, 42.5 h music, 6 h noise) and from counts of
the unpacked archive.
"""

import functools
import pathlib

from soundstream_jax.data_pipelines import corpus, layout

TITLE = "MUSAN"

_HOURS = {"noise": 6.0, "speech": 60.0, "music": 42.5}
_NUM_FILES = {"noise": 930, "speech": 426, "music": 660}
_GROUPS = {
  "noise": "a recording is a group of its own",
  "speech": "a recording is a group of its own; speakers are not told apart",
  "music": "no artist is in two splits",
}


def find(root: pathlib.Path, *, kind: str) -> list[corpus.File]:
  """Returns the files of one kind; a group's name decides its split.

  Raises:
    InputError: `root` is not MUSAN, nor the folder above it, or has none of
      the kind, or its music is without a readable ANNOTATIONS file.
  """
  folder = layout.locate(root, title=TITLE, own_names=["musan"], parts=[kind])
  artists = _artists(folder / "music") if kind == "music" else {}

  def describe(name: str) -> tuple[str, str] | None:
    _, *source, file = name.split("/")
    if len(source) != 1 or not file.endswith(".wav"):
      return None
    stem = file.removesuffix(".wav")
    artist = artists.get(stem)
    return f"artist/{artist}" if artist else stem, ""

  return layout.read(folder, title=TITLE, parts=[kind], describe=describe)


def _artists(folder: pathlib.Path) -> dict[str, str]:
  """Returns a file's name without suffix -> its artist."""
  artists = {}
  for path in sorted(folder.glob("*/ANNOTATIONS")):
    try:
      lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
      raise layout.unusable(path, error) from None
    for line in lines:
      words = line.split()  # name, genres, vocals (Y or N), artist
      if len(words) >= 4:
        artists[words[0]] = words[3]
  return artists


def _of_kind(kind: str) -> corpus.Corpus:
  return corpus.Corpus(
    name="musan",
    title=f"{TITLE}, {kind}",
    kind=kind,
    homepage="https://www.openslr.org/17",
    licence=(
      "CC BY 4.0 as a whole; each recording is in the public domain or under "
      "a Creative Commons licence, listed in the LICENSE files"
    ),
    version="OpenSLR 17 (2015)",
    citation=(
      "Snyder, Chen, Povey, MUSAN: A Music, Speech, and Noise Corpus, 2015, "
      "arXiv:1510.08484"
    ),
    sample_rate_hz=16_000,
    hours=_HOURS[kind],
    splits=f"Ours, by the group's name as --split says: {_GROUPS[kind]}.",
    find=functools.partial(find, kind=kind),
    archives=(
      corpus.Archive("musan.tar.gz", "0c472d4fc0c5141eca47ad1ffeb2a7df"),
    ),
    expected={kind: _NUM_FILES[kind]},
  )


# The first is the one that is meant where no kind is asked for.
CORPUS = {kind: _of_kind(kind) for kind in ("noise", "speech", "music")}
