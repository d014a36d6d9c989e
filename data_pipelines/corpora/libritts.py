"""LibriTTS: 585 hours of read English at 24 kHz, the paper's clean speech.

  LibriTTS/PART/SPEAKER/CHAPTER/SPEAKER_CHAPTER_PARAGRAPH_SENTENCE.wav

beside transcripts (*.txt, *.tsv), which are not read. Any subset of the parts
will do.

Sources: OpenSLR 60 (archives, licence); the md5 sums as torchaudio lists them
for OpenSLR 60; files per part from the TFDS catalog, libritts 1.0.1; hours
from the paper cited.
"""

import pathlib

from soundstream_jax.data_pipelines import corpus, layout

TITLE = "LibriTTS"

# Part -> split: the authors' own.
_SPLITS = {
  "train-clean-100": "train",
  "train-clean-360": "train",
  "train-other-500": "train",
  "dev-clean": "validation",
  "dev-other": "validation",
  "test-clean": "test",
  "test-other": "test",
}
_MD5 = {
  "train-clean-100": "4a8c202b78fe1bc0c47916a98f3a2ea8",
  "train-clean-360": "a84ef10ddade5fd25df69596a2767b2d",
  "train-other-500": "7b181dd5ace343a5f38427999684aa6f",
  "dev-clean": "0c3076c1e5245bb3f0af7d82087ee207",
  "dev-other": "815555d8d75995782ac3ccd7f047213d",
  "test-clean": "7bed3bdb047c4c197f1ad3bc412db59f",
  "test-other": "ae3258249472a13b5abef2a816f733e4",
}


def find(root: pathlib.Path) -> list[corpus.File]:
  """Returns the utterances below `root`; a group is a speaker.

  Raises:
    InputError: `root` is not LibriTTS, nor the folder above it.
  """
  folder = layout.locate(
    root, title=TITLE, own_names=["LibriTTS"], parts=list(_SPLITS)
  )
  return layout.read(
    folder,
    title=TITLE,
    parts=list(_SPLITS),
    describe=layout.part_speaker_chapter(_SPLITS),
  )


CORPUS = corpus.Corpus(
  name="libritts",
  title=TITLE,
  kind="speech",
  homepage="https://www.openslr.org/60",
  licence="CC BY 4.0",
  version="OpenSLR 60 (2019)",
  citation=(
    "Zen et al., LibriTTS: A Corpus Derived from LibriSpeech for "
    "Text-to-Speech, Interspeech 2019"
  ),
  sample_rate_hz=24_000,
  hours=585.0,
  splits=(
    "The authors' own: train-* trains, dev-* validates, test-* tests; no "
    "speaker is in two parts."
  ),
  find=find,
  archives=tuple(
    corpus.Archive(f"{part}.tar.gz", md5) for part, md5 in _MD5.items()
  ),
  expected={
    "train-clean-100": 33_236,
    "train-clean-360": 116_500,
    "train-other-500": 205_044,
    "dev-clean": 5_736,
    "dev-other": 4_613,
    "test-clean": 4_837,
    "test-other": 5_120,
  },
)
