"""Describes a prepared dataset in datasheet.json and in a picture.

datasheet.json:

  datasheet_version  "1.1.0", of this format
  dataset, kind, title, licence, citation, version, ...   where it comes from
  sample_rate_hz
  splits             split -> hours, records, groups, dropped_ends (of groups,
                     shorter than a record may be), dropped_seconds
  bandwidth_hz       split -> histogram of records, see measure.bandwidth_hz
  level_dbfs         split -> histogram of records, see measure.level_dbfs
  file_sample_rates  rate in Hz -> hours of the files as they were
  clipped_share      of the files' samples, see measure.Clipping
  silent_share       of the records' frames of 10 ms: below -60 dBFS
  files, skipped     how many there were; those left out: [{name, reason}, ...]
  damaged            those used as far as they go: [{name, reason}, ...]

A histogram is {edges: [n + 1], counts: [n]}. 1.0.0 had no `damaged`.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from soundstream_jax import whole_files
from soundstream_jax.data_pipelines.audio import decode, measure
from soundstream_jax.data_pipelines.preparation import records
from soundstream_jax.settings import numbers

_VERSION = "1.1.0"
_BANDWIDTH_BINS = 24
_LEVEL_BIN_DB = 2.0
_LEVELS_SHOWN_DBFS = (-70, 0)
_RATES_SHOWN = 6
_COLOURS = {"train": "#1f5a94", "validation": "#e08e2b", "test": "#4f9d69"}


def make(
  tallies: Mapping[str, records.Tally],
  sounds: Mapping[str, measure.Sound],
  skipped: Sequence[decode.Skipped],
  damaged: Sequence[decode.Damaged],
  *,
  num_files: int,
  sample_rate_hz: int,
  about: Mapping[str, str],
) -> dict[str, Any]:
  """Returns the datasheet, as JSON values.

  Args:
    tallies, sounds: of each split.
    about: dataset, kind, licence and so on.
  """
  total = measure.Sound()
  for sound in sounds.values():
    total.add(sound)
  bandwidths = np.linspace(0, sample_rate_hz / 2, _BANDWIDTH_BINS + 1)
  levels = np.arange(measure.LOWEST_DBFS, _LEVEL_BIN_DB, _LEVEL_BIN_DB)
  return {
    "datasheet_version": _VERSION,
    **about,
    "sample_rate_hz": sample_rate_hz,
    "splits": {
      split: {
        "hours": tally.samples / sample_rate_hz / 3600,
        "records": tally.records,
        "groups": len(tally.groups),
        "dropped_ends": tally.dropped,
        "dropped_seconds": tally.dropped_samples / sample_rate_hz,
      }
      for split, tally in tallies.items()
    },
    "bandwidth_hz": {
      split: _histogram(sound.bandwidth_hz, bandwidths)
      for split, sound in sounds.items()
    },
    "level_dbfs": {
      split: _histogram(sound.level_dbfs, levels)
      for split, sound in sounds.items()
    },
    "file_sample_rates": {
      rate: total.seconds_at[rate] / 3600
      for rate in sorted(total.seconds_at, key=int)
    },
    "clipped_share": total.clipped_samples / max(1, total.samples),
    "silent_share": total.silent_frames / max(1, total.frames),
    "files": num_files,
    "skipped": [vars(file) for file in skipped],
    "damaged": [vars(file) for file in damaged],
  }


def draw(sheet: Mapping[str, Any], path: pathlib.Path) -> None:
  """Draws the datasheet; a line on stderr says so where it cannot."""
  try:
    from matplotlib import figure
  except ImportError:
    print(
      f"{path.name} is left out: pip install 'soundstream_jax[plots]' draws it.",
      file=sys.stderr,
    )
    return
  canvas = figure.Figure(figsize=(11, 7.5))
  # By hand: an automatic layout takes longer than all the rest.
  canvas.subplots_adjust(0.08, 0.07, 0.97, 0.87, wspace=0.2, hspace=0.36)
  canvas.suptitle(_title(sheet), fontsize=13)
  (splits, rates), (bandwidth, level) = canvas.subplots(2, 2)
  _draw_splits(splits, sheet)
  _draw_rates(rates, sheet)
  _draw_histogram(bandwidth, sheet["bandwidth_hz"], 1e-3)
  bandwidth.set_title("Bandwidth: highest frequency within 60 dB of the peak")
  bandwidth.set_xlabel("bandwidth of a record / kHz")
  bandwidth.set_xlim(0, sheet["sample_rate_hz"] / 2000)
  _draw_histogram(level, sheet["level_dbfs"], 1.0)
  level.set_title(
    f"Level: {numbers.percent(sheet['silent_share'])} of 10 ms frames are silent "
    f"(below {measure.SILENT_DBFS:.0f} dBFS)"
  )
  level.set_xlabel("RMS level of a record / dBFS")
  level.set_xlim(_LEVELS_SHOWN_DBFS)
  for axes in canvas.axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontsize(11)
  with whole_files.replacing(path) as partial:
    canvas.savefig(partial, dpi=120, format="png")


def _draw_splits(axes, sheet: Mapping[str, Any]) -> None:
  splits = sheet["splits"]
  hours = [values["hours"] for values in splits.values()]
  bars = axes.barh(
    list(splits), hours, color=[_COLOURS[split] for split in splits]
  )
  axes.bar_label(
    bars,
    [
      f"{_hours(values['hours'])}\n{values['records']:,} records, "
      f"{values['groups']:,} groups"
      for values in splits.values()
    ],
    padding=4,
    fontsize=9,
  )
  axes.set_xlim(0, max(hours) * 1.6)
  axes.invert_yaxis()
  axes.set_title("Audio in each split; no group is in two")
  axes.set_xlabel("audio / hours")


def _draw_rates(axes, sheet: Mapping[str, Any]) -> None:
  rates = _most(sheet["file_sample_rates"])
  bars = axes.bar(
    [f"{int(rate) / 1000:g}" if rate else "others" for rate in rates],
    list(rates.values()),
    width=0.6,
    color="#777777",
  )
  axes.bar_label(bars, [_hours(hours) for hours in rates.values()], fontsize=9)
  sides = max(0.7, 2.5 - len(rates) / 2)
  axes.set_xlim(-sides, len(rates) - 1 + sides)
  axes.margins(y=0.12)
  axes.set_title(
    f"Files: {numbers.percent(sheet['clipped_share'])} of samples clipped; "
    f"{len(sheet['skipped']):,} of {sheet['files']:,} skipped, "
    f"{len(sheet['damaged']):,} damaged"
  )
  axes.set_xlabel("sample rate of the file / kHz")
  axes.set_ylabel("audio / hours")


def _most(rates: Mapping[str, float]) -> dict[str, float]:
  """Returns the rates with the most hours, and '' for all others."""
  kept = sorted(rates, key=rates.get, reverse=True)[:_RATES_SHOWN]
  shown = {rate: hours for rate, hours in rates.items() if rate in kept}
  others = sum(rates.values()) - sum(shown.values())
  return shown | {"": others} if len(rates) > len(kept) else shown


def _draw_histogram(axes, histograms: Mapping[str, Any], scale: float) -> None:
  """Stacks the splits' histograms of records."""
  bottom = 0
  for split, histogram in histograms.items():
    counts, edges = (np.asarray(histogram[k]) for k in ("counts", "edges"))
    if counts.any():
      axes.bar(
        edges[:-1] * scale,
        counts,
        width=np.diff(edges) * scale,
        bottom=bottom,
        align="edge",
        color=_COLOURS[split],
        edgecolor="white",
        linewidth=0.5,
        label=split,
      )
    bottom = bottom + counts
  axes.set_ylabel("records")
  axes.legend(frameon=False, fontsize=9)


def _title(sheet: Mapping[str, Any]) -> str:
  splits = sheet["splits"].values()
  hours = sum(values["hours"] for values in splits)
  groups = sum(values["groups"] for values in splits)
  name = sheet.get("title") or sheet["dataset"]
  return (
    f"{name} ({sheet['kind']}): {_hours(hours)}, {groups:,} groups, "
    f"{sheet['sample_rate_hz'] / 1000:g} kHz\n"
    f"licence: {_short(sheet.get('licence') or 'not stated')}"
  )


def _short(text: str, most: int = 110) -> str:
  return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _hours(hours: float) -> str:
  if hours >= 1:
    return f"{hours:,.1f} h"
  return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.1f} s"


def _histogram(values: Sequence[float], edges: np.ndarray) -> dict[str, list]:
  """Counts values; those beyond an end are in the bin at that end."""
  inside = np.clip(values, edges[0], edges[-1])
  counts, _ = np.histogram(inside, edges)
  return {"edges": edges.tolist(), "counts": counts.tolist()}
