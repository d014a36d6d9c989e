"""Laws of the page that shows runs; a browser's are beside."""

import base64
import html.parser
import io
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from soundstream_jax import errors
from soundstream_jax.evaluate.report import (
  differences,
  evaluation,
  finding,
  gathering,
  page,
  paper,
  rates,
)
from tests.evaluate import example_runs

TWO = {k: example_runs.METRICS[k] for k in ("visqol_audio", "log_mel")}
ONE = {"visqol_audio": TWO["visqol_audio"]}
FEW = {
  "clips": 2,
  "metrics": ONE,
  "classes": ("speech",),
  "baselines": example_runs.BASELINES[:2],
}
# Elements without an end.
VOID = {"meta", "link", "img", "input", "br"}


class Page(html.parser.HTMLParser):
  """The elements of a page, its texts, and whether it is well formed."""

  def __init__(self, text):
    super().__init__()
    self.elements, self.texts, self._open = [], [], []
    self.feed(text)
    self.close()
    assert self._open == []

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    if tag not in VOID:
      self._open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, data):
    # Scripts and styles are no text.
    if self._open and self._open[-1] not in ("script", "style"):
      self.texts.append(data)

  @property
  def text(self):
    return " ".join(" ".join(self.texts).replace("\xa0", " ").split())

  def of(self, tag):
    return [attrs for name, attrs in self.elements if name == tag]


def rendered(*folders, **more):
  return page.render(gathering.gather([str(f) for f in folders]), **more)


def small(folder, systems=None, **changes):
  """An evaluation of few clips without sounds."""
  return example_runs.evaluation(
    folder,
    example_runs.models() + example_runs.BASELINES
    if systems is None
    else systems,
    **(
      {"clips": 3, "sounds": 0, "metrics": ONE, "classes": ("speech",)}
      | changes
    ),
  )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """(folders, page) of a run with sounds and of a sweep."""
  root = tmp_path_factory.mktemp("runs")
  run = example_runs.workdir(root / "run")
  more = {"sounds": 1, "classes": ("speech", "music"), "metrics": TWO}
  small(run / "evaluation", example_runs.models((3000, 6000)), **more)
  small(root / "others", example_runs.BASELINES[:2], **more)
  sweep = example_runs.codebook_sizes(root / "sweep", **FEW)
  folders = [run, root / "others", sweep]
  return folders, rendered(*folders)


def test_a_page_needs_nothing_but_itself(whole):
  read = Page(whole[1])
  for _, attrs in read.elements:
    for name in ("src", "href", "action", "data", "srcset", "poster"):
      # Parts of the page itself, and what stands in it.
      assert re.match(r"#|data:|$", attrs.get(name) or ""), attrs
    assert not any(name.startswith("on") for name in attrs)
  assert "://" not in re.sub(r"base64,[\w+/=]*", "", whole[1])
  assert "@import" not in whole[1]
  (policy,) = [m["content"] for m in read.of("meta") if "http-equiv" in m]
  assert policy.startswith("default-src 'none'")
  assert "unsafe-inline" not in policy.split("script-src")[1]


def test_a_page_is_well_formed_and_its_names_are_unique(whole):
  read = Page(whole[1])
  ids = [attrs["id"] for _, attrs in read.elements if "id" in attrs]
  assert len(ids) == len(set(ids))
  for attrs in (attrs for _, attrs in read.elements):
    if (attrs.get("href") or "").startswith("#"):
      assert attrs["href"][1:] in ids
    for clip in re.findall(r"url\(#([^)]*)\)", str(attrs)):
      assert clip in ids


def test_every_part_is_there(whole):
  read = Page(whole[1])
  headings = [m for m in page._TITLES.values() if f">{m}</h2>" in whole[1]]
  assert headings == list(page._TITLES.values())
  # Two clips, the original and 2 + 2 others each.
  assert len(read.of("audio")) == 10
  for text in ("Opus 9 kbit/s", "low_pass", "tiny", "4.01 ± 0.03", "3f9a6c1e"):
    assert text in read.text or text == "low_pass"


def test_whoever_sees_no_picture_is_told_of_it(whole):
  read = Page(whole[1])
  for attrs in read.of("svg"):
    assert attrs.get("aria-hidden") == "true" or (
      attrs["role"] == "img" and len(attrs["aria-label"]) > 40
    )
  assert all(attrs["alt"] for attrs in read.of("img"))
  assert all(attrs["aria-label"] for attrs in read.of("audio"))


def test_a_drawing_has_the_pages_colours_and_letters(whole):
  drawings = re.findall(r"<svg.*?</svg>", whole[1], re.DOTALL)
  assert drawings
  for drawing in drawings:
    assert (
      re.findall(r"#[0-9a-f]{6}\b|font-family|<style|<image", drawing) == []
    )


def test_the_same_runs_give_the_same_bytes(whole, tmp_path):
  folders, text = whole
  out = tmp_path / "report.html"
  command = [sys.executable, "-m", "soundstream_jax.evaluate.report"]
  done = subprocess.run(
    [*command, f"--runs={','.join(map(str, folders))}", f"--out={out}"],
    env=os.environ | {"PYTHONHASHSEED": "7"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert out.read_text() == text
  assert done.stdout.startswith(f"{out}: ")


def test_a_sound_in_the_page_is_that_of_the_file(whole):
  found = re.findall(r"data:audio/flac;base64,([\w+/=]+)", whole[1])
  decoded = [
    soundfile.read(io.BytesIO(base64.b64decode(each)), dtype="int16")[0]
    for each in found
  ]
  files = [
    soundfile.read(path, dtype="int16")[0]
    for folder in whole[0]
    for path in sorted(folder.rglob("sounds/*/*.wav"))
  ]
  assert len(decoded) == 10
  for samples in decoded:
    assert any(np.array_equal(samples, file) for file in files)


def test_a_page_is_never_larger_than_it_may_be(tmp_path):
  small(tmp_path, example_runs.models(), sounds=3)
  text = rendered(tmp_path)
  assert text.count("<audio") == 12 and "left out" not in text
  whole = len(text)
  silent = len(re.sub(r"base64,[\w+/=]*", "", text))
  heard = set()
  for share in (0, 0.4, 0.8):
    most = int(silent + share * (whole - silent))
    text = rendered(tmp_path, most_bytes=most)
    assert len(text.encode()) <= most
    sounds = text.count("<audio")
    heard.add(sounds)
    # An original is only there with something to compare it with.
    assert sounds != 1
    left = int(re.search(r"(\d+) more sounds? left out", text)[1])
    assert left == 12 - sounds > 0
  assert len(heard) == 3
  with pytest.raises(errors.InputError, match=r"Name fewer --runs\.$"):
    rendered(tmp_path, most_bytes=20_000)


def _named(root, odd):
  """A run, baselines and a sweep in which every name holds a text."""
  kinds = (f"speech{odd}", f"x{odd}")
  told = {
    "m" + odd: TWO["visqol_audio"] | {"title": "T" + odd, "unit": "u" + odd}
  }
  systems = [
    ("model", 3000, "ours" + odd, 0.4),
    ("own" + odd, 6000, "theirs" + odd, 0.4),
    ("low_pass", 3500, "anchor" + odd, 0.4),
  ]
  run = example_runs.workdir(root / "run")
  example_runs.evaluation(
    run / "evaluation",
    systems,
    metrics=told,
    classes=kinds,
    clips=2,
    sounds=0,
    name="n" + odd,
    missing_metrics={"a" + odd: "b" + odd},
    missing_systems={"c" + odd: "d" + odd},
  )
  plain = [(s.replace(odd, ""), *rest) for s, *rest in systems]
  clip = f"00_{kinds[0]}".replace("/", "_")
  example_runs.write_sounds(
    run / "evaluation/sounds" / clip, plain, seconds=0.5
  )
  example_runs.sweep(
    root / "sweep",
    "sweep" + odd,
    {"p" + odd: ({"field" + odd: odd}, {}, 0.0)},
    clips=2,
    metrics=told,
    classes=kinds,
    name="n" + odd,
    baselines=systems[1:],
  )
  return rendered(run, root / "sweep")


def test_any_name_is_text_and_nothing_else(tmp_path):
  plain = Page(_named(tmp_path / "plain", "yz"))
  text = _named(tmp_path / "odd", example_runs.ODD)
  odd = Page(text)
  assert [tag for tag, _ in odd.elements] == [tag for tag, _ in plain.elements]
  for (_, one), (_, other) in zip(odd.elements, plain.elements, strict=True):
    assert set(one) == set(other)
  assert text.count("<script>") == 1 and text.count("</style>") == 1
  for begin in ("theirs", "anchor", "n", "T", "x", "p", "a", "d", "sweep"):
    assert begin + " ".join(example_runs.ODD.split()) in odd.text, begin


@pytest.mark.parametrize("odd", ["\ud800", "\x1b[31m", "\u202e", "a\nb", "ü😀"])
def test_a_name_that_is_no_text_is_shown(odd, tmp_path):
  small(tmp_path / "a", name="n" + odd, missing_systems={"s" + odd: "w" + odd})
  text = rendered(tmp_path / "a")
  text.encode()
  assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


NAN = float("nan")


def _unknown(values):
  """A summary in which nothing is a number."""
  for system in values["systems"]:
    system["metrics"] = {
      name: {
        kind: {"mean": NAN, "low": None, "high": None, "count": 0, "missing": 3}
        for kind in kinds
      }
      for name, kinds in system["metrics"].items()
    }


def _one_clip(values):
  for system in values["systems"]:
    for kinds in system["metrics"].values():
      for score in kinds.values():
        score |= {"low": None, "high": float("-inf"), "count": 1}


PARTS = {
  "nothing is a number": _unknown,
  "one clip has no interval": _one_clip,
  "no metrics": lambda v: [
    v.update(metrics={}, paired=[]),
    *(s.update(metrics={}) for s in v["systems"]),
  ],
  "no baselines": lambda v: v.update(
    systems=[s for s in v["systems"] if s["system"] == "model"], paired=[]
  ),
  "no model": lambda v: v.update(
    systems=[s for s in v["systems"] if s["system"] != "model"],
    model=None,
    paired=None,
    codebooks=None,
  ),
  "one bitrate": lambda v: v.update(
    systems=[s for s in v["systems"] if s["key"] in ("model@6000", "opus@6000")]
  ),
  "anchors alone": lambda v: v.update(
    systems=[s for s in v["systems"] if s["system"] == "low_pass"]
  ),
  "no systems": lambda v: v.update(systems=[], paired=[]),
  "no clips": lambda v: v.update(clip_set={}),
  "no rates": lambda v: [
    s.update(bitrate_bps=None, payload_bps=None, entropy_bps=None)
    for s in v["systems"]
  ],
  "codebooks unknown": lambda v: v.update(
    codebooks=[{"layer": 0, "perplexity": NAN, "entropy_bits": None}]
  ),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_page_is_made_of_what_there_is(part, tmp_path):
  small(tmp_path / "a")
  file = tmp_path / "a/evaluation.json"
  values = json.loads(file.read_text())
  PARTS[part](values)
  file.write_text(json.dumps(values))
  read = Page(rendered(tmp_path / "a"))
  assert not re.search(r"\b(nan|None|inf)\b", read.text)
  assert len(read.of("h1")) == 1


def test_a_run_that_is_not_evaluated_shows_its_training(tmp_path):
  example_runs.workdir(tmp_path / "a")
  read = Page(rendered(tmp_path / "a"))
  assert "none of them evaluated yet" in read.text
  assert "Reconstruction loss" in read.text
  assert "a : is not evaluated" in read.text


def test_a_sweep_that_has_not_begun_shows_its_plan(tmp_path):
  sweep = example_runs.codebook_sizes(tmp_path / "s", **FEW)
  for point in (sweep / "points").iterdir():
    for path in sorted(point.rglob("*"), reverse=True):
      path.rmdir() if path.is_dir() else path.unlink()
  read = Page(rendered(sweep))
  assert "3 points, preset tiny, 0 of them begun" in read.text
  assert read.text.count("not run") == 3


def _finding(folder):
  (group,) = gathering.gather([str(folder)]).groups
  return finding.of(group)


def _scored(folder, ours, theirs, metric, **more):
  return small(
    folder,
    [("model", 6000, "", ours), ("opus", 6000, "Opus 6 kbit/s", theirs)],
    metrics={metric: example_runs.METRICS[metric]},
    **more,
  )


@pytest.mark.parametrize("metric", ["visqol_audio", "log_mel"])
def test_the_sentence_says_which_is_better_whatever_the_direction(
  metric, tmp_path
):
  for i, (ours, theirs, said) in enumerate(
    ((0.7, 0.4, ": better by "), (0.4, 0.7, ": worse by "))
  ):
    folder = _scored(tmp_path / str(i), ours, theirs, metric)
    assert said in _finding(folder).sentence
  same = _finding(_scored(tmp_path / "same", 0.5, 0.5, metric, clips=8, seed=1))
  assert ", which the clips do not tell apart." in same.sentence
  assert "not told apart by" in same.beside


def test_the_sentence_has_the_numbers_of_the_evaluation(tmp_path):
  folder = _scored(tmp_path / "a", 0.7, 0.4, "visqol_audio")
  values = json.loads((folder / "evaluation.json").read_text())
  ours, theirs = (
    system["metrics"]["visqol_audio"]["all"] for system in values["systems"]
  )
  (difference,) = [p for p in values["paired"] if p["class"] == "all"]
  assert _finding(folder).sentence.replace("\xa0", " ") == (
    "At 6 kbit/s, tiny has a ViSQOL audio of "
    f"{ours['mean']:.2f} [{ours['low']:.2f}, {ours['high']:.2f}] against "
    f"{theirs['mean']:.2f} [{theirs['low']:.2f}, {theirs['high']:.2f}] for "
    "Opus 6 kbit/s on 3 clips: better by "
    f"{difference['mean']:.2f} [{difference['low']:.2f}, "
    f"{difference['high']:.2f}]."
  )


def test_differences_of_folders_are_those_of_one_evaluation(tmp_path):
  both = example_runs.models((6000,)) + example_runs.BASELINES[:1]
  small(tmp_path / "one", both)
  # The same measurements, in two folders.
  for name, system in (("ours", "model"), ("theirs", "opus")):
    small(tmp_path / name, both)
    file = tmp_path / name / "evaluation.json"
    values = json.loads(file.read_text())
    values["systems"] = [s for s in values["systems"] if s["system"] == system]
    file.write_text(json.dumps(values | {"paired": []}))
  found = gathering.gather([str(tmp_path / "ours"), str(tmp_path / "theirs")])
  (group,) = found.groups
  ours, theirs = group.models[0], group.others[0]
  one = evaluation.load(tmp_path / "one", "")
  for (a, b, metric, kind), written in one.paired.items():
    if (a, b) == ("model@6000", "opus@6000"):
      computed = differences.of(ours, theirs, metric, kind)
      assert computed.count == written.count
      assert computed.mean == pytest.approx(written.mean, rel=1e-9)
      # Student's t is wider than the normal interval of the examples.
      assert computed.low < written.low and computed.high > written.high


def test_differences_at_the_nearest_bitrate_are_of_bitrates_that_are_alike(
  tmp_path,
):
  def rows(folder, rates, title):
    example_runs.evaluation(
      folder,
      [
        *example_runs.models(rates),
        ("opus", 6000, "Opus 6 kbit/s", 0.35),
        ("opus_nolace", 9000, "Opus 9 kbit/s, NoLACE", 0.52),
      ],
    )
    table = rendered(folder).split(title, 1)[1].split("</table>", 1)[0]
    return re.findall(r"<tr><th[^>]*>.*?([\d.]+) kbit/s</th>", table)

  near, every = "Differences at the nearest", "Differences to every"
  both = (750, 6000)
  assert rows(tmp_path / "a", both, near) == ["6", "6"]
  assert rows(tmp_path / "b", both, every) == ["0.75", "0.75", "6", "6"]
  # Of what is unlike, where nothing is alike.
  assert rows(tmp_path / "c", (750,), near) == ["0.75", "0.75"]


def test_other_clips_are_never_compared(tmp_path):
  small(tmp_path / "a", example_runs.models())
  clips = {"names": ["a"], "classes": ["speech"], "digest": "other"}
  small(tmp_path / "b", example_runs.BASELINES, clip_set=clips)
  found = gathering.gather([str(tmp_path / "a"), str(tmp_path / "b")])
  assert [bool(g.models and g.others) for g in found.groups] == [False, False]
  assert "No other system was measured on these clips" in page.render(found)


def test_up_is_better_in_every_plot_and_classes_share_an_axis(tmp_path):
  small(tmp_path / "a", metrics=TWO)
  (group,) = gathering.gather([str(tmp_path / "a")]).groups
  lines = rates.series(group)
  heights = {}
  for name in TWO:
    measure = group.metrics[name]
    ends = rates.limits(lines, measure, group.classes)
    heights[name] = [
      float(y)
      for y in re.findall(
        r'y="([0-9.]+)" style="fill: var\(--s0\)',
        rates.panel(lines, measure, "all", ends, name="x"),
      )
    ]
  # The bitrates in order: each is higher on the page, so its y is less.
  for found in heights.values():
    assert len(found) == 3
    assert found == sorted(found, reverse=True)


BASE = {"encoder_channels": 8, "decoder_channels": 8, "strides": [2, 8, 10]}


def _points(changes):
  return {
    f"p{i}": (
      {f"model.{k}": v for k, v in change.items()},
      {"model": BASE | change},
      0.0,
    )
    for i, change in enumerate(changes)
  }


@pytest.mark.parametrize(
  ("name", "points"),
  [
    (
      "widths",
      [
        {"encoder_channels": 8 // e, "decoder_channels": 8 // d}
        for e, d in ((1, 1), (2, 2), (2, 1), (4, 1), (1, 2), (1, 4))
      ],
    ),
    ("strides", [{"strides": [k, 8, 10]} for k in (1, 2, 4)]),
  ],
)
def test_a_small_sweep_stands_beside_the_papers_rows(name, points, tmp_path):
  example_runs.sweep(tmp_path / "s", name, _points(points), **FEW)
  text = Page(rendered(tmp_path / "s")).text
  rows = re.findall(r"p\d (\S+, \S+.*?(?:± 0\.0\d))", text)
  said = [" ".join(row) for row in paper.TABLES[name].rows.values()]
  assert rows == said
  assert "of its own test set" in text and paper.TABLES[name].note in text


def test_a_point_that_the_paper_has_not_and_a_row_that_we_have_not(tmp_path):
  sizes = {"q": ({"quantizer.codebook_size": 32}, {}, 0.0),
           "r": ({"quantizer.codebook_size": 64}, {}, 0.1)}  # fmt: skip
  example_runs.sweep(tmp_path / "s", "codebook_size", sizes, **FEW)
  text = Page(rendered(tmp_path / "s")).text
  assert "q 16, 32 3.98 ± 0.03" in text
  assert "r – – " in text
  assert "no point 8, 1024 4.01 ± 0.03" in text
  assert "no point 80, 2 3.92 ± 0.03" in text


def test_the_papers_tables_are_those_of_the_paper():
  # Tables I to III as printed; the text's older numbers only in the note.
  visqol = [row[-1] for row in paper.TABLES["widths"].rows.values()]
  assert visqol == [f"{v} ± 0.03" for v in
                    ("4.01", "3.98", "4.02", "3.99", "3.97", "3.90")]  # fmt: skip
  assert {r[-1] for r in paper.TABLES["strides"].rows.values()} == {
    "4.01 ± 0.02",
    "4.01 ± 0.03",
  }
  assert "3.96 to 3.94" in paper.TABLES["widths"].note


def test_folders_are_called_by_what_tells_them_apart(tmp_path):
  for name in ("a/run", "b/run", "c"):
    example_runs.workdir(tmp_path / name)
  found = gathering.gather([str(tmp_path / n) for n in ("a/run", "b/run", "c")])
  assert [run.label for run in found.runs] == ["a/run", "b/run", "c"]


def test_sweeps_of_one_name_are_told_apart_by_their_folders(tmp_path):
  folders = [tmp_path / name for name in ("seed0", "seed1")]
  for folder in folders:
    example_runs.codebook_sizes(folder)
  page = rendered(*folders)
  for name in ("seed0", "seed1"):
    assert page.count(f"codebook_size ({name})") > 3
  assert "codebook_size (" not in rendered(folders[0])


def test_a_point_that_is_alone_is_called_by_its_name(tmp_path):
  example_runs.codebook_sizes(tmp_path / "sweep")
  for path in (tmp_path / "sweep/points").iterdir():
    if not path.name.startswith("01"):
      shutil.rmtree(path)
  assert "16x32, 6 kbit/s" in rendered(tmp_path / "sweep")


@pytest.mark.parametrize(
  ("content", "said"),
  [
    ("{", "is no JSON"),
    ("[1]", "holds no object"),
    ('{"step": 1}', "of an older version"),
    ('{"systems": [{}]}', "is not what evaluate writes"),
    ('{"systems": 1}', "is not what evaluate writes"),
    (b"\xff", "is no JSON"),
  ],
)
def test_a_file_that_is_no_evaluation_is_one_line(content, said, tmp_path):
  content = content if isinstance(content, bytes) else content.encode()
  (tmp_path / "evaluation.json").write_bytes(content)
  with pytest.raises(errors.InputError, match=said) as raised:
    rendered(tmp_path)
  assert "evaluation.json" in str(raised.value)


def test_a_folder_of_something_else_is_one_line(tmp_path):
  with pytest.raises(errors.InputError, match=r"holds no evaluation\.json"):
    rendered(tmp_path)
  with pytest.raises(errors.InputError, match="there is no such folder"):
    rendered(tmp_path / "none")


def _colours(text):
  return {
    name: [int(value[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    for name, value in re.findall(r"--(\w+): #([0-9a-f]{6});", text)
  }


def _contrast(one, other):
  def light(colour):
    linear = [
      c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
      for c in colour
    ]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))

  low, high = sorted((light(one), light(other)))
  return (high + 0.05) / (low + 0.05)


def test_every_colour_of_text_and_of_lines_can_be_seen_by_day_and_night():
  style = page._file("page.css")
  day, rest = style.split("@media (prefers-color-scheme: dark)")
  for colours in (_colours(day), _colours(rest.split("@media")[0])):
    assert len(colours) == 17
    for ground in ("paper", "card"):
      for name in ("ink", "muted", "accent", "better", "worse"):
        assert _contrast(colours[name], colours[ground]) >= 4.5, name
      for i in range(8):
        assert _contrast(colours[f"s{i}"], colours[ground]) >= 3.0, i
