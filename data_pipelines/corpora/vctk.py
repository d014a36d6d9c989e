"""VCTK 0.92: 110 speakers of English with many accents at 48 kHz.

  wav48_silence_trimmed/SPEAKER/SPEAKER_UTTERANCE_mic1.flac

Only the first microphone is taken: the second one recorded the same speech at
the same time, and has nothing of p280 and p315. Transcripts (txt/) are not
read, so p315, whose transcripts were lost, is kept.

There is no official split. Ours holds out speakers, by name. Speakers read
many of the same sentences, so the text of held-out speech is not unseen.

Sources: Edinburgh DataShare 10283/3443 (archive, md5, licence); speakers and
files from the TFDS catalog, vctk/mic1; hours from the 81.4 h that others count
in the 86,638 files of both microphones; VoiceBank+DEMAND's test speakers from
Valentini-Botinhao, doi:10.7488/ds/2117.
"""

import pathlib

from soundstream_jax.data_pipelines import corpus, layout

TITLE = "VCTK 0.92"

_PART = "wav48_silence_trimmed"
_MICROPHONE = "_mic1.flac"
# p232 and p257 are the test speakers of VoiceBank+DEMAND, which is made from
# VCTK: a model trained here can be measured there. The others of the test
# split are the last eight names, and those of validation the eight before.
_TEST = frozenset(
  {"p232", "p257", "p360", "p361", "p362", "p363", "p364", "p374"}
  | {"p376", "s5"}
)
_VALIDATION = frozenset(
  {"p336", "p339", "p340", "p341", "p343", "p345", "p347", "p351"}
)


def find(root: pathlib.Path) -> list[corpus.File]:
  """Returns the utterances of microphone 1; a group is a speaker.

  Raises:
    InputError: `root` is not the unpacked VCTK, nor the folder above it.
  """
  folder = layout.locate(
    root,
    title=TITLE,
    own_names=["VCTK-Corpus-0.92", "VCTK-Corpus"],
    parts=[_PART],
  )
  return layout.read(folder, title=TITLE, parts=[_PART], describe=_describe)


def _describe(name: str) -> tuple[str, str] | None:
  _, *speakers, file = name.split("/")
  if len(speakers) != 1 or not file.endswith(_MICROPHONE):
    return None
  (speaker,) = speakers
  if speaker in _TEST:
    return speaker, "test"
  return speaker, "validation" if speaker in _VALIDATION else "train"


CORPUS = corpus.Corpus(
  name="vctk",
  title=TITLE,
  kind="speech",
  homepage="https://datashare.ed.ac.uk/handle/10283/3443",
  licence="CC BY 4.0",
  version="0.92 (2019)",
  citation=(
    "Yamagishi, Veaux, MacDonald, CSTR VCTK Corpus: English Multi-speaker "
    "Corpus for CSTR Voice Cloning Toolkit (version 0.92), 2019, "
    "doi:10.7488/ds/2645"
  ),
  sample_rate_hz=48_000,
  hours=42.0,
  splits=(
    "Ours, by speaker: p232, p257 and p360 to s5 test (10), p336 to p351 "
    "validate (8), the others train (92)."
  ),
  find=find,
  archives=(
    corpus.Archive("VCTK-Corpus-0.92.zip", "8a6ba2946b36fcbef0212cad601f4bfa"),
  ),
  expected={_PART: 44_455},
)
