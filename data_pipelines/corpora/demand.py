"""DEMAND: five minutes of noise from each of 18 places at 48 kHz.

  SCENE/ch01.wav .. SCENE/ch16.wav

as the archives SCENE_48k.zip unpack. Only the first channel is taken: sixteen
microphones recorded the same noise a few centimetres apart. Of SCAFE there is
no 16 kHz archive, of the others there are two: take the 48 kHz ones, the folder
names are the same.

The split is by place. The test places are those of the test set of
VoiceBank+DEMAND (Valentini-Botinhao, doi:10.7488/ds/2117: living room, office,
bus, open-air cafeteria, public square), so that a model trained on this and on
our split of VCTK can be measured there; those of validation are in neither part
of it.

Sources: Zenodo 1227121 (archives; md5 of those listed, the others were not
found); DEMAND.pdf and the Zenodo record disagree on the licence; length from
the size of the wav files.
"""

import pathlib

from soundstream_jax.data_pipelines import corpus, layout

TITLE = "DEMAND"

_CHANNEL = "ch01.wav"
# Scene -> split, and the archive's md5 as Zenodo gives it where known.
_SCENES = {
  "DKITCHEN": ("train", "b4d38241fbd50d8a17f8742ca6870c10"),
  "DLIVING": ("test", ""),
  "DWASHING": ("validation", "ecf765f12b8d3ada7ef0ec664b8f8d73"),
  "NFIELD": ("train", ""),
  "NPARK": ("validation", ""),
  "NRIVER": ("train", ""),
  "OHALLWAY": ("train", "cb9227a75d2c1342de0b6548da4bbb1b"),
  "OMEETING": ("train", ""),
  "OOFFICE": ("test", "6f87edf8a6b03f17b3f693af1754aab4"),
  "PCAFETER": ("train", ""),
  "PRESTO": ("train", ""),
  "PSTATION": ("train", ""),
  "SCAFE": ("test", ""),
  "SPSQUARE": ("test", ""),
  "STRAFFIC": ("train", ""),
  "TBUS": ("test", ""),
  "TCAR": ("train", "8550f03e8356d8054ae845e8b4b6c773"),
  "TMETRO": ("train", "00d895020233f94348aafce7140d671f"),
}


def find(root: pathlib.Path) -> list[corpus.File]:
  """Returns the first channel of every place; a group is a place.

  Raises:
    InputError: `root` is not the folder in which DEMAND's archives were
      unpacked, nor the one above it.
  """
  folder = layout.locate(
    root, title=TITLE, own_names=["DEMAND", "demand"], parts=list(_SCENES)
  )
  return layout.read(
    folder, title=TITLE, parts=list(_SCENES), describe=_describe
  )


def _describe(name: str) -> tuple[str, str] | None:
  scene, _, file = name.partition("/")
  return (scene, _SCENES[scene][0]) if file == _CHANNEL else None


CORPUS = corpus.Corpus(
  name="demand",
  title=TITLE,
  kind="noise",
  homepage="https://zenodo.org/records/1227121",
  licence=(
    "CC BY 4.0 by the Zenodo record, CC BY-SA 3.0 by DEMAND.pdf in it: name "
    "the authors, and share alike what is derived from the audio"
  ),
  version="1.0 (2013)",
  citation=(
    "Thiemann, Ito, Vincent, The Diverse Environments Multi-channel Acoustic "
    "Noise Database, Proc. Meetings on Acoustics 19, 2013"
  ),
  sample_rate_hz=48_000,
  hours=1.5,
  splits=(
    "Ours, by place: the five of VoiceBank+DEMAND's test set test, DWASHING "
    "and NPARK validate, the other eleven train."
  ),
  find=find,
  archives=tuple(
    corpus.Archive(f"{scene}_48k.zip", md5)
    for scene, (_, md5) in _SCENES.items()
  ),
  expected=dict.fromkeys(_SCENES, 1),
)
