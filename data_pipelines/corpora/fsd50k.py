"""FSD50K: 51,197 clips of sounds from Freesound at 44.1 kHz, used as noise.

  FSD50K.dev_audio/CLIP.wav                  FSD50K.eval_audio/CLIP.wav
  FSD50K.ground_truth/dev.csv, eval.csv      fname,labels,mids[,split]
  FSD50K.metadata/dev_clips_info_FSD50K.json, eval_clips_info_FSD50K.json

The four tables say what a clip holds and who uploaded it, and are needed. Of
the audio, one half will do.

Left out, as noise for speech: clips that hold a voice, `VOICES`. Labels of the
eval half are complete; of the dev half they may not be, so that some speech
stays in the background. Instruments are kept: music is noise to a speaker.

Kept, whatever its licence: every other clip. Of the dev half 14,959 clips are
CC0, 20,017 CC BY, 4,616 CC BY-NC and 1,374 Sampling+; the JSON files name each
clip's licence and uploader. For a model with commercial uses, take at least the
CC BY-NC ones out of the folder first.

Splits are the authors': train and val of dev.csv train and validate, eval
tests. Where clips of one uploader are in several of them, those of the test
split stay, or else those of validation, and the others are left out: so no
uploader, with the same microphone and room, is on two sides.

Sources: Zenodo 4060432 (archives, md5, licence, clips, hours); licences of the
dev half as counted by others from its JSON file.
"""

import json
import pathlib

from soundstream_jax.data_pipelines import corpus, layout

TITLE = "FSD50K"

# Labels of the AudioSet ontology, as FSD50K spells them. A clip carries its
# labels' ancestors too, so "Human_voice" alone covers speech, singing, shouts,
# laughter, crying and whispers; the names below it are in case of a release
# without ancestors. Of "Human_group_actions", those made of voices.
VOICES = frozenset(
  {
    "Human_voice",
    "Speech",
    "Male_speech_and_man_speaking",
    "Female_speech_and_woman_speaking",
    "Child_speech_and_kid_speaking",
    "Conversation",
    "Speech_synthesizer",
    "Whispering",
    "Singing",
    "Male_singing",
    "Female_singing",
    "Shout",
    "Yell",
    "Screaming",
    "Laughter",
    "Giggle",
    "Chuckle_and_chortle",
    "Crying_and_sobbing",
    "Chatter",
    "Crowd",
    "Cheering",
  }
)

_HALVES = ("dev", "eval")
_SPLITS = {"train": "train", "val": "validation"}
_STRICTEST = ("test", "validation", "train")


def find(root: pathlib.Path) -> list[corpus.File]:
  """Returns the clips without voices; a group is an uploader.

  Raises:
    InputError: `root` is not the folder in which FSD50K was unpacked, nor the
      one above it; a table or a JSON file is missing or damaged.
  """
  parts = [f"FSD50K.{half}_audio" for half in _HALVES]
  folder = layout.locate(root, title=TITLE, own_names=["FSD50K"], parts=parts)
  clips = {}
  for half, part in zip(_HALVES, parts, strict=True):
    clips |= _clips(folder, half, part)
  kept_in = {}  # uploader -> the strictest split that has a clip of theirs
  for uploader, split, _ in clips.values():
    known = kept_in.setdefault(uploader, split)
    kept_in[uploader] = min(known, split, key=_STRICTEST.index)

  def describe(name: str) -> tuple[str, str] | None:
    uploader, split, voice = clips.get(name, ("", "", True))
    if voice or kept_in[uploader] != split:
      return None
    return uploader, split

  return layout.read(folder, title=TITLE, parts=parts, describe=describe)


def _clips(
  folder: pathlib.Path, half: str, part: str
) -> dict[str, tuple[str, str, bool]]:
  """Returns a clip's name -> (uploader, split, whether it holds a voice)."""
  columns = ["fname", "labels"] + ["split"] * (half == "dev")
  rows = layout.table(folder / f"FSD50K.ground_truth/{half}.csv", columns)
  path = folder / f"FSD50K.metadata/{half}_clips_info_FSD50K.json"
  try:
    info = json.loads(path.read_text("utf-8"))
    uploaders = {clip: str(about["uploader"]) for clip, about in info.items()}
  except (OSError, ValueError, AttributeError, TypeError) as error:
    raise layout.unusable(path, error) from None
  except KeyError:
    raise layout.unusable(path, "a clip without an uploader") from None
  clips = {}
  for row in rows:
    clip = row["fname"]
    split = _SPLITS.get(row["split"]) if half == "dev" else "test"
    if split is None:
      raise layout.unusable(
        folder / f"FSD50K.ground_truth/{half}.csv",
        f"clip {clip} has split {row['split']!r}, not train or val",
      )
    if clip not in uploaders:
      raise layout.unusable(path, f"clip {clip} is missing")
    voice = not VOICES.isdisjoint(row["labels"].split(","))
    clips[f"{part}/{clip}.wav"] = uploaders[clip], split, voice
  return clips


CORPUS = corpus.Corpus(
  name="fsd50k",
  title=TITLE,
  kind="noise",
  homepage="https://zenodo.org/records/4060432",
  licence=(
    "each clip its own: CC0, CC BY, CC BY-NC or CC Sampling+, in "
    "FSD50K.metadata/*_clips_info_FSD50K.json; the collection: CC BY 4.0"
  ),
  version="1.0 (2020)",
  citation=(
    "Fonseca, Favory, Pons, Font, Serra, FSD50K: an Open Dataset of "
    "Human-Labeled Sound Events, IEEE/ACM TASLP 30, 2022"
  ),
  sample_rate_hz=44_100,
  hours=108.3,
  splits=(
    "The authors' own: train and val of dev.csv, eval tests; clips of an "
    "uploader who is in a stricter split are left out."
  ),
  find=find,
  archives=(
    corpus.Archive("FSD50K.dev_audio.zip", "c480d119b8f7a7e32fdb58f3ea4d6c5a"),
    corpus.Archive("FSD50K.dev_audio.z01", "faa7cf4cc076fc34a44a479a5ed862a3"),
    corpus.Archive("FSD50K.dev_audio.z02", "8f9b66153e68571164fb1315d00bc7bc"),
    corpus.Archive("FSD50K.dev_audio.z03", "1196ef47d267a993d30fa98af54b7159"),
    corpus.Archive("FSD50K.dev_audio.z04", "d088ac4e11ba53daf9f7574c11cccac9"),
    corpus.Archive("FSD50K.dev_audio.z05", "81356521aa159accd3c35de22da28c7f"),
    corpus.Archive("FSD50K.eval_audio.zip", "6fa47636c3a3ad5c7dfeba99f2637982"),
    corpus.Archive("FSD50K.eval_audio.z01", "3090670eaeecc013ca1ff84fe4442aeb"),
    corpus.Archive(
      "FSD50K.ground_truth.zip", "ca27382c195e37d2269c4c866dd73485"
    ),
    corpus.Archive("FSD50K.metadata.zip", "b9ea0c829a411c1d42adb9da539ed237"),
    corpus.Archive("FSD50K.doc.zip", "3516162b82dc2945d3e7feba0904e800"),
  ),
  # How many clips are left without voices depends on the tables; not known.
  expected={},
)
