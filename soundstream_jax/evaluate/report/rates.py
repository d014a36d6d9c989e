"""Quality over bitrate: the curves of a group, and the numbers below them."""

import dataclasses
import math

from soundstream_jax.evaluate.report import (
  differences,
  drawing,
  evaluation,
  gathering,
  markup,
  wording,
)

# Of a logarithmic axis, as many as there is room for; kbit/s.
_TICKS = (1, 2, 4, 8, 16, 32)
_MOST_TICKS = 7
# A ceiling that is farther away would press the curves together.
_CEILING_SHARE = 0.6
# Of a sound held against itself, where that is less than the scale's end.
_OF_ITSELF = {"visqol_audio": 4.732}


@dataclasses.dataclass(frozen=True)
class Series:
  """What is one line of a legend.

  Attributes:
    systems: by bitrate; of an anchor, which has none, each is a line.
  """

  name: str
  look: drawing.Look
  systems: list[differences.Ref]

  @property
  def anchor(self) -> bool:
    return self.look.kind == "anchor"

  def points(
    self, metric: str, kind: str
  ) -> list[tuple[float, evaluation.Score]]:
    """Returns (kbit/s, score) of what is known."""
    found = [
      (system.payload_bps / 1000, system.scores[metric, kind])
      for _, system in self.systems
      if system.payload_bps and (metric, kind) in system.scores
    ]
    return [(rate, score) for rate, score in found if score.mean is not None]


def series(group: gathering.Group) -> list[Series]:
  """Returns the models of a group, then the other systems by family."""
  found: dict[tuple[str, str], list[differences.Ref]] = {}
  for each, system in group.models:
    found.setdefault(("ours", model_name(group, each)), []).append(
      (each, system)
    )
  for each, system in group.others:
    if system.payload_bps is None:
      place = ("anchor", system.label)
    else:
      name = wording.FAMILIES.get(system.system, system.system)
      place = ("theirs", name)
    found.setdefault(place, []).append((each, system))
  listed = []
  for kind in ("ours", "theirs", "anchor"):
    named = [(name, refs) for (k, name), refs in found.items() if k == kind]
    for i, (name, refs) in enumerate(named):
      refs = sorted(refs, key=lambda ref: ref[1].payload_bps or 0.0)
      listed.append(Series(name, drawing.Look(i, kind), refs))
  return listed


def model_name(group: gathering.Group, each: evaluation.Evaluation) -> str:
  """Returns what a model is called among those of its group."""
  several = len({str(e.folder) for e in group.evaluations if e.models}) > 1
  return (
    each.label
    if several or group.title
    else str(each.model.get("name") or each.label)
  )


def system_name(group: gathering.Group, ref: differences.Ref) -> str:
  """Returns what a system is called, with its bitrate."""
  each, system = ref
  if system.system != evaluation.MODEL:
    return system.label
  return f"{model_name(group, each)}, {named_rate(system)} kbit/s"


def named_rate(system: evaluation.System) -> str:
  """Returns the bitrate that a setting is called by, in kbit/s.

  What it took is in the tables: a clip ends within a frame.
  """
  return wording.kbps(system.bitrate_bps or system.payload_bps)


def limits(
  lines: list[Series], measure: evaluation.Measure, classes: list[str]
) -> tuple[float, float]:
  """Returns the ends of the axis that all classes' plots share."""
  scores = [
    score
    for line in lines
    for _, system in line.systems
    for kind in classes
    if (score := system.scores.get((measure.name, kind))) is not None
  ]
  means = [score.mean for score in scores if score.mean is not None]
  low, high = min(means, default=0.0), max(means, default=1.0)
  # Intervals of a few clips may be wider than all that there is to see.
  most = max(high - low, 1e-3 * abs(high))
  ends = [e for s in scores for e in (s.low, s.high) if e is not None]
  low = max(min([low, *ends]), low - most)
  high = min(max([high, *ends]), high + most)
  # Nor does a metric go beyond its range, as an interval of a few clips may.
  low = low if measure.low is None else max(low, measure.low)
  high = high if measure.high is None else min(high, measure.high)
  space = 0.05 * (high - low) or 0.5
  ceiling = _ceiling(measure)
  if ceiling is not None and ceiling - high < _CEILING_SHARE * (high - low):
    return low - space, ceiling + 2 * space  # its name stands above it
  return low - space, high + space


def panel(
  lines: list[Series],
  measure: evaluation.Measure,
  kind: str,
  ends: tuple[float, float],
  *,
  name: str,
) -> markup.Html | None:
  """Returns the plot of a metric on a class; None: nothing was measured.

  Args:
    lines: of `series`.
    measure: the metric.
    kind: the class.
    ends: of `limits`.
    name: no other plot of the page has it.
  """
  curves = [(line, line.points(measure.name, kind)) for line in lines]
  curves = [(line, points) for line, points in curves if points]
  anchors = _anchors(lines, measure.name, kind)
  if not curves and not anchors:
    return None

  def draw(axes) -> None:
    for line, points in curves:
      look = line.look.style()
      x = [rate for rate, _ in points]
      y = [score.mean for _, score in points]
      for at, score in points:
        if score.low is not None and score.high is not None:
          axes.plot(
            [at, at],
            [score.low, score.high],
            color=look["color"],
            linewidth=1.1,
            alpha=0.7,
            solid_capstyle="butt",
          )
      ours = line.look.kind == "ours"
      axes.plot(x, y, zorder=4 if ours else 3, **look)
    for line, value in anchors:
      axes.axhline(value, **line.look.style())
    axes.set_ylim(*(ends if measure.higher_is_better else ends[::-1]))
    ceiling = _ceiling(measure)
    if ceiling is not None and ceiling <= ends[1]:
      _draw_ceiling(axes, ceiling)
    _rate_axis(
      axes,
      [rate for _, points in curves for rate, _ in points],
      [
        system.bitrate_bps / 1000
        for line, _ in curves
        for _, system in line.systems
        if system.bitrate_bps
      ],
    )
    axes.set_xlabel("kbit/s of payload")

  return drawing.svg(
    draw, name=name, label=_told(measure, kind, curves, anchors)
  )


def values_table(
  group: gathering.Group,
  lines: list[Series],
  measure: evaluation.Measure,
) -> markup.Html:
  """Returns every mean with its interval, one row a system."""
  classes = [
    kind
    for kind in group.classes
    if any(
      (score := system.scores.get((measure.name, kind))) and score.count
      for line in lines
      for _, system in line.systems
    )
  ]
  rows = [
    [
      system_name(group, (each, system)),
      wording.kbps(system.payload_bps),
      wording.kbps(system.entropy_bps),
      *(
        _cell(system.scores.get((measure.name, kind)), measure)
        for kind in classes
      ),
    ]
    for line in lines
    for each, system in line.systems
  ]
  return markup.table(
    ["System", "kbit/s", "entropy-coded", *classes],
    rows,
    caption=f"{measure.heading}: mean and 95 % interval over clips",
  )


def _cell(
  score: evaluation.Score | None, measure: evaluation.Measure
) -> markup.Html:
  written = markup.text(wording.interval(score, measure.decimals))
  if score is not None and score.missing:
    lost = f"{wording.count(score.missing, 'clip')} missing"
    return markup.join([written, markup.tag("small", f" {lost}")])
  return written


def _anchors(lines: list[Series], metric: str, kind: str):
  """Returns (series, value) of what has no bitrate."""
  return [
    (line, score.mean)
    for line in lines
    if line.anchor
    for _, system in line.systems
    if (score := system.scores.get((metric, kind))) and score.mean is not None
  ]


def _ceiling(measure: evaluation.Measure) -> float | None:
  """Returns the best value of a metric; None where lower is better."""
  if not measure.higher_is_better:
    return None
  return _OF_ITSELF.get(measure.name, measure.high)


def _draw_ceiling(axes, ceiling: float) -> None:
  axes.axhline(ceiling, color=drawing.MUTED, linewidth=1)
  axes.text(
    0.01,
    ceiling,
    f"ceiling {ceiling:.2f}",
    transform=axes.get_yaxis_transform(),
    color=drawing.MUTED,
    fontsize=9,
    va="bottom",
  )


def _rate_axis(axes, rates: list[float], named: list[float]) -> None:
  """Sets a logarithmic axis with a few numbers: bitrates by their names.

  Args:
    axes: of the plot.
    rates: of its points, kbit/s.
    named: what the settings are called, kbit/s; may be empty.
  """
  axes.set_xscale("log")
  low, high = (min(rates), max(rates)) if rates else (1.0, 32.0)
  low, high = low / 1.2, high * 1.2
  axes.set_xlim(low, high)
  inside = sorted(tick for tick in {*named} or {*_TICKS} if low <= tick <= high)
  inside = inside or [math.sqrt(low * high)]
  room = math.log(high / low) / _MOST_TICKS
  ticks = [inside[0]]
  for tick in inside[1:]:
    if math.log(tick / ticks[-1]) >= room:
      ticks.append(tick)
  axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
  axes.set_xticks([], minor=True)


def _told(measure, kind, curves, anchors) -> str:
  """Returns a plot in words."""
  shown = [
    f"{line.name}: "
    + ", ".join(
      f"{wording.number(score.mean, measure.decimals)} at {rate:.3g} kbit/s"
      for rate, score in points
    )
    for line, points in curves
  ]
  shown += [
    f"{line.name}: {wording.number(value, measure.decimals)}"
    for line, value in anchors
  ]
  better = "higher" if measure.higher_is_better else "lower"
  return (
    f"{measure.heading} over bitrate, {kind} clips; {better} is better. "
    + "; ".join(shown)
    + "."
  )
