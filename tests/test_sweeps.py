"""Laws of the sweeps: what they compare, for a preset of any size."""

import functools

import jax
import ml_collections
import pytest

from soundstream_jax import config, errors
from soundstream_jax.model import soundstream
from soundstream_jax.settings import constraints, fields, sweeps
from soundstream_jax.settings.constraints import quantizers as kinds_lib
from soundstream_jax.train import state as state_lib

SWEEPS = config.sweep_files()
PRESETS = ("tiny", "small", "soundstream_24khz")

ABLATIONS = [
  "baseline",
  "no_adversarial",
  "no_feature",
  "wave_only",
  "stft_only",
  "no_dropout",
  "no_average",
  "no_kmeans",
  "no_revival",
  "balancer",
  "mel_encoder",
  "balancer_encodec",
]


def preset(name, **overrides):
  return sweeps.apply(config.load(name), overrides)


def points(name, chosen):
  """Returns point's name -> Config of a sweep."""
  sweep = config.load_sweep(name)
  return {
    point.name: config.from_dict(sweep.apply(chosen, point))
    for point in sweep.points(chosen)
  }


@functools.cache
def declared(model):
  """Returns the parameters of a generator, as shapes."""
  return soundstream.declare(config.Config(model=model))


def layers_and_codes(c):
  return c.quantizer.num_quantizers, c.quantizer.codebook_size


def test_the_shipped_sweeps_are_found():
  assert list(SWEEPS) == [
    "ablations",
    "bitrate",
    "codebook_size",
    "discriminators",
    "objectives",
    "quantizers",
    "seeds",
    "strides",
    "widths",
  ]


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_says_what_it_asks_and_where_the_paper_does(name):
  sweep = config.load_sweep(name)
  question, _, rest = sweep.asks.partition("\n")
  assert question.endswith("?")
  assert any(word in rest for word in ("Table", "Fig", "Not in the paper"))
  assert "itrate" in rest or "depth" in rest


@pytest.mark.parametrize("size", PRESETS)
@pytest.mark.parametrize("name", SWEEPS)
def test_every_point_of_every_sweep_could_start(name, size):
  chosen = preset(size, **{"data.noise": "noises", "data.sources": "voices"})
  built = points(name, chosen)
  assert len(built) == len(set(built.values())) >= 3
  for c in built.values():
    constraints.check_kmeans(c)
    assert declared(c.model)


@pytest.mark.parametrize("size", [*PRESETS, "soundstream_24khz_6kbps"])
@pytest.mark.parametrize("name", SWEEPS)
def test_what_a_sweep_fixes_is_the_same_in_all_of_its_points(name, size):
  sweep, chosen = config.load_sweep(name), preset(size)
  rates = [c.rates for c in points(name, chosen).values()]
  if sweep.fixes == "bitrate":
    assert {r.bitrate_bps() for r in rates} == {6_000} == {sweep.bitrate_bps}
  if sweep.fixes == "depth":
    assert {r.num_quantizers for r in rates} == {
      chosen.quantizer.num_quantizers
    }


@pytest.mark.parametrize("size", PRESETS)
def test_codebook_sizes_are_those_of_table_two(size):
  built = points("codebook_size", preset(size))
  found = [layers_and_codes(c) for c in built.values()]
  assert found == [(8, 1024), (16, 32), (80, 2)]


def test_widths_of_the_papers_model_are_those_of_table_one():
  built = points("widths", preset("soundstream_24khz"))
  found = [
    (c.model.encoder_channels, c.model.decoder_channels) for c in built.values()
  ]
  assert found == [(32, 32), (16, 16), (16, 32), (8, 32), (32, 16), (32, 8)]
  assert {layers_and_codes(c) for c in built.values()} == {(8, 1024)}


def test_strides_of_the_papers_model_are_those_of_table_three():
  built = points("strides", preset("soundstream_24khz"))
  found = [(c.model.strides, *layers_and_codes(c)) for c in built.values()]
  assert found == [
    ((1, 4, 5, 8), 4, 1024),
    ((2, 4, 5, 8), 8, 1024),
    ((4, 4, 5, 8), 16, 1024),
  ]


@pytest.mark.parametrize("size", PRESETS)
def test_points_of_other_strides_hear_the_same_crops(size):
  built = points("strides", preset(size)).values()
  for name in ("data.crop_samples", "evaluation.clip_samples"):
    (samples,) = {config.get(c, name) for c in built}
    assert samples >= fields.flatten(preset(size))[name]


def test_bitrates_of_the_papers_model_are_those_of_figure_seven():
  built = points("bitrate", preset("soundstream_24khz"))
  found = [
    (int(c.rates.bitrate_bps()), c.quantizer.dropout) for c in built.values()
  ]
  alone = [(bps, False) for bps in (18_000, 3_000, 6_000, 9_000, 12_000)]
  assert found == [(18_000, True), *alone]


def test_ablations_are_those_that_were_asked_for():
  sweep = config.load_sweep("ablations")

  def names(**overrides):
    return [p.name for p in sweep.points(preset("tiny", **overrides))]

  assert names() == ABLATIONS
  denoise = ["denoise_encoder", "denoise_decoder"]
  assert names(**{"data.noise": "noises"}) == [*ABLATIONS, *denoise]


def test_an_ablation_changes_the_preset_or_is_left_out():
  changed = {"quantizer.dropout": False, "loss.feature_weight": 0.0}
  found = config.load_sweep("ablations").points(preset("tiny", **changed))
  names = [point.name for point in found]
  assert names == [
    n for n in ABLATIONS if n not in ("no_dropout", "no_feature")
  ]


def test_denoising_points_keep_a_mixture_that_has_noise():
  mixed = preset(
    "tiny", **{"data.noise": "n", "data.mixture.noisy_speech": 0.3}
  )
  plain = preset("tiny", **{"data.noise": "n", "data.sources": "voices"})
  for side in ("encoder", "decoder"):
    kept = points("ablations", mixed)[f"denoise_{side}"]
    made = points("ablations", plain)[f"denoise_{side}"]
    assert kept.model.film == made.model.film == side
    assert dict(config.walk(kept.data.mixture))["speech"] == 0.0
    assert (made.data.speech, made.data.sources) == ("voices", "")
    assert made.data.mixture.noisy_speech == made.data.mixture.speech > 0


def test_seeds_differ_in_the_seed_alone():
  built = points("seeds", preset("tiny", seed=5))
  assert [c.seed for c in built.values()] == [5, 6, 7]
  values = [dict(config.walk(c)) for c in built.values()]
  assert {k for k in values[0] if values[0][k] != values[1][k]} == {"seed"}


@pytest.mark.parametrize("kind", kinds_lib.KINDS)
def test_quantizers_are_all_kinds_whatever_the_preset_has(kind):
  others = {"quantizer.kind": kind}
  if kinds_lib.KINDS[kind].code_dim:
    others["quantizer.code_dim"] = 4
  built = points("quantizers", preset("tiny", **others))
  kinds = {c.quantizer.kind for c in built.values()}
  assert kinds == set(kinds_lib.KINDS)
  half = built["dropout_half"].quantizer
  assert (half.kind, half.dropout_probability) == ("ema", 0.5)


def test_a_point_of_another_bitrate_is_refused_with_the_nearest():
  # 93.75 frames a second: 6 kbit/s are 64 bits a frame.
  chosen = preset(
    "tiny", **{"model.strides": (4, 8, 8), "data.crop_samples": 5_120}
  )
  sweep = config.load_sweep("codebook_size")
  refused = {}
  for point in sweep.points(chosen):
    rates = sweeps.rates_of(sweep.apply(chosen, point))
    try:
      sweep.check(point, rates)
    except errors.InputError as error:
      refused[point.name] = str(error)
  assert set(refused) == {"codes1024", "codes32"}
  line = refused["codes1024"]
  assert line.startswith("--sweep=codebook_size: codes1024: ")
  assert "5625 bit/s, not 6000" in line
  assert line.endswith("quantizer.num_quantizers=6.")
  assert "\n" not in line


def test_larger_codebooks_get_frames_enough_and_no_other_point_does():
  chosen = preset("tiny")
  found = config.load_sweep("codebook_size").points(chosen)
  with_more = [
    p.name for p in found if "quantizer.kmeans_batches" in p.overrides
  ]
  assert with_more == ["codes1024"]
  random = preset("tiny", **{"quantizer.kmeans_batches": 0})
  for point in config.load_sweep("codebook_size").points(random):
    assert "quantizer.kmeans_batches" not in point.overrides


def test_the_preset_stays_as_it_is():
  chosen, untouched = preset("tiny"), preset("tiny")
  for name in SWEEPS:
    points(name, chosen)
  assert chosen == untouched


MINE = """'''Mine?'''
from soundstream_jax import config
FIXES = 'depth'
def sweep(preset):
  for point in config.load_sweep('seeds').points(preset)[:2]:
    yield point.name, point.overrides
    yield f'{point.name}_wide', {**point.overrides, 'model.decoder_channels': 16}
"""


def test_a_users_file_is_a_sweep_and_may_build_on_others(tmp_path):
  (tmp_path / "mine.py").write_text(MINE)
  sweep = config.load_sweep(str(tmp_path / "mine.py"))
  assert (sweep.name, sweep.asks, sweep.fixes) == ("mine", "Mine?", "depth")
  chosen = preset("tiny")
  found = [
    config.from_dict(sweep.apply(chosen, point))
    for point in sweep.points(chosen)
  ]
  assert [(c.seed, c.model.decoder_channels) for c in found] == [
    (0, 8),
    (0, 16),
    (1, 8),
    (1, 16),
  ]


def test_a_home_in_a_point_is_expanded(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  chosen = preset("tiny", **{"data.sources": "~/voices"})
  assert chosen.data.sources == str(tmp_path / "voices")
  assert isinstance(chosen, ml_collections.ConfigDict)


@pytest.mark.parametrize(
  ("name", "problem"),
  [
    ("codebook_sizes", "Did you mean 'codebook_size'?"),
    ("absent.py", "there is no such file"),
  ],
)
def test_a_sweep_that_is_not_there_is_refused(name, problem):
  with pytest.raises(errors.InputError, match=r"^--sweep=") as caught:
    config.load_sweep(name)
  assert problem in str(caught.value)


@pytest.mark.parametrize(
  ("text", "problem"),
  [
    ("", "defines no sweep"),
    ("def sweep(:\n", "line 1 is not Python"),
    ("def sweep(p): yield 'a', {}\nFIXES = 'rate'", "FIXES='rate' is none of"),
    ("def sweep(p): yield 'a', {}\nFIXES = 'bitrate'", "BITRATE_BPS=None"),
    ("def sweep(p): yield 'a', {}\nBITRATE_BPS = 6", "FIXES=''"),
    ("def sweep(p): yield 'a'", "yields 'a'"),
    ("def sweep(p): yield 'a/b', {}", "letters, digits"),
    ("def sweep(p): yield '..', {}", "letters, digits"),
    ("def sweep(p): yield 'a', {}; yield 'a', {'seed': 1}", "two points"),
    ("def sweep(p): return []", "has no points"),
    ("def sweep(p): pass", "has no points"),
    (
      "def sweep(p): yield 'a', {'sed': 1}",
      "no such field. Did you mean 'seed'",
    ),
    (
      "def sweep(p): yield 'a', {'data': {}}",
      "sets data; there is no such field",
    ),
  ],
)
def test_a_file_that_is_no_sweep_is_refused_in_a_line(tmp_path, text, problem):
  file = tmp_path / "mine.py"
  file.write_text(text)
  chosen = preset("tiny")
  with pytest.raises(errors.InputError, match=r"^--sweep=") as caught:
    sweep = config.load_sweep(str(file))
    for point in sweep.points(chosen):
      sweep.apply(chosen, point)
  assert problem in str(caught.value)
  assert "\n" not in str(caught.value)


def test_light_discriminators_have_a_tenth_of_the_parameters():
  def millions(c):
    params = state_lib.abstract(c).disc_params
    return sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6

  counts = {
    name: millions(c)
    for name, c in points("discriminators", preset("small")).items()
  }
  paper = millions(config.Config())
  assert counts["paper"] == paper
  assert counts["multi_scale"] == pytest.approx(paper, rel=0.1)
  for name in ("light", "multi_scale_light"):
    assert counts[name] == pytest.approx(paper / 10, rel=0.25)
