"""A run's results as a reader sees them: lines while it runs, Markdown tables after."""

from collections.abc import Iterable
from typing import Any

from benchmarks.gpu.results import Entry

Run = dict[str, Any]


def of(run: Run) -> str:
  """Returns all tables of a run."""
  entries = run["entries"]
  parts = [
    _head(run),
    _steps(run),
    _checks(entries),
    *(_trace(e) for n, e in entries.items() if n.startswith("trace/")),
    _questions(entries),
    _layers(entries),
    _failures(entries),
  ]
  return "\n\n".join(part for part in parts if part) + "\n"


def line(name: str, run: Run) -> str:
  """Returns what an entry says, in one line."""
  entry = run["entries"][name]
  if "error" in entry:
    return f"FAILED: {entry['error']}"
  if "audio_s" in entry and "seconds" in entry:
    return ", ".join(_step_words(entry, run))
  if "products" in entry:
    return _peaks(entry)
  if "busy_share" in entry:
    return (
      f"{entry['kernels_per_step']:.0f} kernels and {entry['wall_ms']:.1f} ms a "
      f"step, busy {entry['busy_share']:.0%}"
    )
  if "answer" in entry:
    return entry["answer"]
  if "forward_s" in entry:
    return (
      f"forward {_us(entry, 'forward')}, input {_us(entry, 'input')}, kernel "
      f"{_us(entry, 'kernel')} us"
    )
  if "holds" in entry:
    return _check(entry)
  if "frames" in entry:
    return _kmeans(entry)
  return "done"


def limit(entry: Entry, run: Run) -> tuple[float, str] | None:
  """Returns the least seconds of a step and what takes them, if known."""
  peaks = run["entries"].get("peaks", {})
  if "products" not in peaks or "flops" not in entry:
    return None
  of_products = entry["flops"] / peaks["products"], "products"
  of_bytes = entry["bytes"] / peaks["copies"], "bytes"
  return max(of_products, of_bytes)


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
  """Returns a table in Markdown whose columns are also aligned."""
  cells = [[str(cell) for cell in row] for row in (head, *rows)]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  lines = [
    "| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells
  ]
  rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
  return "\n".join([lines[0], rule, *lines[1:]])


def _head(run: Run) -> str:
  of, about = run["of"], run["about"]
  versions = ", ".join(f"{k} {v}" for k, v in of.get("versions", {}).items())
  driver = f", driver {of['driver']}" if of.get("driver") else ""
  flags = f"XLA_FLAGS={of['xla_flags']}; " if of.get("xla_flags") else ""
  peaks = run["entries"].get("peaks", {})
  measured = f" {_peaks(peaks)}." if "products" in peaks else ""
  return (
    f"{about.get('date', '')[:10]}, {of.get('card')}{driver}; {versions}; "
    f"{flags}source {of.get('source')}, commit {about.get('commit')}. `{of['preset']}`, "
    f"{of['batch']} clips of a second, {of['layers'] or 'all'} quantizer "
    f"layers.{measured}"
  )


def _peaks(entry: Entry) -> str:
  return (
    f"A large product runs at {entry['products'] / 1e12:.3g} TFLOP/s, a copy at "
    f"{entry['copies'] / 1e9:.4g} GB/s, a call takes {1e6 * entry['call']:.0f} us"
  )


def _step_words(entry: Entry, run: Run) -> list[str]:
  words = [
    f"{entry['audio_s'] / entry['seconds']:.4g} s of audio per second",
    f"{1e3 * entry['seconds']:.4g} ms a step",
  ]
  if "flops" in entry:
    words.append(f"{entry['flops'] / entry['seconds'] / 1e12:.3g} TFLOP/s")
  if least := limit(entry, run):
    words.append(f"{least[0] / entry['seconds']:.0%} of the limit ({least[1]})")
  if "peak_bytes" in entry:
    words.append(f"peak {entry['peak_bytes'] / 1e9:.2f} GB")
  return words


def _steps(run: Run) -> str:
  """The whole step in each method, size and framework."""
  rows = []
  entries = run["entries"]
  for name, entry in entries.items():
    if "audio_s" not in entry or "seconds" not in entry:
      continue
    least = limit(entry, run)
    seconds = entry["seconds"]
    compile_s = entry.get("compile_s", entry.get("first_s", 0.0))
    peak = entry.get("peak_bytes", entry.get("compiled_peak_bytes"))
    rows.append(
      (
        name.replace("auto", f"auto ({entry.get('method')})"),
        entry["batch"],
        f"{entry['audio_s'] / seconds:.4g}",
        f"{1e3 * seconds:.4g}",
        f"{entry['flops'] / seconds / 1e12:.3g}" if "flops" in entry else "",
        f"{least[0] / seconds:.0%}, {least[1]}" if least else "",
        f"{entry['bytes'] / 1e9:.3g}" if "bytes" in entry else "",
        f"{compile_s:.0f}" + (" (kept)" if entry.get("from_cache") else ""),
        f"{peak / 1e9:.2f}" if peak else "",
      )
    )
  if not rows:
    return ""
  head = ("step", "clips", "audio s/s", "ms", "TFLOP/s", "of the limit", "GB")
  return table((*head, "compile s", "peak GB"), rows) + _ratio(entries)


def _ratio(entries: dict[str, Entry]) -> str:
  """Says how much faster we are than PyTorch."""
  ours = _first_step(entries).get("seconds")
  words = []
  for mode in ("eager", "compiled"):
    theirs = entries.get(f"pytorch/{mode}", {})
    if ours and "seconds" in theirs:
      words.append(
        f"{theirs['seconds'] / ours:.2f} times PyTorch {theirs['torch']}'s "
        f"speed, {mode}"
      )
  return f"\n\nThe first step has {', '.join(words)}." if words else ""


def _first_step(entries: dict[str, Entry]) -> Entry:
  """Returns the entry of the first step, of the batch that PyTorch has."""
  steps = (e for name, e in entries.items() if name.startswith("step/"))
  return next(steps, {})


def _checks(entries: dict[str, Entry]) -> str:
  found = [
    f"* {name} {_check(entry)}"
    for name, entry in entries.items()
    if "holds" in entry
  ]
  if "seconds" in (kmeans := entries.get("kmeans", {})):
    found.append(f"* k-means start: {_kmeans(kmeans)}")
  return "\n".join(found)


def _kmeans(entry: Entry) -> str:
  return (
    f"{entry['layers']} layers of {entry['codes']} codes on "
    f"{entry['frames']:,} frames in {entry['seconds']:.1f} s, the first time "
    f"{entry['first_s']:.1f} s"
  )


def _check(entry: Entry) -> str:
  verdict = "holds" if entry["holds"] else "DOES NOT HOLD"
  worst = f" ({entry['worst']})" if "worst" in entry else ""
  return f"{verdict}: {entry['apart']:.1e} apart{worst}"


def _trace(entry: Entry) -> str:
  if "busy_share" not in entry:
    return ""
  total = entry["kernels_ms"]

  def shares(name: str, of: dict[str, float]) -> str:
    rows = [(k, f"{ms:.3f}", f"{ms / total:.1%}") for k, ms in of.items()]
    return table((name, "ms a step", "share"), rows)

  top = table(
    ("kernel", "of", "kind", "calls", "ms a step", "share"),
    [
      (
        row["kernel"][:60],
        row["op_name"].removeprefix("jit(step)/")[-70:],
        row["kind"],
        row["calls_per_step"],
        f"{row['ms']:.3f}",
        f"{row['share']:.1%}",
      )
      for row in entry["top"]
    ],
  )
  head = (
    f"Trace of {entry['traced_steps']} steps: {entry['kernels_per_step']:.0f} "
    f"kernels and {entry['wall_ms']:.2f} ms a step, of which the device is busy "
    f"{entry['busy_share']:.1%}; {entry['gaps_per_step']:.0f} gaps of 5 us or "
    f"more a step, {entry['idle_ms']:.2f} ms idle in all."
  )
  tables = [head, shares("module", entry["modules_ms"])]
  tables += [shares("kind", entry["kinds_ms"]), top]
  if entry["gaps"]:
    rows = [(g["us"], g["after"][:50], g["before"][:50]) for g in entry["gaps"]]
    tables.append(table(("gap, us", "after", "before"), rows))
  return "\n\n".join(tables)


def _questions(entries: dict[str, Entry]) -> str:
  rows = []
  for entry in entries.values():
    if "question" not in entry:
      continue
    flag = f", {entry['flag']}" if entry.get("flag") else ""
    rows.append(
      (
        f"{entry['question']}: {entry['layer']}",
        entry["variant"] + flag,
        *_directions(entry),
      )
    )
  head = ("question", "variant", "forward us", "input", "kernel", "all us")
  return table(head, rows) if rows else ""


def _layers(entries: dict[str, Entry]) -> str:
  rows = []
  for name, entry in entries.items():
    if not name.startswith("layer/"):
      continue
    _, form, layer = name.split("/", 2)
    rates = [
      "/".join(
        f"{entry[f'{d}_{rate}']:.3g}" if f"{d}_{rate}" in entry else "-"
        for d in ("forward", "input", "kernel")
      )
      for rate in ("tflops", "gb_per_s")
    ]
    rows.append(
      (layer, form, entry.get("count", ""), *_directions(entry), *rates)
    )
  rows.sort(key=lambda row: row[0])  # methods of a layer stand together
  head = ("layer", "method", "times", "forward us", "input", "kernel", "all us")
  return table((*head, "TFLOP/s", "GB/s"), rows) if rows else ""


def _directions(entry: Entry) -> tuple[str, str, str, str]:
  """Microseconds forward, toward input and kernel, and in all."""
  if "forward_s" not in entry:
    why = entry.get("answer") or ("failed" if "error" in entry else "cut off")
    return why, "", "", ""
  names = ("forward", "input", "kernel")
  total = sum(entry[f"{name}_s"] for name in names)
  return (*(_us(entry, name) for name in names), f"{1e6 * total:.1f}")


def _us(entry: Entry, name: str) -> str:
  return f"{1e6 * entry[f'{name}_s']:.1f}"


def _failures(entries: dict[str, Entry]) -> str:
  failed = [
    f"* {name}: {entry['error']}"
    for name, entry in entries.items()
    if "error" in entry
  ]
  cut = [name for name, entry in entries.items() if not entry.get("done")]
  if cut:
    failed.append(f"* cut off, to be measured again: {', '.join(cut)}")
  return "\n".join(["Failed:", *failed]) if failed else ""
