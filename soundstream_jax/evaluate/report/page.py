"""Puts a page together: what was found, first; then what it rests on."""

import base64
import hashlib
import pathlib
import string

from soundstream_jax import errors
from soundstream_jax.evaluate.report import (
  ablations,
  codebooks,
  comparisons,
  drawing,
  evaluation,
  finding,
  gathering,
  head,
  markup,
  rates,
  sounds,
  training,
  wording,
)

MOST_BYTES = 20_000_000
_HERE = pathlib.Path(__file__).parent
_TITLES = {
  "rates": "Quality and bitrate",
  "listen": "Listen",
  "ablations": "Sweeps, beside the paper",
  "training": "Training",
  "codebooks": "Use of the codebooks",
}


def render(found: gathering.Found, *, most_bytes: int = MOST_BYTES) -> str:
  """Returns the page of what `gathering.gather` found.

  Sounds that would make it larger than `most_bytes` are left out, and a line
  says so.

  Raises:
    InputError: it is too large without any sound; or a sound cannot be read.
  """
  sections = {
    "rates": _rates(found.groups),
    "listen": markup.Html("-"),
    "ablations": _ablations(found),
    "training": _training(found),
    "codebooks": codebooks.section(found.evaluations, name="codebooks"),
  }
  # Sounds take what the rest leaves.
  size = len(_whole(found, sections).encode())
  if size > most_bytes:
    raise errors.InputError(
      f"the page would have {size / 1e6:.1f} MB without any sound, of "
      f"{most_bytes / 1e6:g} at most. Name fewer --runs."
    )
  sections["listen"] = _listen(found.groups, most_bytes - size)
  return _whole(found, sections)


def _whole(found, sections) -> str:
  there = {name: content for name, content in sections.items() if content}
  body = markup.join(
    [
      head.head(found, {name: _TITLES[name] for name in there}),
      markup.tag(
        "main",
        *(
          markup.tag(
            "section", markup.tag("h2", _TITLES[name]), content, id=name
          )
          for name, content in there.items()
        ),
        id="content",
      ),
    ]
  )
  script, style = _file("page.js"), _file("page.css")
  digest = hashlib.sha256(f"\n{script}\n".encode()).digest()
  policy = (
    "default-src 'none'; img-src data:; media-src data:; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    f"script-src 'sha256-{base64.b64encode(digest).decode()}'"
  )
  return (
    string.Template(_file("page.html")).substitute(
      policy=markup.Html(policy),
      title=markup.text(head.title(found)),
      style=style,
      script=script,
      body=body,
    )
    + "\n"
  )


def _file(name: str) -> str:
  return (_HERE / name).read_text(encoding="utf-8").strip("\n")


def _rates(groups: list[gathering.Group]) -> markup.Html:
  shown = [group for group in groups if finding.metric_order(group)]
  parts = []
  for i, group in enumerate(shown):
    if len(shown) > 1:
      parts.append(markup.tag("h3", group_title(group)))
    parts.append(_group(group, f"g{i}"))
  return markup.join(parts)


def group_title(group: gathering.Group) -> str:
  """Returns what a group is called beside others."""
  name = f"Sweep {group.title}" if group.title else "Runs"
  return f"{name}, clips of {group.first.origin or 'one set'}"


def _group(group: gathering.Group, name: str) -> markup.Html:
  """Returns a group's plots and tables, a block for each metric."""
  lines = rates.series(group)
  order = finding.metric_order(group)
  blocks = [
    markup.tag(
      "div",
      _block(group, lines, measure, f"{name}-{i}"),
      class_="block",
      data_metric=measure.name,
    )
    for i, measure in enumerate(order)
  ]
  chooser = markup.tag(
    "fieldset",
    markup.tag("legend", "Metric"),
    markup.tag(
      "div",
      *(
        markup.tag(
          "label",
          markup.tag(
            "input",
            type="radio",
            name=f"{name}-metric",
            value=measure.name,
            checked=i == 0,
          ),
          markup.tag("span", measure.title),
        )
        for i, measure in enumerate(order)
      ),
    ),
    class_="chooser",
  )
  return markup.tag("div", chooser, *blocks, class_="group")


def _block(group, lines, measure, name: str) -> markup.Html:
  panels = []
  ends = rates.limits(lines, measure, group.classes)
  for i, kind in enumerate(group.classes):
    plot = rates.panel(lines, measure, kind, ends, name=f"{name}-{i}")
    if plot is not None:
      title = "all clips" if kind == evaluation.ALL else kind
      caption = markup.tag("figcaption", markup.tag("b", title))
      panels.append(markup.tag("figure", caption, plot))
  way = (
    "Higher is better."
    if measure.higher_is_better
    else "Lower is better, so the axis is turned: up is better."
  )
  return markup.join(
    [
      markup.tag(
        "p",
        markup.tag("strong", measure.heading),
        f". {way} Bars are 95 % intervals of the mean over clips.",
      ),
      markup.tag(
        "div",
        drawing.legend([(s.look, s.name) for s in lines], name=name),
        markup.tag("div", *panels, class_="panels"),
        class_="plots",
      ),
      comparisons.near(group, measure) or "",
      markup.folded(
        "All numbers of these plots",
        rates.values_table(group, lines, measure),
        comparisons.everything(group, measure) or "",
      ),
    ]
  )


def _ablations(found: gathering.Found) -> markup.Html:
  return markup.join(
    ablations.section(sweep, found.groups) for sweep in found.sweeps
  )


def _training(found: gathering.Found) -> markup.Html:
  scopes = [("", found.runs)]
  for sweep in found.sweeps:
    scopes.append((sweep.title, [p.run for p in sweep.points if p.run]))
  metrics = {
    name: measure
    for group in found.groups
    for name, measure in group.metrics.items()
  }
  parts = []
  for i, (title, runs) in enumerate(scopes):
    logged = [run for run in runs if run.log]
    plots = training.section(logged, metrics, name=f"t{i}") if logged else None
    if plots is not None:
      if title:
        parts.append(markup.tag("h3", f"Sweep {title}"))
      parts.append(plots)
  return markup.join(parts)


def _listen(groups: list[gathering.Group], budget: int) -> markup.Html:
  """Returns the players; how many sounds had no room is said."""
  heard = [(g, clips) for g in groups if (clips := sounds.clips(g))]
  several = len(heard) > 1
  titles = [
    markup.tag("h3", group_title(group)) if several else markup.Html("")
    for group, _ in heard
  ]
  fixed = [_how_to_listen(), *titles, _left_out(999_999)]
  budget -= len(markup.join(fixed).encode())
  parts, left_out = [], 0
  for i, (_, clips) in enumerate(heard):
    share = budget // (len(heard) - i)
    shown, used, left = sounds.players(clips, name=f"p{i}", budget=share)
    budget -= used
    left_out += left
    if shown:
      parts += [titles[i], shown]
  if left_out:
    parts.append(_left_out(left_out))
  return markup.join([_how_to_listen(), *parts] if parts else [])


def _how_to_listen() -> markup.Html:
  return markup.tag(
    "p",
    "All versions of a clip run at once; choose the one you hear. ",
    markup.tag("kbd", "1"),
    " to ",
    markup.tag("kbd", "0"),
    " or the arrows switch, ",
    markup.tag("kbd", "space"),
    " plays. Spectrograms: mel scale up to half the sample rate, 80 dB.",
  )


def _left_out(count: int) -> markup.Html:
  return markup.tag(
    "p",
    f"{wording.count(count, 'more sound')} left out: the page would be larger "
    f"than {MOST_BYTES / 1e6:g} MB. They are in the evaluations’ folders.",
    id="left-out",
  )
