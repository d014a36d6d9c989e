"""Which groups and splits each dataset has, by its authors' rule or ours."""

import pytest

from soundstream_jax import errors
from soundstream_jax.data_pipelines.corpora import (
  demand,
  fsd50k,
  librispeech,
  libritts,
  magnatagatune,
  musan,
  rirs,
  vctk,
)


def _groups(files):
  """Returns group -> split."""
  return {file.group: file.split for file in files}


def test_libritts_speakers_are_in_their_authors_split(plant):
  assert _groups(libritts.find(plant("libritts"))) == {
    "84": "validation",
    "116": "validation",
    "1089": "test",
    "103": "train",
    "20": "train",
  }


def test_librispeech_speakers_are_in_their_authors_split(plant):
  assert _groups(librispeech.find(plant("librispeech"))) == {
    "84": "validation",
    "367": "test",
    "14": "train",
  }


def test_a_file_outside_of_a_speakers_chapter_is_passed_over(plant):
  name = "train-clean-100/103/1240/103_1240_000000_000001.wav"
  stray = ["train-clean-100/a.wav", "train-clean-100/103/a.wav"]
  files = libritts.find(plant("libritts", [name, *stray]))
  assert [file.name for file in files] == [name]


def test_vctk_holds_out_the_speakers_that_others_test_on(plant):
  groups = _groups(vctk.find(plant("vctk")))
  assert groups["p232"] == groups["p257"] == groups["s5"] == "test"
  assert groups["p336"] == "validation"
  assert groups["p225"] == groups["p280"] == groups["p315"] == "train"


def test_a_magnatagatune_artist_is_one_group_over_shards_and_albums(plant):
  files = magnatagatune.find(plant("magnatagatune"))
  assert _groups(files) == {"an_artist": "", "a_choir": ""}
  assert sum(file.group == "an_artist" for file in files) == 3


def test_magnatagatune_shards_may_lie_in_the_input_folder_itself(plant):
  folder = plant("magnatagatune")
  moved = folder.parent / "0"
  (folder / "0").rename(moved)
  files = magnatagatune.find(folder.parent)
  assert {file.path.parent for file in files} == {moved}


def test_musan_noise_is_meant_where_no_kind_is_asked_for():
  assert next(iter(musan.CORPUS)) == "noise"
  assert set(musan.CORPUS) == {"noise", "speech", "music"}


def test_musan_gives_the_kind_that_is_asked_for(plant):
  folder = plant("musan")
  for kind, described in musan.CORPUS.items():
    names = [file.name for file in described.find(folder)]
    assert names and all(name.startswith(f"{kind}/") for name in names)


def test_musan_music_is_grouped_by_artist_and_other_kinds_by_file(plant):
  folder = plant(
    "musan",
    [
      "music/fma/music-fma-0000.wav",
      "music/fma/music-fma-0001.wav",
      "music/jamendo/music-jamendo-0000.wav",
      "music/jamendo/music-jamendo-0001.wav",
      "noise/free-sound/noise-free-sound-0000.wav",
    ],
  )
  (folder / "music/fma/ANNOTATIONS").write_text(
    "music-fma-0000 folk,pop Y Ann\nmusic-fma-0001 jazz N Bob\n\n"
  )
  (folder / "music/jamendo/ANNOTATIONS").write_text(
    "music-jamendo-0000 rock N Ann composer\n"
  )
  music = musan.CORPUS["music"].find(folder)
  groups = {file.name.rpartition("/")[2]: file.group for file in music}
  assert groups["music-fma-0000.wav"] == groups["music-jamendo-0000.wav"]
  assert len(set(groups.values())) == 3
  assert groups["music-jamendo-0001.wav"] == "music-jamendo-0001"
  (noise,) = musan.CORPUS["noise"].find(folder)
  assert noise.group == "noise-free-sound-0000"


def test_musan_without_the_kind_that_is_asked_for_says_what_is_there(plant):
  folder = plant("musan", ["noise/free-sound/noise-free-sound-0000.wav"])
  with pytest.raises(errors.InputError, match=r"speech in it .* found noise\."):
    musan.CORPUS["speech"].find(folder)


def test_demand_takes_one_channel_of_a_place_and_tests_on_other_places(plant):
  assert _groups(demand.find(plant("demand"))) == {
    "DKITCHEN": "train",
    "DLIVING": "test",
    "DWASHING": "validation",
    "SCAFE": "test",
    "TCAR": "train",
  }
  assert demand.CORPUS.hours == 300 * len(demand.CORPUS.archives) / 3600


def test_fsd50k_keeps_the_official_splits_without_voices(plant):
  files = {file.name: file for file in fsd50k.find(plant("fsd50k"))}
  assert files["FSD50K.dev_audio/10.wav"].split == "train"
  assert files["FSD50K.dev_audio/10.wav"].group == "ann"
  assert files["FSD50K.dev_audio/20.wav"].split == "validation"
  assert files["FSD50K.eval_audio/30.wav"].split == "test"


@pytest.mark.parametrize(
  "name",
  [
    "FSD50K.ground_truth/dev.csv",
    "FSD50K.ground_truth/eval.csv",
    "FSD50K.metadata/dev_clips_info_FSD50K.json",
    "FSD50K.metadata/eval_clips_info_FSD50K.json",
  ],
)
def test_fsd50k_needs_to_know_voices_and_uploaders(plant, name):
  folder = plant("fsd50k")
  (folder / name).unlink()
  with pytest.raises(errors.InputError, match=f"{name}: cannot be used "):
    fsd50k.find(folder)


@pytest.mark.parametrize(
  ("info", "problem"),
  [
    ("{", "Expecting property name"),
    ("[]", "has no attribute"),
    ('{"10": []}', "indices"),
    ('{"10": {"license": "x"}}', "a clip without an uploader"),
    ('{"10": {"uploader": "ann"}}', "clip 11 is missing"),
  ],
)
def test_damaged_fsd50k_metadata_is_one_line(plant, info, problem):
  folder = plant("fsd50k")
  path = folder / "FSD50K.metadata/dev_clips_info_FSD50K.json"
  path.write_text(info)
  with pytest.raises(errors.InputError) as raised:
    fsd50k.find(folder)
  assert problem in str(raised.value)
  assert "\n" not in str(raised.value)


def test_an_unknown_fsd50k_split_is_named(plant):
  folder = plant("fsd50k")
  path = folder / "FSD50K.ground_truth/dev.csv"
  path.write_text(path.read_text().replace(",val\n", ",valid\n"))
  with pytest.raises(errors.InputError, match="clip 20 has split 'valid'"):
    fsd50k.find(folder)


def test_an_fsd50k_uploader_keeps_one_split_with_any_half_of_the_audio(plant):
  # Clip 51 is of validation, but its uploader tests: with the eval half not
  # downloaded it has to be left out all the same.
  names = ["FSD50K.dev_audio/20.wav", "FSD50K.dev_audio/51.wav"]
  files = fsd50k.find(plant("fsd50k", names))
  assert [file.name for file in files] == names[:1]


def test_rooms_of_the_same_name_and_other_sizes_are_other_rooms(plant):
  groups = [file.group for file in rirs.find(plant("rirs"))]
  assert groups == [
    "real/RVB2014_largeroom1",
    "real/AIR_lecture",
    "largeroom/Room001",
    "smallroom/Room001",
    "smallroom/Room001",
  ]


def test_real_responses_need_the_list_that_tells_them_from_noises(plant):
  folder = plant("rirs")
  path = folder / "real_rirs_isotropic_noises/rir_list"
  path.write_text("--rir-id 1 RIRS_NOISES/real_rirs_isotropic_noises/a.wav\n")
  with pytest.raises(errors.InputError, match=r"rir_list:1: .* names no room"):
    rirs.find(folder)
  path.unlink()
  with pytest.raises(errors.InputError, match="rir_list: cannot be used"):
    rirs.find(folder)
