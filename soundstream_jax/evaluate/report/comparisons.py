"""Tables of paired differences: models against other systems."""

from soundstream_jax.evaluate.report import (
  differences,
  evaluation,
  finding,
  gathering,
  markup,
  rates,
  wording,
)

_SIGNS = {"better": "▲", "worse": "▼", "open": "≈"}
_ALIKE = 1.5  # ratio of bitrates
_WORDS = {"better": "better", "worse": "worse", "open": "not told apart"}


def near(
  group: gathering.Group, measure: evaluation.Measure
) -> markup.Html | None:
  """Returns the differences to the nearest bitrate of each other codec.

  Of bitrates that are much unlike, none are shown where others are alike: that
  a sixteenth of the bits is worse says little, and takes the page.
  """
  families = dict.fromkeys(s.system for _, s in group.others)
  pairs = [
    (model, other)
    for model in group.models
    for family in families
    if (other := finding.nearest(group, model, family)) is not None
  ]
  pairs = [pair for pair in pairs if _is_alike(*pair)] or pairs
  shown = _table(group, measure, pairs, "Differences at the nearest bitrate")
  return shown and markup.join([shown, signs()])


def _is_alike(ours: differences.Ref, other: differences.Ref) -> bool:
  low, high = sorted((ours[1].payload_bps, other[1].payload_bps))
  return high <= _ALIKE * low


def everything(
  group: gathering.Group, measure: evaluation.Measure
) -> markup.Html | None:
  """Returns the differences to every other system, anchors too."""
  pairs = [(model, other) for model in group.models for other in group.others]
  return _table(group, measure, pairs, "Differences to every system")


def _table(group, measure, pairs, title: str) -> markup.Html | None:
  rows, kinds = [], group.classes
  for ours, other in pairs:
    found = [differences.of(ours, other, measure.name, kind) for kind in kinds]
    if any(found):
      rows.append(
        [
          rates.system_name(group, ours),
          other[1].label,
          *(cell(difference, measure) for difference in found),
        ]
      )
  if not rows:
    return None
  kinds = [
    (i, kind)
    for i, kind in enumerate(kinds)
    if any(row[2 + i] != wording.ABSENT for row in rows)
  ]
  return markup.table(
    ["Ours", "Other", *(kind for _, kind in kinds)],
    [[*row[:2], *(row[2 + i] for i, _ in kinds)] for row in rows],
    caption=f"{title}: {measure.heading}, ours − other",
    numbers_from=2,
  )


def cell(
  difference: evaluation.Score | None, measure: evaluation.Measure
) -> markup.Html:
  """Returns a difference with its interval, and in words what it means."""
  if difference is None or difference.mean is None:
    return markup.text(wording.ABSENT)
  mean, low, high = (
    wording.signed(value, measure.decimals)
    for value in (difference.mean, difference.low, difference.high)
  )
  interval = (
    "" if difference.low is None else f" [{low},\N{NO-BREAK SPACE}{high}]"
  )
  if not differences.told_apart(difference):
    name = "open"
  elif measure.gain(difference.mean) > 0:
    name = "better"
  else:
    name = "worse"
  return markup.join(
    [
      f"{mean}{interval}",
      markup.tag("span", _SIGNS[name], aria_hidden="true", class_=name),
      markup.tag("span", f" {_WORDS[name]}", class_="spoken"),
    ]
  )


def signs() -> markup.Html:
  """Returns what the signs behind differences mean."""
  return markup.tag(
    "p",
    *(
      markup.tag(
        "span",
        markup.tag("span", sign, class_=name, aria_hidden="true"),
        f" {_WORDS[name]}",
        class_="sign",
      )
      for name, sign in _SIGNS.items()
    ),
    class_="aside",
  )
