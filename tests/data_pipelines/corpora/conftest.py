"""Small trees in the layout of each public dataset."""

import json
import pathlib

import numpy as np
import pytest
import soundfile

# Dataset -> (its own folder's name, files to be found, files to be passed over)
TREES = {
  "libritts": (
    "LibriTTS",
    [
      "dev-clean/84/121123/84_121123_000007_000001.wav",
      "dev-other/116/288045/116_288045_000003_000000.wav",
      "test-clean/1089/134686/1089_134686_000002_000000.wav",
      "train-clean-100/103/1240/103_1240_000000_000001.wav",
      "train-clean-100/103/1241/103_1241_000000_000001.wav",
      "train-other-500/20/205/20_205_000000_000000.wav",
    ],
    [
      "train-clean-100/103/1240/103_1240_000000_000001.normalized.txt",
      "train-clean-100/103/1240/103_1240_000000_000001.original.txt",
      "train-clean-100/103/1240/103_1240.trans.tsv",
      "train-clean-100/103/1240/103_1240.book.tsv",
      "SPEAKERS.txt",
    ],
  ),
  "librispeech": (
    "LibriSpeech",
    [
      "dev-clean/84/121123/84-121123-0000.flac",
      "test-other/367/130732/367-130732-0000.flac",
      "train-clean-360/14/208/14-208-0000.flac",
      "train-clean-360/14/212/14-212-0000.flac",
    ],
    ["dev-clean/84/121123/84-121123.trans.txt", "CHAPTERS.TXT"],
  ),
  "vctk": (
    "VCTK-Corpus-0.92",
    [
      f"wav48_silence_trimmed/{speaker}/{speaker}_001_mic1.flac"
      for speaker in ("p225", "p232", "p257", "p280", "p315", "p336", "s5")
    ],
    [
      "wav48_silence_trimmed/p225/p225_001_mic2.flac",
      "wav48_silence_trimmed/log.txt",
      "txt/p225/p225_001.txt",
      "speaker-info.txt",
    ],
  ),
  "magnatagatune": (
    "mp3",
    [
      "0/an_artist-first_album-01-a_song-0-29.mp3",
      "0/an_artist-first_album-01-a_song-30-59.mp3",
      "c/an_artist-second_album-11-another_song-117-146.mp3",
      "f/a_choir-mass-02-kyrie-88-117.mp3",
    ],
    ["0/notes.txt", "0/cover.mp3", "readme.txt"],
  ),
  "musan": (
    "musan",
    [
      "noise/free-sound/noise-free-sound-0000.wav",
      "noise/free-sound/noise-free-sound-0001.wav",
      "noise/sound-bible/noise-sound-bible-0000.wav",
    ],
    [
      "noise/free-sound/ANNOTATIONS",
      "noise/free-sound/LICENSE",
      "speech/librivox/speech-librivox-0000.wav",
      "music/fma/music-fma-0000.wav",
      "README",
    ],
  ),
  "demand": (
    "DEMAND",
    [
      f"{scene}/ch01.wav"
      for scene in ("DKITCHEN", "DLIVING", "DWASHING", "SCAFE", "TCAR")
    ],
    ["DKITCHEN/ch02.wav", "DKITCHEN/ch16.wav", "DEMAND.pdf"],
  ),
  "fsd50k": (
    "FSD50K",
    [
      "FSD50K.dev_audio/10.wav",
      "FSD50K.dev_audio/11.wav",
      "FSD50K.dev_audio/20.wav",
      "FSD50K.eval_audio/30.wav",
    ],
    [
      "FSD50K.dev_audio/40.wav",  # speech
      "FSD50K.dev_audio/41.wav",  # singing
      "FSD50K.dev_audio/50.wav",  # by the uploader of 20, who validates
      "FSD50K.dev_audio/51.wav",  # by the uploader of 30, who tests
      "FSD50K.dev_audio/99.wav",  # in no table
      "FSD50K.eval_audio/42.wav",  # chatter
    ],
  ),
  "rirs": (
    "RIRS_NOISES",
    [
      "real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_far_angla.wav",
      "real_rirs_isotropic_noises/air_type1_air_phone_lecture_hfrp_1.wav",
      "simulated_rirs/largeroom/Room001/Room001-00001.wav",
      "simulated_rirs/smallroom/Room001/Room001-00001.wav",
      "simulated_rirs/smallroom/Room001/Room001-00002.wav",
    ],
    [
      "real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav",
      "pointsource_noises/noise-free-sound-0000.wav",
      "simulated_rirs/smallroom/room_info",
      "simulated_rirs/README",
    ],
  ),
}

FSD50K_CLIPS = {  # half -> clip -> (labels, split, uploader)
  "dev": {
    "10": ("Rain,Natural_sounds", "train", "ann"),
    "11": ("Electric_guitar,Guitar,Music", "train", "ann"),
    "20": ("Engine", "val", "bob"),
    "40": ("Male_speech_and_man_speaking,Speech,Human_voice", "train", "ann"),
    "41": ("Female_singing,Singing,Human_voice,Music", "train", "ann"),
    "50": ("Bark,Dog,Animal", "train", "bob"),
    "51": ("Wind", "val", "eve"),
  },
  "eval": {
    "30": ("Thunder", "", "eve"),
    "42": ("Chatter,Human_group_actions", "", "dan"),
  },
}

RIR_LIST = (
  "--rir-id 00001 --room-id RVB2014_largeroom1 --receiver-position-id 1 "
  "RIRS_NOISES/real_rirs_isotropic_noises/"
  "RVB2014_type1_rir_largeroom1_far_angla.wav\n"
  "--rir-id 00002 --room-id AIR_lecture RIRS_NOISES/"
  "real_rirs_isotropic_noises/air_type1_air_phone_lecture_hfrp_1.wav\n"
)


@pytest.fixture(scope="session")
def trees():
  """Returns dataset -> (own folder's name, found names, passed over names)."""
  return TREES


@pytest.fixture
def plant(tmp_path):
  """Returns a function (dataset, names=all of it) -> the dataset's folder.

  Names that end as audio does hold a tenth of a second of it.
  """

  def make(dataset: str, names=None) -> pathlib.Path:
    own_name, found, others = TREES[dataset]
    folder = tmp_path / "unpacked" / own_name
    for name in [*found, *others] if names is None else names:
      write(folder / name)
    if dataset == "fsd50k":
      _write_tables(folder)
    if dataset == "rirs" and (folder / "real_rirs_isotropic_noises").is_dir():
      (folder / "real_rirs_isotropic_noises/rir_list").write_text(RIR_LIST)
    return folder

  return make


def write(path: pathlib.Path) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix in (".wav", ".flac", ".mp3"):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 1_600)
    soundfile.write(path, noise, 16_000)
  else:
    path.write_text("not audio\n")


def _write_tables(folder: pathlib.Path) -> None:
  for name in ("ground_truth", "metadata"):
    (folder / f"FSD50K.{name}").mkdir(parents=True, exist_ok=True)
  for half, clips in FSD50K_CLIPS.items():
    rows = ["fname,labels,mids" + ",split" * (half == "dev")]
    for clip, (labels, split, _) in clips.items():
      rows.append(f'{clip},"{labels}","/m/0"' + f",{split}" * bool(split))
    table = folder / f"FSD50K.ground_truth/{half}.csv"
    table.write_text("\n".join(rows) + "\n")
    info = {
      clip: {
        "title": clip,
        "license": "http://creativecommons.org/licenses/by/3.0/",
        "uploader": uploader,
      }
      for clip, (_, _, uploader) in clips.items()
    }
    path = folder / f"FSD50K.metadata/{half}_clips_info_FSD50K.json"
    path.write_text(json.dumps(info))
