"""LibriSpeech: 982 hours of read English at 16 kHz.

  LibriSpeech/PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac

beside transcripts (*.trans.txt), which are not read. Any subset of the parts
will do. For a codec at 24 kHz prefer LibriTTS, which is made from the same
recordings at their own rate.

Sources: OpenSLR 12 (archives, md5sum.txt, licence); files and hours per part
from the paper cited and the dataset's card.
"""

import pathlib

from soundstream_jax.data_pipelines import corpus, layout

TITLE = "LibriSpeech"

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
  "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
  "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
  "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
  "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
  "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
  "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
  "test-other": "fb5a50374b501bb3bac4815ee91d3135",
}


def find(root: pathlib.Path) -> list[corpus.File]:
  """Returns the utterances below `root`; a group is a speaker.

  Raises:
    InputError: `root` is not LibriSpeech, nor the folder above it.
  """
  folder = layout.locate(
    root, title=TITLE, own_names=["LibriSpeech"], parts=list(_SPLITS)
  )
  return layout.read(
    folder,
    title=TITLE,
    parts=list(_SPLITS),
    describe=layout.part_speaker_chapter(_SPLITS),
  )


CORPUS = corpus.Corpus(
  name="librispeech",
  title=TITLE,
  kind="speech",
  homepage="https://www.openslr.org/12",
  licence="CC BY 4.0",
  version="OpenSLR 12 (2015)",
  citation=(
    "Panayotov et al., LibriSpeech: an ASR corpus based on public domain "
    "audio books, ICASSP 2015"
  ),
  sample_rate_hz=16_000,
  hours=982.0,
  splits=(
    "The authors' own: train-* trains, dev-* validates, test-* tests; no "
    "speaker is in two parts."
  ),
  find=find,
  archives=tuple(
    corpus.Archive(f"{part}.tar.gz", md5) for part, md5 in _MD5.items()
  ),
  expected={
    "train-clean-100": 28_539,
    "train-clean-360": 104_014,
    "train-other-500": 148_688,
    "dev-clean": 2_703,
    "dev-other": 2_864,
    "test-clean": 2_620,
    "test-other": 2_939,
  },
)
