"""Sweeps as tables in the paper's layout, with its numbers beside ours."""

from collections.abc import Mapping
from typing import Any

from soundstream_jax.evaluate.report import (
  comparisons,
  differences,
  evaluation,
  finding,
  gathering,
  markup,
  paper,
  wording,
)


def section(
  sweep: gathering.Sweep, groups: list[gathering.Group]
) -> markup.Html:
  """Returns a sweep's table.

  Args:
    sweep: to show.
    groups: of all of the page.
  """
  mine = [g for g in groups if _holds(g, sweep)]
  order = finding.metric_order(mine[0]) if mine else []
  told = paper.TABLES.get(sweep.name)
  fixed = {
    "bitrate": "Every point has the same bitrate.",
    "depth": "Every point has the same number of layers.",
  }.get(sweep.fixes, "Bitrate and depth are what it compares.")
  title = told.title if told else f"Sweep {sweep.name}"
  if sweep.title != sweep.name:  # another has this name
    title = f"{title}: {sweep.title}"
  parts = [
    markup.tag("h3", title),
    markup.tag(
      "p",
      f"{wording.count(len(sweep.points), 'point')} of the sweep "
      f"{sweep.name}, preset {sweep.preset or 'unknown'}. {fixed}",
    ),
  ]
  parts.append(_table(sweep, mine, order, told))
  if told:
    parts.append(
      markup.tag("p", paper.HONESTLY, " ", told.note, class_="aside")
    )
  return markup.join(parts)


def _holds(group: gathering.Group, sweep: gathering.Sweep) -> bool:
  own = [p.run.evaluation for p in sweep.points if p.run]
  own.append(sweep.baselines)
  return any(each is mine for each in group.evaluations for mine in own)


def _table(sweep, groups, order, told: paper.Table | None) -> markup.Html:
  fields = [fields_of(point) for point in sweep.points]
  keys = [
    told.key(mine, fields, point.name) if told else None
    for mine, point in zip(fields, sweep.points, strict=True)
  ]
  papers = told.rows if told else {}
  width = len(told.columns) if told else 0
  first = sweep.points[0] if sweep.points else None
  head = ["Point", *(told.columns if told else ())]
  head += ["Parameters", "kbit/s", *(measure.heading for measure in order)]
  if order:
    head.insert(len(head) - len(order) + 1, f"Δ to {first.name}")
  rows = []
  for point, key in zip(sweep.points, keys, strict=True):
    cells = papers.get(key, (wording.ABSENT,) * width)
    name = point.name
    if best(point) is None:
      state = "not run" if point.run is None else "not evaluated"
      state = markup.tag("span", state, class_="aside")
      name = markup.join([point.name, state])
    rows.append([name, *_quoted(cells), *_ours(point, first, order)])
  for key, cells in papers.items():
    if key not in keys:
      absent = [wording.ABSENT] * (2 + len(order) + bool(order))
      rows.append(["no point", *_quoted(cells), *absent])
  words = told is not None and told.columns[-1] == "Says"
  return markup.table(
    head,
    rows,
    above=[("", 1), ("Paper", width), ("Ours", len(head) - 1 - width)]
    if told
    else (),
    caption=f"{sweep.title}: mean and 95 % interval over all clips, at each "
    "point’s highest bitrate",
    numbers_from=3 if words else 1,
  )


def _quoted(cells) -> list[markup.Html]:
  return [markup.tag("span", cell, class_="paper") for cell in cells]


def _ours(point, first, order) -> list[object]:
  """Returns what was measured of a point, at its highest bitrate."""
  size = wording.ABSENT
  if point.parameters:
    size = wording.millions(point.parameters)
  ref = best(point)
  if ref is None:
    rate = wording.kbps(point.bitrate_bps)
    return [size, rate, *[wording.ABSENT] * (len(order) + bool(order))]
  each, system = ref
  scores = [system.scores.get((m.name, evaluation.ALL)) for m in order]
  cells = [
    wording.interval(score, m.decimals)
    for score, m in zip(scores, order, strict=True)
  ]
  rate = wording.kbps(system.payload_bps or system.bitrate_bps)
  if order:
    reference = best(first)
    same = point is first or reference is None
    difference = None
    if not same and reference[0].digest == each.digest:
      difference = differences.of(ref, reference, order[0].name, evaluation.ALL)
    cells.insert(1, comparisons.cell(difference, order[0]))
  return [size, rate, *cells]


def best(point: gathering.Point) -> differences.Ref | None:
  """Returns a point's system of the highest bitrate."""
  if point.run is None or point.run.evaluation is None:
    return None
  models = point.run.evaluation.models
  if not models:
    return None
  top = max(models, key=lambda s: s.payload_bps or s.bitrate_bps or 0.0)
  return point.run.evaluation, top


def fields_of(point: gathering.Point) -> dict[str, Any]:
  """Returns field -> value of a point: its run's, and its overrides."""
  found = _flat(point.run.config) if point.run else {}
  return found | dict(point.overrides)


def _flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
  found = {}
  for name, value in config.items():
    if isinstance(value, Mapping):
      found |= _flat(value, f"{before}{name}.")
    else:
      found[f"{before}{name}"] = value
  return found
