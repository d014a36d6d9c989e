"""MagnaTagATune: 25,863 clips of 29 s of music, the paper's music.

  SHARD/ARTIST-ALBUM-TRACK-TITLE-START-END.mp3, SHARD one of 0 .. 9, a .. f

as `cat mp3.zip.00* > mp3.zip; unzip mp3.zip` makes them, in the input folder or
in its folder mp3. The site's mp3 are 16 kHz mono at 32 kbit/s: they hold
nothing above 8 kHz and carry the traces of their own coding.

A group is an artist. The first field of a name is the artist, since the script
that cut the clips strips "-" from every field before it joins them; the table
clip_info_final.csv holds the same names before that, and is not needed. The
common split by shard (0 to b train, c validates, d to f test) shares out
albums, because a shard is a hash of the album: an artist of two albums may be
on both sides of it. So it is not used here.

Sources: tagatune.org/Magnatagatune.html (licence, format); mirg.city.ac.uk
(archives; it publishes no md5); cut_clips.py of the dataset (names, shards);
clips and hours (8 days, 16 hours) as counted by others.
"""

import pathlib

from soundstream_jax.data_pipelines import corpus, layout

TITLE = "MagnaTagATune"

_SHARDS = list("0123456789abcdef")
_NUM_FIELDS = 6  # of a name


def find(root: pathlib.Path) -> list[corpus.File]:
  """Returns the clips; a group is an artist, and its name decides the split.

  Raises:
    InputError: `root` has no shard with clips, and no folder mp3 that has.
  """
  folder = layout.locate(
    root,
    title=TITLE,
    own_names=["mp3", "magnatagatune", "MagnaTagATune", "magnatagatune/mp3"],
    parts=_SHARDS,
  )
  return layout.read(folder, title=TITLE, parts=_SHARDS, describe=_describe)


def _describe(name: str) -> tuple[str, str] | None:
  _, *between, file = name.split("/")
  fields = file.split("-")
  if between or len(fields) < _NUM_FIELDS or not file.endswith(".mp3"):
    return None
  return fields[0], ""


CORPUS = corpus.Corpus(
  name="magnatagatune",
  title=TITLE,
  kind="music",
  homepage=("https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset"),
  licence=(
    "CC BY-NC-SA 3.0: not for commercial use, and what is derived from it is "
    "shared alike"
  ),
  version="2009, 16 kHz mono mp3 at 32 kbit/s",
  citation=(
    "Law, West, Mandel, Bay, Downie, Evaluation of Algorithms Using Games: "
    "The Case of Music Tagging, ISMIR 2009"
  ),
  sample_rate_hz=16_000,
  hours=208.0,
  splits=(
    "Ours, by artist: the artist's name decides, as --split says; so no "
    "artist's album is in two splits."
  ),
  find=find,
  archives=tuple(corpus.Archive(f"mp3.zip.00{part}") for part in (1, 2, 3)),
  expected={"mp3": 25_863},
  part_of=lambda name: "mp3",
)
