"""Formats the part of a preflight's report that only GPUs have."""

from soundstream_jax.launch.preflight import gpu_calls, lowered_work

# Kernels listed one by one, the longest first.
LONGEST = 6
# As the program has them, and as the compiler has; some kinds are of one alone.
KINDS = dict.fromkeys((*lowered_work.KINDS[::-1], *gpu_calls.KINDS[::-1]))


def lines(report: dict, *, audio_seconds: float) -> list[tuple[str, str]]:
  """Returns (quantity, value) of each line."""
  return [
    *_wires(report),
    *_products(report),
    *_convolutions(report["convolutions"]),
    *_kernels(report),
    *_roofline(report, audio_seconds),
  ]


def notes(report: dict) -> str:
  """Returns how far to trust a report, the same for every program."""
  limit, total = report["memory_limit"], report["gpu"]["memory_bytes"]
  parts = {
    "memory": [
      f"{limit / 2**30:.2f} of {total / 2**30:.2f} GiB are what jax takes "
      "(XLA_CLIENT_MEM_FRACTION, 0.75 by default), or what CUDA and NCCL leave",
      "the reserve for cuDNN is a guess",
    ],
    "not faster than, if": report["roofline"]["assumptions"],
    "sound without a GPU": report["sound"],
    "not known without one": report["not_known"],
  }
  return "\n".join(
    "\n".join([f"{title}:", *(f"  * {line}" for line in lines)])
    for title, lines in parts.items()
  )


def launches(report: dict) -> int:
  """Of one run of a program; 0 in a report that is of no GPU."""
  return sum(row["launches"] for row in report.get("kernels", {}).values())


def bound_seconds(report: dict) -> float | None:
  """What the roofline says; None in a report that is of no GPU."""
  return report.get("roofline", {}).get("seconds", {}).get("total")


def memory(report: dict) -> list[tuple[str, str]]:
  """Returns the line that says how much is in use at once."""
  peak = report["peak_bytes"] / 2**30
  return [("  at once", f"{peak:.2f} GiB at most, without the reserve")]


def _wires(report) -> list:
  gpu, seconds = report["gpu"], report["collective_seconds"]
  if not seconds["nvlink"]:
    return []
  text = f"{_ms(seconds['nvlink'])} at {gpu['nvlink_bytes'] / 1e9:.0f} GB/s"
  if seconds["network"]:
    text += (
      f"; across hosts {_ms(seconds['network'])} at "
      f"{gpu['network_bytes'] / 1e9:.0f} GB/s a GPU"
    )
  return [("  by NVLink", text)]


def _products(report) -> list:
  executed, useful = report["product_flops"], report["useful_flops"]
  ratio = f", {executed / useful:.2f} times" if useful else ""
  hidden = report["useful_flops_hide"]
  without = (
    f", without {hidden} functions that split themselves over devices"
    if hidden
    else ""
  )
  return [
    (
      "products, executed",
      f"{_tera(executed)} per device{ratio} the useful {_tera(useful)}{without}",
    ),
    *(
      (
        f"  {part.replace('_', ' ')}",
        f"{_tera(row['product_flops'])}, useful {_tera(row['useful_flops'])}; "
        f"all of it {row['bytes'] / 1e9:.2f} GB",
      )
      for part, row in report["parts"].items()
      if row["bytes"]
    ),
  ]


def _convolutions(found) -> list:
  written, compiled = found["written"], found["compiled"]
  rows = [
    ("convolutions", "written: number, useful    compiled: calls, executed")
  ]
  for kind in KINDS:
    cells = ["", ""]
    if row := written.get(kind):
      cells[0] = _cell(row["convolutions"], row["flops"])
    if row := compiled.get(kind):
      cells[1] = _cell(row["calls"], row["flops"])
      if row["flops_without_zeros"] < row["flops"]:
        cells[1] += f", {_tera(row['flops_without_zeros'])} without its zeros"
    rows.append((f"  {kind.replace('_', ' ')}", f"{cells[0]:27}{cells[1]}"))
  product = compiled["product"]
  rows.append(
    ("  products", f"{'':27}{product['calls']:5d}  {_tera(product['flops'])}")
  )
  return rows


def _cell(number: int, flops: float) -> str:
  return f"{number:5d}  {_tera(flops)}" if number else f"{0:5d}"


def _kernels(report) -> list:
  kinds = report["kernels"]
  total = launches(report)
  small = sum(row["small"] for row in kinds.values())
  rows = [("launches", f"{total}, {small} of them under 1 MB")]
  for kind, row in kinds.items():
    if row["kernels"]:
      rows.append(
        (
          f"  {kind}",
          f"{row['launches']} of {row['kernels']} kernels, {row['small']} "
          "under 1 MB",
        )
      )
  calls = ", ".join(
    f"{n} {name}" for name, n in report["library_calls"].items()
  )
  return [*rows, ("  of products", calls)]


def _roofline(report, audio_seconds) -> list:
  roofline = report["roofline"]
  seconds = roofline["seconds"]
  branches = roofline["seconds_with_branches"]
  more = ""
  if branches > seconds["total"]:
    more = f" (with all branches, as in logged steps, {_ms(branches)})"
  rows = [
    (
      "not faster than",
      f"{_ms(seconds['total'])}{more}, {audio_seconds / seconds['total']:.0f} s "
      "of audio per second; see below",
    ),
    (
      "  each alone",
      f"arithmetic {_ms(seconds['arithmetic'])}, by tiles "
      f"{_ms(seconds['tiles'])}; bytes {_ms(seconds['bytes'])}; launches "
      f"{_ms(seconds['launches'])}; collectives "
      f"{_ms(seconds['collectives'])}",
    ),
  ]
  for one in roofline["longest"][:LONGEST]:
    rows.append(
      (
        f"    {_ms(one['seconds'])}",
        f"{one['launches']} x {one['what']}  {one['op_name'][:90]}",
      )
    )
  return rows


def _tera(flops: float) -> str:
  if not flops:
    return "0"
  if flops < 1e9:
    return f"{flops / 1e9:.4f} GFLOP"
  if flops < 1e11:
    return f"{flops / 1e9:.2f} GFLOP"
  return f"{flops / 1e12:.3f} TFLOP"


def _ms(seconds: float) -> str:
  return f"{1e3 * seconds:.2f} ms"
