"""Plots as SVG inside a page, in the page's colours and letters.

matplotlib draws with colours that stand for roles; they become variables of
the style sheet, so that one drawing is light and dark. Only numbers and our
own words stand in a drawing: names are markup's.
"""

import dataclasses
import functools
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from soundstream_jax import errors
from soundstream_jax.evaluate.report import markup

INK, MUTED, GRID, PAPER = "#0a0bf0", "#0a0bf1", "#0a0bf2", "#0a0bf3"
_ROLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"}
_MARKERS = "os^DvPX*"
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
# Colours of models and of what they are held against, which stay apart.
_OURS = (0, 2, 3, 6)
_THEIRS = (1, 4, 5, 7)

_STYLE = {
  "svg.fonttype": "none",
  "svg.image_inline": True,
  "font.size": 11,
  "text.color": INK,
  "axes.labelcolor": MUTED,
  "axes.edgecolor": GRID,
  "axes.facecolor": "none",
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.axisbelow": True,
  "axes.unicode_minus": True,
  "axes.formatter.useoffset": False,
  "axes.grid": True,
  "figure.facecolor": "none",
  "grid.color": GRID,
  "grid.linewidth": 0.8,
  "lines.linewidth": 1.8,
  "xtick.color": GRID,
  "xtick.labelcolor": MUTED,
  "ytick.color": GRID,
  "ytick.labelcolor": MUTED,
}


@dataclasses.dataclass(frozen=True)
class Look:
  """How a series is drawn; never told apart by its colour alone.

  Attributes:
    index: among those of its kind.
    kind: "ours" is full and bold, "theirs" hollow and dashed, "anchor" a line
      without marks, which no bitrate belongs to.
  """

  index: int
  kind: str = "ours"

  @property
  def colour(self) -> str:
    """The colour that stands for one of the style sheet's."""
    if self.kind == "anchor":
      return MUTED
    some = _OURS if self.kind == "ours" else _THEIRS
    return f"#0a0b{some[self.index % len(some)]:02x}"

  def style(self) -> dict[str, Any]:
    """Returns matplotlib's words for it."""
    if self.kind == "anchor":
      dashes = _DASHES[1 + (1 + self.index) % 3]
      return {"color": MUTED, "linewidth": 1.2, "linestyle": dashes}
    ours = self.kind == "ours"
    turn = self.index // len(_OURS if ours else _THEIRS)
    return {
      "color": self.colour,
      "marker": _MARKERS[(self.index + (not ours)) % len(_MARKERS)],
      "markersize": 6,
      "markerfacecolor": self.colour if ours else PAPER,
      "markeredgewidth": 1.4,
      "linewidth": 2.2 if ours else 1.4,
      "linestyle": _DASHES[turn % 4] if ours else _DASHES[1 + self.index % 3],
    }


def check_possible() -> None:
  """Raises InputError where matplotlib, which draws, is missing."""
  try:
    import matplotlib  # noqa: F401
  except ImportError:
    raise errors.InputError(
      "the report draws with matplotlib, which is not installed: "
      "pip install 'soundstream_jax[plots]'."
    ) from None


def svg(
  draw: Callable[[Any], None],
  *,
  name: str,
  label: str,
  width: int = 400,
  height: int = 270,
  margins: tuple[float, float, float, float] = (52, 14, 12, 40),
) -> markup.Html:
  """Returns a drawing of one plot.

  Args:
    draw: gets matplotlib's axes.
    name: no other drawing of the page has it.
    label: what it shows, for who does not see it.
    width: in the page's pixels, where it is not made smaller.
    height: likewise.
    margins: around the axes: left, right, above, below.
  """
  import matplotlib
  from matplotlib import figure as figure_lib

  left, right, above, below = margins
  file = io.StringIO()
  with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
    figure = figure_lib.Figure(figsize=(width / 72, height / 72), dpi=72)
    axes = figure.add_axes(
      (
        left / width,
        below / height,
        1 - (left + right) / width,
        1 - (above + below) / height,
      )
    )
    axes.tick_params(length=0, pad=6)
    draw(axes)
    figure.savefig(
      file,
      format="svg",
      metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
    )
  return _inlined(file.getvalue(), name, label, width, height)


def legend(entries: Sequence[tuple[Look, str]], *, name: str) -> markup.Html:
  """Returns a legend of names; none of a single one.

  Args:
    entries: of each series how it is drawn, and its name.
    name: no other legend of the page has it.
  """
  if len(entries) < 2:
    return markup.Html("")
  return markup.tag(
    "ul",
    *(
      markup.tag(
        "li",
        markup.Html(_key(look).replace("key-", f"{name}-key-")),
        markup.tag("span", said),
      )
      for look, said in entries
    ),
    class_="legend",
  )


@functools.cache
def _key(look: Look) -> markup.Html:
  """Returns the line and the mark of a series."""

  def draw(axes) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(-1, 1))
    axes.plot([0, 0.5, 1], [0, 0, 0], markevery=[1], **look.style())

  return svg(
    draw,
    name=f"key-{look.kind}-{look.index}",
    label="",
    width=34,
    height=14,
    margins=(1, 1, 1, 1),
  )


def logarithmic(axes) -> None:
  """Sets a logarithmic vertical axis whose numbers can be read."""
  from matplotlib import ticker

  axes.set_yscale("log")
  axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
  axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
  axes.yaxis.set_minor_locator(ticker.NullLocator())


def _inlined(
  text: str, name: str, label: str, width: int, height: int
) -> markup.Html:
  """Returns the element <svg> of a file, which shares a page with others."""
  text = text[text.index("<svg") :]
  text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
  text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
  opened = text.index(">") + 1
  body = text[opened:]
  body = body.replace("xlink:href", "href")
  # matplotlib's own style is for the whole document, and most of its names
  # are in every drawing and asked for by none.
  body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
  asked = set(re.findall(r'(?:href="|url\()#([^")]+)', body))
  body = re.sub(
    r' id="([^"]*)"',
    lambda m: f' id="{name}-{m[1]}"' if m[1] in asked else "",
    body,
  )
  body = re.sub(r'href="#', f'href="#{name}-', body)
  body = re.sub(r"url\(#", f"url(#{name}-", body)
  body = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", body)
  body = re.sub(r" font-family: [^;\"]*;?", "", body)
  body = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", body)
  for role, variable in _ROLES.items():
    body = body.replace(role, f"var(--{variable})")
  body = re.sub(r"#0a0b(0[0-7])", lambda m: f"var(--s{int(m[1], 16)})", body)
  body = re.sub(r">\s+<", "><", body).replace(" \n", " ").replace("<g/>", "")
  shown = f'role="img" aria-label="{markup.text(label)}"'
  if not label:
    shown = 'aria-hidden="true"'
  return markup.Html(
    f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    f"{shown}>{body}"
  )
