"""The top of a page: the finding, and what it was measured with."""

import soundstream_jax
from soundstream_jax.evaluate.report import (
  evaluation,
  finding,
  gathering,
  markup,
  wording,
)


def head(found: gathering.Found, sections: dict[str, str]) -> markup.Html:
  """Returns the head.

  Args:
    found: of the page.
    sections: id -> title of what follows.
  """
  main = main_group(found)
  if main is not None:
    result = finding.of(main)
  else:
    runs = wording.count(len(_runs(found)), "run")
    result = finding.Finding(f"{runs}, none of them evaluated yet.", "")
  links = (
    markup.tag("li", markup.tag("a", title, href=f"#{name}"))
    for name, title in sections.items()
  )
  return markup.tag(
    "header",
    markup.tag("p", title(found), class_="eyebrow"),
    markup.tag("h1", result.sentence),
    markup.tag("p", result.beside, class_="lead") if result.beside else "",
    _facts(found),
    markup.tag("nav", markup.tag("ul", *links), aria_label="Sections"),
  )


def title(found: gathering.Found) -> str:
  """Returns the page's title."""
  dates = sorted({each.date for each in found.evaluations})
  measured = f", measured {dates[-1]}" if dates else ""
  return f"SoundStream report{measured}"


def main_group(found: gathering.Found) -> gathering.Group | None:
  """Returns the group that the headline is about: one with a comparison."""
  groups = [g for g in found.groups if finding.metric_order(g)]
  for group in groups:
    if group.models and group.others:
      return group
  return groups[0] if groups else None


def _runs(found: gathering.Found) -> list[gathering.Run]:
  points = (point.run for sweep in found.sweeps for point in sweep.points)
  return [*found.runs, *(run for run in points if run)]


def _facts(found: gathering.Found) -> markup.Html:
  facts = [
    ("Models", _list(_models(found), "models")),
    ("Clips", _list(_clips(found), "sets of clips")),
    ("Others", _list(_others(found), "systems")),
    ("Metrics", _list(_metrics(found), "metrics")),
    ("Missing", _list(_missing(found), "missing parts")),
    ("Made by", f"soundstream_jax {soundstream_jax.__version__}"),
  ]
  return markup.tag(
    "dl",
    *(
      markup.join([markup.tag("dt", name), markup.tag("dd", content)])
      for name, content in facts
      if content
    ),
    class_="facts",
  )


def _list(lines: list[markup.Html], what: str) -> markup.Html:
  """Returns lines below each other; of many, all but four are folded."""
  items = [markup.tag("li", line) for line in lines]
  if len(items) <= 5:
    return markup.tag("ul", *items) if items else markup.Html("")
  return markup.join(
    [
      markup.tag("ul", *items[:4]),
      markup.folded(
        f"{len(items) - 4} more {what}", markup.tag("ul", *items[4:])
      ),
    ]
  )


def _models(found: gathering.Found) -> list[markup.Html]:
  lines = [
    markup.join(
      [
        markup.tag("b", f"Sweep {sweep.title}"),
        f": {wording.count(len(sweep.points), 'point')}, preset "
        f"{sweep.preset or 'unknown'}, "
        f"{sum(p.run is not None for p in sweep.points)} of them begun",
      ]
    )
    for sweep in found.sweeps
  ]
  for run in found.runs:
    each = run.evaluation
    if each is None or not each.models:
      continue
    told = each.model
    name = str(told.get("name") or each.label)
    words = []
    if name != each.label:
      words.append(f"measured in {each.label}")
    if (size := evaluation.finite(told.get("parameters"))) is not None:
      words.append(f"{wording.millions(size)} parameters")
    if (step := evaluation.finite(told.get("step"))) is not None:
      words.append(f"step {step:.0f}")
    if told.get("weights"):
      words.append(f"{told['weights']} weights")
    if (rate := evaluation.finite(told.get("sample_rate_hz"))) is not None:
      words.append(f"{rate / 1000:g} kHz")
    if told.get("fingerprint"):
      words.append(f"fingerprint {str(told['fingerprint'])[:12]}")
    lines.append(markup.join([markup.tag("b", name), f": {', '.join(words)}"]))
  return lines


def _clips(found: gathering.Found) -> list[markup.Html]:
  lines = {}
  for group in found.groups:
    each = group.first
    kinds = [
      f"{each.clip_classes.count(kind)} {kind}"
      for kind in evaluation.ordered(set(each.clip_classes))
      if kind != evaluation.ALL
    ]
    made_of = f" ({', '.join(kinds)})" if kinds else ""
    lines[each.digest] = markup.text(
      f"{wording.count(len(each.clip_names), 'clip')}{made_of}, "
      f"{each.seconds:.0f} s in all, of {each.origin or 'an unnamed set'}; "
      f"measured {_dates(group)}"
    )
  return list(lines.values())


def _dates(group: gathering.Group) -> str:
  dates = sorted({each.date for each in group.evaluations})
  return dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"


def _others(found: gathering.Found) -> list[markup.Html]:
  families: dict[tuple[str, str], list[str]] = {}
  for group in found.groups:
    for _, system in group.others:
      name = wording.FAMILIES.get(system.system, system.system)
      labels = families.setdefault((name, system.version), [])
      if system.label not in labels:
        labels.append(system.label)
  return [
    markup.join(
      [
        markup.tag("b", name),
        f": {wording.count(len(labels), 'setting')}"
        + (f"; {'version ' * version.isdigit()}{version}" if version else ""),
      ]
    )
    for (name, version), labels in families.items()
  ]


def _metrics(found: gathering.Found) -> list[markup.Html]:
  """Returns one line: titles, with the package that computes each."""
  named = {
    f"{m.title} ({m.version})" if m.version else m.title: None
    for group in found.groups
    for m in group.metrics.values()
  }
  return [markup.text(", ".join(named))] if named else []


def _missing(found: gathering.Found) -> list[markup.Html]:
  reasons: dict[tuple[str, str], None] = {}
  for each in found.evaluations:
    reasons |= dict.fromkeys(each.missing_metrics.items())
    reasons |= dict.fromkeys(each.missing_systems.items())
  lines = [
    markup.join([markup.tag("b", name), f": {why}"]) for name, why in reasons
  ]
  # An evaluation elsewhere names the workdir that it is of.
  elsewhere = {each.model.get("name") for each in found.evaluations}
  for run in _runs(found):
    if run.evaluation is None and run.folder.name not in elsewhere:
      lines.append(
        markup.join([markup.tag("b", run.label), ": is not evaluated"])
      )
  for group in found.groups:
    if group.models and not group.others:
      of = f" for the sweep {group.title}" if group.title else ""
      lines.append(
        markup.text(f"Other systems to compare with{of}: none was measured")
      )
  return list(dict.fromkeys(lines))
