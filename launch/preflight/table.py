"""Formats a preflight's report as text; turns cycles into seconds."""

import collections

from soundstream_jax.launch import slices
from soundstream_jax.launch.preflight import gpu_table, programs

# Collectives listed one by one, the largest first.
LARGEST = 6


def render(report: dict) -> str:
  """Returns two columns: a quantity and its value."""
  kind = report["topology"].partition(":")[0]
  chip = slices.CHIPS.get(kind)
  lines = [
    ("topology", f"{report['topology']}, {_mesh(report)}"),
    _program(report["program"]),
    ("batch", _batch(report)),
  ]
  if report["fits"] is False and "flops" not in report:
    lines.append(("fits", f"NO: {report['memory']['needed_by_the_compiler']}"))
  else:
    lines += _memory(report) + _work(report, chip) + _traffic(report)
    if "gpu" in report:
      lines += gpu_table.lines(report, audio_seconds=audio_seconds(report))
  lines.append(("compile time", f"{report['compile_seconds']:.0f} s"))
  width = max(len(name) for name, _ in lines)
  return "\n".join(
    f"{name:<{width}}  {value}".rstrip() for name, value in lines
  )


def compare(report: dict, plain: dict) -> str:
  """Returns what a report's form costs, as shares of what 'plain' costs."""
  lines = []
  for name, of in (
    ("estimated cycles", lambda r: r.get("cycles")),
    ("bytes", lambda r: r.get("bytes")),
    ("FLOPs", lambda r: r.get("flops")),
    ("temporary", lambda r: r["memory"].get("temporary")),
    ("products, executed", lambda r: r.get("product_flops")),
    ("launches", gpu_table.launches),
    ("not faster than", gpu_table.bound_seconds),
  ):
    ours, theirs = of(report), of(plain)
    if ours and theirs:
      lines.append(f"  {name:<20}{ours / theirs:.3f}")
  if plain["fits"] is False:
    lines.append("  plain does not fit")
  return "\n".join(["against the form 'plain'", *lines])


def audio_seconds(report: dict) -> float:
  """Seconds of audio in one step, over all devices."""
  samples = report["batch_size"] * report["crop_samples"]
  return samples / report["sample_rate_hz"]


def _program(name: str) -> tuple[str, str]:
  title = programs.TITLES[name]
  if title.startswith("step "):
    return "step", title.removeprefix("step ")
  return "program", title


def _mesh(report) -> str:
  devices, fsdp = report["devices"], report["fsdp"]
  return f"data {devices // fsdp} x fsdp {fsdp}"


def _batch(report) -> str:
  each = report["batch_size"] / report["devices"]
  return (
    f"{report['batch_size']}, {each:g} per device; "
    f"{audio_seconds(report):g} s of audio"
  )


def _memory(report) -> list:
  memory = report["memory"]
  total, limit = sum(memory.values()), report["memory_limit"]
  verdict = {True: "yes", False: "NO", None: "no limit known"}[report["fits"]]
  of = f" of {_size(limit)} ({100 * total / limit:.0f} %)" if limit else ""
  lines = [
    ("fits", f"{verdict}: {_size(total)} per device{of}"),
    *(
      (f"  {name.replace('_', ' ')}", _size(value))
      for name, value in memory.items()
    ),
  ]
  if "gpu" in report:
    lines += gpu_table.memory(report)
  return lines


def _work(report, chip) -> list:
  audio, devices = audio_seconds(report), report["devices"]
  once, xla = report["flops_loops_once"], report["flops_of_xla"]
  lines = [
    ("FLOPs per device", _count(report["flops"])),
    ("  per second of audio", _count(report["flops"] * devices / audio)),
    ("  loops once; XLA's count", f"{_count(once)}; {_count(xla)}"),
    ("bytes per device", _size(report["bytes"])),
    ("  per second of audio", _size(report["bytes"] * devices / audio)),
  ]
  cycles = report["cycles"]
  if cycles:
    lines += [
      ("estimated cycles", _count(cycles)),
      ("  per second of audio", _count(cycles * devices / audio)),
    ]
  if cycles and chip and chip.clock_hz:
    seconds = cycles / chip.clock_hz
    share = report["flops"] / (seconds * chip.peak_flops)
    lines += [
      (
        "  as time",
        f"{1e3 * seconds:.1f} ms at {chip.clock_hz / 1e9:g} GHz; "
        f"{audio / seconds:.0f} s of audio per second",
      ),
      (
        "  share of peak",
        f"{100 * share:.1f} % of {chip.peak_flops:.3g} FLOP/s",
      ),
    ]
  if report["uncounted"]:
    names = ", ".join(f"{n} x{c}" for n, c in report["uncounted"].items())
    lines.append(("  no FLOPs known of", names))
  return lines


def _traffic(report) -> list:
  runs, places = collections.Counter(), collections.Counter()
  for c in report["collectives"]:
    runs[c["kind"]] += c["rounds"]
    places[c["kind"]] += 1
  lines = [
    (
      "collectives",
      f"{_size(sum(report['collective_bytes'].values()))} per device; "
      f"parameters are {_size(report['parameter_bytes'])}, codebooks "
      f"{_size(report['codebook_bytes'])}",
    )
  ]
  for kind, size in sorted(report["collective_bytes"].items()):
    lines.append(
      (
        f"  {kind}",
        f"{_size(size)} in {runs[kind]} runs of {places[kind]} instructions",
      )
    )
  largest = sorted(
    report["collectives"], key=lambda c: -c["bytes"] * c["rounds"]
  )
  for c in largest[:LARGEST]:
    lines.append(
      (
        f"    {c['kind']}",
        f"{_size(c['bytes'])} x {c['rounds']}  {c['op_name'][:90]}",
      )
    )
  return lines


def _size(number: float) -> str:
  for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
    if abs(number) >= scale:
      return f"{number / scale:.2f} {unit}"
  return f"{number:.0f} B"


def _count(number: float) -> str:
  return f"{number:.3e}"
