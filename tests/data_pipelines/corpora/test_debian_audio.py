"""Files that are taken of Debian packages, and the splits they go to."""

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.audio import reading
from soundstream_jax.data_pipelines.corpora import debian_audio
from soundstream_jax.data_pipelines.debian import rules as debian

STAMPS = "tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
FISH = "fillets-ng-data-cs/usr/share/games/fillets-ng/sound"
LETTERS = "klettres-data/usr/share/klettres"
HORIZONS = "unknown-horizons/usr/share/unknown-horizons/content/audio"
SONGS = "usr/share/games/fretsonfire/data/songs"
WESNOTH = "wesnoth-1.16-music/usr/share/games/wesnoth/1.16/data/core/music"
SINGULARITY = "singularity-music/usr/share/games/singularity/music"
HEDGEWARS = "hedgewars-data/usr/share/games/hedgewars/Data"
UFOAI = "ufoai-sound/usr/share/games/ufoai/base/0snd/sound"
SFX = "openttd-opensfx/usr/share/games/openttd/baseset/opensfx/opensfx"
LMMS = "lmms-common/usr/share/lmms/samples"
SONIC = "sonic-pi-samples/usr/share/sonic-pi/samples"

# Names of the real packages -> (group, split); None for what is passed over.
SPEECH = {
  f"{FISH}/alibaba/cs/kni-m-amfornictvi.ogg": ("fillets/m", "train"),
  f"{FISH}/fdto/cs/nacekala-m.ogg": ("fillets/m", "train"),
  f"{FISH}/hanoi/cs/v-kopie.ogg": ("fillets/v", "train"),
  f"{FISH}/bathyscaph/cs/bat-s-prome1.ogg": ("fillets/bathyscaph", "train"),
  f"{FISH}/share/border/cs/sp-shout_small_02.ogg": (
    "fillets/share/border",
    "train",
  ),
  f"{STAMPS}/animals/birds/owl_desc.ogg": ("tuxpaint/en", "validation"),
  f"{STAMPS}/animals/birds/owl_desc_be.ogg": None,
  f"{STAMPS}/animals/birds/owl_desc_bg.ogg": ("tuxpaint/bg", "train"),
  f"{STAMPS}/animals/birds/owl_desc_ca.ogg": None,
  f"{STAMPS}/animals/birds/owl_desc_da.ogg": ("tuxpaint/da", "test"),
  f"{STAMPS}/animals/birds/owl_desc_el.ogg": None,
  f"{STAMPS}/animals/birds/owl_desc_es.ogg": ("tuxpaint/es", "train"),
  f"{STAMPS}/animals/birds/owl_desc_fr.ogg": ("tuxpaint/fr", "test"),
  f"{STAMPS}/animals/birds/owl_desc_lt.ogg": ("tuxpaint/lt", "validation"),
  f"{STAMPS}/animals/birds/owl_desc_ro.ogg": ("tuxpaint/ro", "test"),
  f"{STAMPS}/animals/birds/owl_desc_ru.ogg": ("tuxpaint/ru", "train"),
  f"{STAMPS}/symbols/math/7_fr.ogg": None,
  f"{LETTERS}/cs/alpha/a-01.ogg": None,
  f"{LETTERS}/es/syllab/ba.ogg": None,
  f"{LETTERS}/fr/alpha/a-01.ogg": ("klettres/fr", "test"),
  f"{LETTERS}/ml/syllab/a.ogg": ("klettres/ml", "validation"),
  f"{LETTERS}/ru/alpha/a-01.ogg": None,
  f"{HORIZONS}/voice/en/0/new_world/0.ogg": ("unknown-horizons/en", "test"),
  f"{HEDGEWARS}/Sounds/voices/British/Hello.ogg": None,
}
MUSIC = {
  f"{WESNOTH}/battle.ogg": ("wesnoth/battle", "train"),
  f"{WESNOTH}/frantic.ogg": ("wesnoth/frantic", "validation"),
  f"{WESNOTH}/silence.ogg": None,
  f"{WESNOTH}/the_deep_path.ogg": ("wesnoth/the_deep_path", "test"),
  f"{SINGULARITY}/Nebula.ogg": ("singularity/Nebula", "train"),
  f"{SINGULARITY}/lose/Chimes They Fade.ogg": (
    "singularity/lose/Chimes They Fade",
    "test",
  ),
  f"{SINGULARITY}/win/Apex Aleph.ogg": (
    "singularity/win/Apex Aleph",
    "validation",
  ),
  f"fretsonfire-songs-muldjord/{SONGS}/muldjord/mutilated_mime/song.ogg": (
    "muldjord/mutilated_mime",
    "test",
  ),
  f"fretsonfire-songs-sectoid/{SONGS}/sectoid/Feelings/guitar.ogg": (
    "sectoid/Feelings",
    "validation",
  ),
  f"fretsonfire-songs-sectoid/{SONGS}/sectoid/Metal madness/guitar.ogg": (
    "sectoid/Metal madness",
    "train",
  ),
  f"fretsonfire-songs-sectoid/{SONGS}/sectoid/Metal madness/song.ogg": (
    "sectoid/Metal madness",
    "train",
  ),
  f"{HEDGEWARS}/Music/City.ogg": ("hedgewars/City", "validation"),
  f"{HEDGEWARS}/Music/Fruit.ogg": ("hedgewars/Fruit", "test"),
  f"{HEDGEWARS}/Music/Golf.ogg": ("hedgewars/Golf", "train"),
  f"{HEDGEWARS}/Sounds/ride_of_the_valkyries.ogg": None,
  f"{HORIZONS}/music/menu/main_theme.ogg": (
    "unknown-horizons/menu/main_theme",
    "test",
  ),
}
NOISE = {
  f"{UFOAI}/ambience/arcticwind.ogg": ("ufoai/ambience", "train"),
  f"{UFOAI}/ambience/tv_newswav.ogg": None,
  f"{UFOAI}/aliens/ortnok/die1.ogg": None,
  f"{UFOAI}/civilians/malehurt02.ogg": None,
  f"{UFOAI}/misc/breakglass01.ogg": ("ufoai/misc", "validation"),
  f"{UFOAI}/soldiers/maledeath01.ogg": None,
  f"{STAMPS}/animals/birds/owl.ogg": ("tuxpaint/animals", "train"),
  f"{STAMPS}/animals/birds/owl_desc.ogg": None,
  f"{STAMPS}/animals/birds/owl_desc_fr.ogg": None,
  f"{STAMPS}/seasonal/hanukkah/dreydl-hay.ogg": None,
  f"{STAMPS}/symbols/math/7_en_GB.ogg": None,
  f"{LMMS}/drums/clap01.ogg": ("lmms/drums", "train"),
  f"{LMMS}/misc/breath01.ogg": None,
  f"{LMMS}/stringsnpads/bell_choir01.ogg": None,
  f"{LMMS}/waveforms/10saw.flac": None,
  f"{SONIC}/ambi_choir.flac": None,
  f"{SONIC}/perc_door.flac": ("sonic-pi/perc", "train"),
  f"{SONIC}/vinyl_hiss.flac": ("sonic-pi/vinyl", "train"),
  f"{SONIC}/vinyl_rewind.flac": None,
  f"{SFX}/003.wav": ("opensfx", "train"),
  f"{SFX}/030.wav": None,
  f"{HEDGEWARS}/Sounds/explosion.ogg": ("hedgewars", "validation"),
  f"{HEDGEWARS}/Sounds/hell_ow.ogg": None,
  f"{HEDGEWARS}/Sounds/voices/British/Hello.ogg": None,
  f"{HORIZONS}/sounds/events/new_era.ogg": None,
  f"{HORIZONS}/sounds/sheepfield.ogg": ("unknown-horizons", "test"),
}
TREES = {"speech": SPEECH, "music": MUSIC, "noise": NOISE}


def _write(path, seed):
  path.parent.mkdir(parents=True, exist_ok=True)
  noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 2_400)
  soundfile.write(path, noise, 24_000)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  """All packages, a tenth of a second a file."""
  root = tmp_path_factory.mktemp("debian") / "debian_audio"
  names = {name for tree in TREES.values() for name in tree}
  for seed, name in enumerate(sorted(names)):
    _write(root / name, seed)
    package = name.split("/")[0]
    documents = root / package / "usr/share/doc" / package
    documents.mkdir(parents=True, exist_ok=True)
    (documents / "copyright").write_text("free\n")
  return root


def _found(root, kind):
  return debian_audio.CORPUS[kind].find(root)


@pytest.mark.parametrize("kind", TREES)
def test_files_of_a_kind_go_to_their_group_and_split_and_no_others(tree, kind):
  found = {f.name: (f.group, f.split) for f in _found(tree, kind)}
  assert found == {name: to for name, to in TREES[kind].items() if to}


@pytest.mark.parametrize("kind", TREES)
def test_files_are_ordered_and_readable(tree, kind):
  files = _found(tree, kind)
  assert [f.name for f in files] == sorted(f.name for f in files)
  for file in files:
    assert file.path == tree / file.name
    assert file.size_bytes == file.path.stat().st_size
  assert reading.read_mono(files[0].path, sample_rate_hz=24_000).size == 2_400


@pytest.mark.parametrize("kind", TREES)
def test_no_group_is_in_two_splits_and_each_split_has_some(tree, kind):
  groups = {}
  for file in _found(tree, kind):
    groups.setdefault(file.split, set()).add(file.group)
  assert set(groups) == {"train", "validation", "test"}
  assert sum(map(len, groups.values())) == len(set().union(*groups.values()))


def test_no_file_is_of_two_kinds(tree):
  names = [f.name for kind in TREES for f in _found(tree, kind)]
  assert len(names) == len(set(names))


def test_no_language_of_letters_is_held_out_that_trains_in_stories():
  rules = debian.RULES["speech"]
  trained = {g for rule in rules for g in rule.train} | {"cs"}
  validated = {g for rule in rules for g in rule.validation}
  tested = {g for rule in rules for g in rule.test}
  assert not trained & (validated | tested)
  assert not validated & tested


@pytest.mark.parametrize("kind", TREES)
def test_every_package_of_a_kind_has_a_licence_and_an_expected_number(kind):
  described = debian_audio.CORPUS[kind]
  packages = debian.packages(kind)
  assert sorted(described.expected) == packages
  for package in packages:
    assert debian_audio.PACKAGES[package] in described.licence
  fetched = {p for k in TREES for p in debian.packages(k)}
  assert fetched == set(debian_audio.PACKAGES)


def test_copies_within_a_kind_are_taken_once(tmp_path):
  names = [
    f"{STAMPS}/a/{name}_desc_es.ogg"
    for name in ("filled/owl", "other", "outlined/owl")
  ]
  for seed, name in enumerate(names):
    _write(tmp_path / name, seed)
  copy = tmp_path / names[2]
  copy.write_bytes((tmp_path / names[0]).read_bytes())
  assert [f.name for f in _found(tmp_path, "speech")] == names[:2]


def test_the_folder_above_and_a_part_of_the_packages_will_do(tree, tmp_path):
  assert _found(tree.parent, "noise") == _found(tree, "noise")
  name = f"{SONIC}/perc_door.flac"
  _write(tmp_path / name, seed=0)
  (file,) = _found(tmp_path, "noise")
  assert (file.name, file.group, file.split) == (name, *NOISE[name])


@pytest.mark.parametrize("kind", TREES)
def test_a_wrong_folder_says_how_to_fetch_the_right_one(tmp_path, kind):
  with pytest.raises(errors.InputError) as raised:
    _found(tmp_path, kind)
  message = str(raised.value)
  assert "\n" not in message
  assert f"--input={tmp_path} is not " in message
  assert f"corpora.debian_audio --out={tmp_path}`" in message


def test_a_path_of_another_release_still_fits():
  name = "wesnoth-1.16-music/usr/share/games/wesnoth/1.18/x/music/battle.ogg"
  assert debian.describe("music", name) == ("wesnoth/battle", "train")
