"""RIRS_NOISES: impulse responses of simulated and real rooms at 16 kHz.

  RIRS_NOISES/simulated_rirs/SIZE/ROOM/ROOM-NUMBER.wav
  RIRS_NOISES/real_rirs_isotropic_noises/*.wav

SIZE is smallroom, mediumroom or largeroom. The second folder mixes 325
responses with recordings of noise; its rir_list says which files are responses
and of which room. The noises, and those of pointsource_noises, are not read.

Sources: OpenSLR 28 (archive, checksum.md5, licence); Kaldi's
steps/data/reverberate_data_dir.py (the format of rir_list); numbers of files
from the paper cited and from counts of the unpacked archive.
"""

import pathlib

from soundstream_jax import errors
from soundstream_jax.data_pipelines import corpus, layout

TITLE = "RIRS_NOISES"

_SIMULATED = "simulated_rirs"
_REAL = "real_rirs_isotropic_noises"
_LIST = "rir_list"


def find(root: pathlib.Path) -> list[corpus.File]:
  """Returns the impulse responses; a group is a room.

  A room's name decides its split.

  Raises:
    InputError: `root` is not RIRS_NOISES, nor the folder above it, or the real
      responses are there and their rir_list is not.
  """
  parts = [_SIMULATED, _REAL]
  folder = layout.locate(
    root, title=TITLE, own_names=["RIRS_NOISES"], parts=parts
  )
  real_rooms = {}
  if (folder / _REAL).is_dir():
    real_rooms = _read_list(folder / _REAL / _LIST)

  def describe(name: str) -> tuple[str, str] | None:
    part, *middle, file = name.split("/")
    if part == _SIMULATED:
      return ("/".join(middle), "") if len(middle) == 2 else None
    room = real_rooms.get(file)
    return (f"real/{room}", "") if room and not middle else None

  return layout.read(folder, title=TITLE, parts=parts, describe=describe)


def _read_list(path: pathlib.Path) -> dict[str, str]:
  """Returns file name -> room.

  A line is options, among them --room-id ROOM, and at its end the file's path.
  """
  try:
    lines = path.read_text("utf-8", errors="replace").splitlines()
  except OSError as error:
    raise layout.unusable(path, error) from None
  rooms = {}
  for number, line in enumerate(lines, 1):
    words = line.split()
    if not words:
      continue
    if "--room-id" not in words[:-2]:
      raise errors.InputError(
        f"{path}:{number}: {line[:80]!r} names no room (--room-id ROOM ... "
        "FILE). Unpack the archive again."
      )
    room = words[words.index("--room-id") + 1]
    rooms[words[-1].rpartition("/")[2]] = room
  return rooms


CORPUS = corpus.Corpus(
  name="rirs",
  title=TITLE,
  kind="rooms",
  homepage="https://www.openslr.org/28",
  licence="Apache 2.0",
  version="OpenSLR 28 (2017)",
  citation=(
    "Ko, Peddinti, Povey, Seltzer, Khudanpur, A study on data augmentation of "
    "reverberant speech for robust speech recognition, ICASSP 2017"
  ),
  sample_rate_hz=16_000,
  hours=0.0,  # 60,325 responses: what counts is their number
  splits="Ours, by room: the room's name decides, as --split says.",
  find=find,
  archives=(
    corpus.Archive("rirs_noises.zip", "e6f48e257286e05de56413b4779d8ffb"),
  ),
  expected={_SIMULATED: 60_000, _REAL: 325},
)
