"""Laws of `benchmarks.gpu`: what is kept, gone on with, and never mixed."""

import argparse
import dataclasses
import json
import pathlib
import time

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import conditions as conditions_lib
from benchmarks.gpu import plan, results, running, tables
from soundstream_jax import errors
from soundstream_jax.convolution import methods

# A worker that needs no jax; what it is asked for says what it does.
WORKER = """
import json, os, sys, time
for line in sys.stdin:
  asked = json.loads(line)["arguments"]
  print(json.dumps({"pid": os.getpid(), "card": os.environ["JAX_PLATFORMS"]}),
        flush=True)
  if asked.get("hangs"):
    time.sleep(600)
  if asked.get("dies"):
    sys.exit("out of everything")
  end = {"end": True} | ({"error": "Bad: it is"} if asked.get("fails") else {})
  print(json.dumps(end), flush=True)
"""


@pytest.fixture
def given(tmp_path):
  return conditions_lib.Conditions(
    device="cpu",
    preset="tiny",
    batch=2,
    layers=8,
    form="auto",
    steps=2,
    overrides={},
    cache=str(tmp_path / "cache"),
    torch_python="",
  )


@pytest.fixture
def workers(given):
  with running.Workers(given, ("-c", WORKER)) as found:
    yield found


def item(name="layer/plain/a", **arguments):
  return plan.Item(name, "layer", arguments)


def ask(workers, *, seconds=60.0, **arguments):
  """Returns (what it gave, error)."""
  found = {}
  error = workers.measure(item(**arguments), seconds=seconds, add=found.update)
  return found, error


def test_one_process_measures_item_after_item(workers):
  (first, error), (second, _) = ask(workers), ask(workers)
  assert error == "" and first["pid"] == second["pid"]


def test_an_item_that_hangs_costs_itself_alone(workers):
  before, _ = ask(workers)
  start = time.monotonic()
  with pytest.raises(running.OutOfTime):
    ask(workers, hangs=True, seconds=1.0)
  assert time.monotonic() - start < 10
  after, error = ask(workers)
  assert error == "" and after["pid"] != before["pid"]


def test_an_item_that_fails_gives_its_error_and_the_next_a_new_process(workers):
  failed, error = ask(workers, fails=True)
  assert error == "Bad: it is"
  died, words = ask(workers, dies=True)
  assert words == "the process ended with 1: out of everything"
  assert failed["pid"] != died["pid"] != ask(workers)[0]["pid"]


def test_what_needs_the_card_for_another_program_leaves_it(given):
  given = dataclasses.replace(given, device="cuda")
  with running.Workers(given, ("-c", WORKER)) as workers:
    ours, _ = ask(workers)
    theirs = {}
    without = dataclasses.replace(item(), has_card=False)
    workers.measure(without, seconds=60.0, add=theirs.update)
  assert ours["card"].startswith("cuda") and theirs["card"] == "cpu"
  assert not pathlib.Path(f"/proc/{ours['pid']}").exists()


def test_results_of_another_card_or_code_stay_and_are_not_mixed(tmp_path):
  path = tmp_path / "found.json"
  old = results.Results(path, {"card": "A", "source": "1"})
  old.begin("step/auto")
  old.add("step/auto", {"seconds": 1.0, "done": True})
  for other in ({"card": "B", "source": "1"}, {"card": "A", "source": "2"}):
    new = results.Results(path, other)
    assert not new.is_done("step/auto")
    new.begin("peaks")
    new.add("peaks", {"products": 1.0, "done": True})
  again = results.Results(path, {"card": "A", "source": "1"})
  assert again.is_done("step/auto") and not again.is_done("peaks")
  assert len(results.runs(path)) == 3


def test_an_interrupted_item_is_kept_as_it_is_and_measured_again(tmp_path):
  path = tmp_path / "found.json"
  first = results.Results(path, {})
  first.begin("step/auto")
  first.add("step/auto", {"compile_s": 90.0})
  second = results.Results(path, {})
  assert second.entries["step/auto"] == {"compile_s": 90.0}
  assert not second.is_done("step/auto")
  assert "cut off, to be measured again: step/auto" in tables.of(
    second.run | {"of": {"preset": "tiny", "batch": 2, "layers": 8}}
  )


@pytest.mark.parametrize("text", ["[]", "{}", '{"runs": [{}]}', "{"])
def test_a_file_that_is_none_of_results_is_refused_and_stays(tmp_path, text):
  path = tmp_path / "found.json"
  path.write_text(text)
  with pytest.raises(errors.InputError, match="cannot be read"):
    results.Results(path, {})
  assert path.read_text() == text


def test_a_cpu_never_writes_where_results_of_gpus_are(tmp_path, monkeypatch):
  committed = tmp_path / "results_gpu.json"
  monkeypatch.setattr(results, "COMMITTED", committed)
  link = tmp_path / "link.json"
  link.symlink_to(committed)
  for asked in (committed, link):
    with pytest.raises(errors.InputError, match="results of GPUs"):
      results.path_for("cpu", str(asked))
  committed.write_text("{}")
  (tmp_path / "hard.json").hardlink_to(committed)
  with pytest.raises(errors.InputError, match="results of GPUs"):
    results.path_for("cpu", str(tmp_path / "hard.json"))
  assert results.path_for("cpu", "") != committed
  assert results.path_for("cuda", "") == committed


def options(**changes):
  return argparse.Namespace(**{"only": "*", "again": "", "most": 0} | changes)


@pytest.fixture
def measure(given, workers, tmp_path, monkeypatch):
  """Returns a function (items, **options) that runs a command; what it did."""

  def run(items, *, minutes=5.0, **changes):
    monkeypatch.setattr(plan, "items", lambda given: iter(items))
    store = results.Results(tmp_path / "found.json", {})
    start = time.monotonic()
    command._measure(
      given,
      options(**changes),
      workers,
      store,
      start=start,
      until=start + 60 * minutes,
    )
    return json.loads((tmp_path / "found.json").read_text())["runs"][0][
      "entries"
    ]

  return run


def test_a_run_goes_on_with_what_is_missing_past_what_failed(measure):
  items = [item("layer/plain/a"), item("layer/plain/b", fails=True)]
  first = measure(items[:1])
  second = measure([*items, item("layer/plain/c")])
  assert second["layer/plain/a"] == first["layer/plain/a"]
  assert second["layer/plain/b"]["error"] == "Bad: it is"
  assert "error" not in second["layer/plain/c"]
  assert all(entry["done"] for entry in second.values())
  again = measure(items, again="*/b")
  assert again["layer/plain/b"]["pid"] != second["layer/plain/b"]["pid"]
  assert again["layer/plain/a"] == first["layer/plain/a"]


def test_only_what_may_be_done_in_the_minutes_is_begun(measure, capsys):
  long = plan.Item("step/auto", "step", {})
  found = measure([long, item()], minutes=0.5)
  assert list(found) == ["layer/plain/a"]
  assert "1 items wait for the next run" in capsys.readouterr().out


def test_what_the_end_of_the_minutes_cuts_off_is_no_failure(
  measure, monkeypatch
):
  cut = dataclasses.replace(item("layer/plain/b"), arguments={"hangs": True})
  monkeypatch.setitem(plan._COSTS, "layer", (0.1, 90))
  found = measure([item(), cut], minutes=0.03)
  entry = found["layer/plain/b"]
  assert "pid" in entry and "done" not in entry and "error" not in entry


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_plan_has_every_method_and_the_most_valuable_first(given, device):
  given = dataclasses.replace(given, device=device)
  names = [item.name for item in plan.items(given)]
  assert names[:3] == ["peaks", "step/auto", "trace/auto"]
  assert len(set(names)) == len(names)
  auto = conditions_lib.name_of("auto", given.platform)
  assert (auto == "gpu") == (device == "cuda")
  for form in methods.METHODS:
    assert (f"step/{form}" in names) == (form != auto)
    assert f"layer/{form}/encoder/input" in names
  kinds = [name.split("/")[0] for name in names]
  assert kinds.index("question") < kinds.index("pytorch")
  assert kinds.index("pytorch") < names.index("step/plain")


def test_a_share_of_the_limit_is_of_the_larger_bound():
  entry = {"flops": 8e12, "bytes": 6e10, "seconds": 0.1, "audio_s": 32.0}
  peaks = {"products": 8e14, "copies": 3e12}
  run = {"entries": {"peaks": peaks, "step/auto": entry}}
  assert tables.limit(entry, run) == (pytest.approx(0.02), "bytes")
  line = tables.line("step/auto", run)
  assert "320 s of audio per second" in line and "20% of the limit" in line
  assert "80 TFLOP/s" in line
