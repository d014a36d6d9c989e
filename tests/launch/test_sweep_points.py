"""Points of a sweep: their hashes, their names, and which are refused."""

import dataclasses
import pathlib

import pytest
import without_flags

from soundstream_jax import config as config_lib
from soundstream_jax import errors
from soundstream_jax.launch.sweep import folder, plan, points
from soundstream_jax.launch.sweep.cost import counting
from soundstream_jax.launch.sweep.cost import speed as speed_lib
from soundstream_jax.settings import constraints, presets, resume, sweeps

gke = without_flags.load("launch.sweep.gke")


@pytest.fixture
def resolve(tmp_path):
  """Returns a function (lines of a sweep's points, ...) -> points."""

  def run(text, *, head="", preset="tiny", **common):
    file = tmp_path / "mine.py"
    file.write_text(f"{head}\ndef sweep(preset):\n{text}\n")
    given = presets.Given(None, [(k, str(v)) for k, v in common.items()])
    return points.resolve(sweeps.load(str(file)), preset, given)

  return run


def change(config, name, value):
  group, _, field = name.rpartition(".")
  if group:
    inner = change(config_lib.get(config, group), field, value)
    return (
      change(config, group, inner)
      if "." in group
      else (dataclasses.replace(config, **{group: inner}))
    )
  return dataclasses.replace(config, **{field: value})


def other(name, value):
  """Returns another value of a field."""
  if isinstance(value, bool):
    return not value
  if isinstance(value, tuple):
    return (*value, *value) if value else (3,)
  if isinstance(value, str):
    return "/x:2" if name in constraints.SOURCES else f"{value}x"
  return value + 1


@pytest.mark.parametrize(
  ("name", "value"),
  [f for f in config_lib.walk(config_lib.Config()) if f[0].count(".") < 2],
)
def test_the_hash_is_over_every_field_that_decides_a_result(name, value):
  usual = config_lib.Config()
  changed = change(usual, name, other(name, value))
  free = resume.may_change(name) and name not in (
    "num_steps",
    "init_from",
    "train_dtype",
  )
  same = points.digest(changed) == points.digest(usual)
  assert same == free, name


def test_a_field_that_is_at_its_default_adds_nothing_to_the_hash(monkeypatch):
  before = points.digest(config_lib.Config(seed=3))
  real = config_lib.to_dict
  monkeypatch.setattr(
    config_lib, "to_dict", lambda c: real(c) | {"of_a_later_version": 0.5}
  )
  assert points.digest(config_lib.Config(seed=3)) == before


def test_datasets_may_lie_elsewhere_unless_the_sweep_says_where():
  def of(sources):
    data = dataclasses.replace(config_lib.Data(), sources=sources)
    return dataclasses.replace(config_lib.Config(), data=data)

  assert points.digest(of("/a")) == points.digest(of("/b"))
  assert points.digest(of("/a")) != points.digest(of("/a:2"))
  said = {"data.sources": "/a"}
  assert points.digest(of("/a"), said) != points.digest(of("/b"), said)


def test_a_point_is_its_configuration_and_not_its_name(resolve):
  one, two = resolve(
    "  yield 'a', {'seed': 1}\n  yield 'b', {'seed': 2, 'form': 'plain'}"
  )
  assert one.name == "a" and one.hash != two.hash
  (renamed,) = resolve("  yield 'c', {'seed': 1}")
  assert renamed.hash == one.hash
  # The command line's fields are the preset's; how they are said is not.
  (said,) = resolve("  yield 'c', {}", seed=1)
  assert said.hash == one.hash


def test_training_reads_a_point_as_the_sweep_has_it(resolve):
  values = {
    "model.strides": (5, 8, 4),
    "quantizer.dropout": False,
    "loss.spectral_windows": [256, 512],
    "optimizer.learning_rate": 1e-4,
    "num_steps": 7,
    "data.crop_samples": 4800,
  }
  (point,) = resolve(f"  yield 'a', {values!r}", num_steps=9)
  values_of_flags = presets.read(
    ["train", "--config=tiny", "--config.num_steps=9", *point.words()],
    plan.arguments.training_values(),
  )[1]
  assert config_lib.from_flags(given=values_of_flags) == point.config
  assert point.config.num_steps == 7


@pytest.mark.parametrize(
  ("text", "head", "says"),
  [
    ("  yield 'a', {'sed': 1}", "", "point a: --config.sed: there is no such"),
    ("  yield 'a', {'seed': -1}", "", "point a: seed=-1 must be at least 0"),
    ("  yield 'a', {'seed': 1.5}", "", "point a: --config.seed=1.5 is not"),
    ("  yield 'a', {}\n  yield 'b', {}", "", "a and b are one configuration"),
    ("  yield 'a' * 61, {}", "", "has 61 characters"),
    ("  yield 'a', {'x': 1 / 0}", "", "fails: ZeroDivisionError"),
    (
      "  yield 'a', {'quantizer.num_quantizers': 5}",
      "FIXES = 'depth'",
      "fixes the depth, and it has quantizer.num_quantizers=5. Use 16",
    ),
    (
      "  yield 'a', {'quantizer.codebook_size': 128}",
      "FIXES = 'bitrate'\nBITRATE_BPS = 6_000",
      "make 8400 bit/s, not 6000. The nearest of that codebook_size is "
      "5775 bit/s: quantizer.num_quantizers=11",
    ),
  ],
)
def test_what_cannot_be_trained_is_refused_by_name(resolve, text, head, says):
  with pytest.raises(errors.InputError) as error:
    resolve(text, head=head)
  assert says in str(error.value)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sweeps.files())
@pytest.mark.parametrize("preset", ["tiny", "soundstream_24khz"])
def test_every_shipped_sweep_has_points_that_can_be_trained(name, preset):
  given = presets.Given(None, [("data.sources", "/data")])
  found = points.resolve(sweeps.load(name), preset, given)
  assert len({point.hash for point in found}) == len(found) >= 2


def test_a_renamed_point_keeps_its_folder_and_a_dropped_one_stays(
  resolve, tmp_path
):
  one, two = resolve("  yield 'a', {'seed': 1}\n  yield 'b', {'seed': 2}")
  out = tmp_path / "out"
  for point in (one, two):
    folder.workdir(out, point).mkdir(parents=True)
  assert folder.workdir(out, one).name == f"a-{one.hash[:8]}"
  (renamed,) = resolve("  yield 'c', {'seed': 1}")
  assert folder.workdir(out, renamed) == folder.workdir(out, one)
  assert folder.dropped(out, [renamed]) == [folder.workdir(out, two)]


def test_a_folder_of_something_else_is_refused(tmp_path):
  folder.check_own(tmp_path / "new")
  (tmp_path / "thesis.tex").touch()
  with pytest.raises(errors.InputError, match="that no sweep made"):
    folder.check_own(tmp_path)
  (tmp_path / folder.LOCK).touch()
  folder.check_own(tmp_path)


def test_names_of_jobsets_are_labels_and_tell_points_apart(resolve):
  one, two = resolve(
    f"  yield '{'A_.b' * 15}', {{'seed': 1}}\n"
    f"  yield '{'A_.b' * 14}', {{'seed': 2}}"
  )
  found = [
    gke.name(plan.Planned(point, pathlib.Path("/x"), ()))
    for point in (one, two)
  ]
  assert len(set(found)) == 2
  for name in found:
    gke.gke_lib.names.check("name", name, longest=gke.gke_lib.LONGEST_NAME)


def test_work_is_counted_from_shapes(small_config):
  start = "discriminator.start_step"
  late = counting.count(small_config(num_steps=6, **{start: 4}))
  assert late.steps == {False: 4, True: 2}
  assert late.units[False] < late.units[True]
  assert late.parameters > 1000
  twice = counting.count(small_config(num_steps=6, batch_size=8, **{start: 6}))
  assert twice.steps == {False: 6, True: 0}
  assert twice.units[False] == pytest.approx(2 * late.units[False], rel=0.15)
  assert twice.parameters == late.parameters


def test_points_that_are_trained_predict_the_others():
  before = speed_lib.Speed(units_per_second=1e9, start_seconds=30.0)
  work = counting.Work(1, {False: 1e8, True: 4e8}, {False: 100, True: 50})
  share = speed_lib.ADVERSARIAL_SHARE
  assert before.seconds(work) == pytest.approx(30 + 10 + 20 / share)
  trained = speed_lib.Trained(work, 115.0, {False: 2.0, True: 1.0})
  after = speed_lib.of_points([trained], before)
  assert after.seconds(work) == pytest.approx(115)
  assert after.start_seconds == 15
  larger = counting.Work(1, {False: 2e8}, {False: 100, True: 0})
  assert after.seconds(larger) == pytest.approx(15 + 100)
  # One of quite another size says nothing.
  tiny = counting.Work(1, {False: 1e6}, {False: 100, True: 0})
  assert after.seconds(tiny) == pytest.approx(15 + 0.1)


def test_speeds_are_kept_for_the_next_sweep(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  step = speed_lib.Step(True, 1e8, 0.5)
  speed_lib.keep(speed_lib.Speed(1e9, 20.0, steps=(step,), points=1))
  found = speed_lib.of_this_device()
  assert found == speed_lib.Speed(1e9, 20.0, kept=(step,))
  work = counting.Work(1, {True: 1e8}, {False: 0, True: 10})
  assert found.seconds(work) == pytest.approx(25)
