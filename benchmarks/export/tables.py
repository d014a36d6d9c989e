"""The tables of the results, in Markdown, and what they are to be read with."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.export import opening

# Google's figures for Lyra V2: https://opensource.googleblog.com/2022/09/
# lyra-v2-a-better-faster-and-more-versatile-speech-codec.html
LYRA_FACTOR = 35
LYRA = (
  "Lyra V2 publishes 0.57 ms to encode and decode a frame of 20 ms on a Pixel 6 "
  f"Pro, {LYRA_FACTOR} times real time, at 16 kHz and 50 frames a second."
)
_NO_NOISE_DB = 999.0


def parity(entries: Sequence[Mapping[str, Any]]) -> str:
  """Returns how near each runtime is to jax."""
  lines = [
    "| model | runtime | codes | different (excused) | largest difference of a "
    "sample | SNR, dB | |",
    "|---|---|---|---|---|---|---|",
  ]
  for entry in entries:
    row = entry["parity"]
    verdict = "exact" if row["passes"] else "FAILED"
    if row["lossy"]:
      verdict = f"lossy, {row['different'] / row['codes']:.1%}"
    snr = f"{row['snr_db']:.1f}"
    snr = "same bits" if row["snr_db"] == _NO_NOISE_DB else snr
    lines.append(
      f"| {entry['model']} | {entry['name']} {row['version']} "
      f"| {row['codes']:,} | {row['different']:,} ({row['excused']:,}) "
      f"| {row['audio']:.1e} | {snr} | {verdict} |"
    )
  lines += [
    f"\n{entry['name']} of {entry['model']} differs at (way, frame, first layer) "
    + ", ".join(f"({', '.join(map(str, at))})" for at in row["frames"])
    + "."
    for entry in entries
    for row in (entry["parity"],)
    if row["frames"] and not row["lossy"]
  ]
  return "\n".join(lines)


def speed(entries: Sequence[Mapping[str, Any]]) -> str:
  """Returns sizes and times, of one thread."""
  lines = [
    "| model | runtime | MB: encode, decode | ready, s | ms per frame: encode, "
    "decode (both, times real time) | of jax's speed | ms per 8 frames | whole "
    "files, times real time |",
    "|---|---|---|---|---|---|---|---|",
  ]
  for entry in entries:
    figures = [
      entry["model"],
      entry["name"],
      _megabytes(entry),
      f"{entry['open_s']:.2f} + {entry['first_s']:.2f}",
      _blocks(entry, 1, factor=True),
      _beside(entry),
      _blocks(entry, 8),
      _whole(entry),
    ]
    lines.append(f"| {' | '.join(figures)} |")
  return "\n".join(lines)


def lyra(entries: Sequence[Mapping[str, Any]]) -> str:
  """Returns Lyra's figures, and how far each model's fastest runtime is."""
  best = {}
  for entry in sorted(entries, key=lambda entry: _factor(entry, 1)):
    if _factor(entry, 1):
      best[entry["model"]] = entry
  if not best:
    return LYRA
  each = "; ".join(
    f"{name} x{_factor(entry, 1):.1f} ({entry['name']}, "
    f"{entry['model_bytes'] / 1e6:.0f} MB of weights and codebooks)"
    for name, entry in sorted(best.items(), key=lambda item: _channels(item[0]))
  )
  rate_hz = 1 / next(iter(best.values()))["frame_s"]
  return (
    f"{LYRA} Here, frame by frame and both ways, on one thread of a server's "
    f"processor: {each}. That is no claim to match Lyra: a phone's cores are "
    "slower and nothing was measured on one, a frame reads nearly all of those "
    f"bytes, and there are {rate_hz:g} frames a second, {rate_hz / 50:.1f} times "
    "Lyra's.\n"
  )


def conditions(entries: Sequence[Mapping[str, Any]]) -> str:
  """Returns when and where, and what ran beside."""
  dates = sorted({entry["date"] for entry in entries})
  loads = sorted(entry["load"] for entry in entries)
  return (
    f"{' and '.join(dict.fromkeys((dates[0], dates[-1])))}; "
    f"{', '.join(sorted({entry['processor'] for entry in entries}))}, one "
    f"thread; load {loads[0]:.1f} to {loads[-1]:.1f}; "
    f"{', '.join(sorted({e['sound_s'] for e in entries}))} of sound; medians "
    "over turns of the processor's time."
  )


def _megabytes(entry: Mapping[str, Any]) -> str:
  sides = entry["side_bytes"] or [sum(entry["sizes"].values())]
  return " + ".join(f"{size / 1e6:.1f}" for size in sides)


def _both(entry: Mapping[str, Any], length: int) -> tuple[float, float] | None:
  """Returns seconds of a block to encode and decode, None without streams."""
  times = entry.get("speed", {})
  if f"encode {length}" not in times:
    return None
  return times[f"encode {length}"], times[f"decode {length}"]


def _factor(entry: Mapping[str, Any], length: int) -> float:
  times = _both(entry, length)
  return length * entry["frame_s"] / sum(times) if times else 0.0


def _blocks(
  entry: Mapping[str, Any], length: int, *, factor: bool = False
) -> str:
  times = _both(entry, length)
  if not times:
    return "no streams"
  text = f"{1e3 * times[0]:.2f}, {1e3 * times[1]:.2f}"
  return f"{text} (x{_factor(entry, length):.1f})" if factor else text


def _beside(entry: Mapping[str, Any]) -> str:
  """Returns how fast a runtime is beside jax in the same turns."""
  times, other = _both(entry, 1), entry.get("speed", {}).get("jax, both")
  if entry["name"] == opening.OWN or not times or not other:
    return ""
  return f"{other / sum(times):.2f}"


def _whole(entry: Mapping[str, Any]) -> str:
  times = entry.get("speed", {})
  if "encode" not in times:
    return ""
  return ", ".join(
    f"x{entry['whole_s'] / times[side]:.1f}" for side in ("encode", "decode")
  )


def _channels(model: str) -> tuple[int, str]:
  """Sorts C=8 before C=16."""
  digits = model.partition("=")[2].partition(",")[0]
  return (int(digits) if digits.isdigit() else 0, model)
