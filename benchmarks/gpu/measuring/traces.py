"""Where the time of some steps goes: a trace, reduced to tables.

A trace has kernels with the names of the instructions that they compute. The
compiled program's text says of each instruction which layer wrote it and what
kind it is. What the text does not know is told by the kernel's own name.
"""

import collections
import dataclasses
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import jax

# Shorter ones lie between any two kernels.
LEAST_GAP_US = 5.0
TOP = 20
MOST_GAPS = 10

_INSTRUCTION = re.compile(
  r"^\s+(?:ROOT )?%?(?P<name>[^\s=]+) = .*?(?<=[\s)}])(?P<opcode>[a-z][a-z0-9-]*)\(",
)
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[^\s(]+) .*\{\s*$")
_CALLS = re.compile(r"\bcalls=%?([^\s,]+)")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
# These hold others, whose times would count twice.
_AROUND = {"while", "call", "conditional"}
# By the target of a call of a library.
_TARGETS = (
  ("convBackwardInput", "convolution, input's gradient"),
  ("convBackwardFilter", "convolution, kernel's gradient"),
  ("conv", "convolution, forward"),
  ("cublas", "product"),
)
# By the name of an instruction or a kernel, the first that fits.
_NAMES = (
  (r"memcpy|memset|copy", "copy"),
  (r"dgrad|wgrad|fprop|cudnn|convol|conv_", "convolution"),
  (r"gemm|cutlass|nvjet|cublas|\bdot", "product"),
  (r"all.reduce|all.gather|nccl|reduce.scatter|all.to.all", "collective"),
  (r"fft", "fft"),
  (r"reduce", "reduction"),
  (r"transpose|concat|\bpad|slice|gather|scatter|sort", "copy"),
  (r"fusion", "elementwise"),
)
_NETWORKS = re.compile(r"^(encoder|decoder|film|quantizer|stft.*|wave_\d+)$")


@dataclasses.dataclass(frozen=True)
class Kernel:
  """A kernel that ran, or another piece of a device's work."""

  name: str
  instruction: str  # of the program; '' if the trace does not say
  start_ns: float
  end_ns: float


@dataclasses.dataclass(frozen=True)
class Instruction:
  kind: str
  op_name: str
  holds_others: bool


def record(run: Callable[[], object], *, folder: str) -> pathlib.Path:
  """Runs something under the profiler; returns the file of its trace."""
  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0
  os.makedirs(folder, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=folder) as found:
    jax.profiler.start_trace(found, profiler_options=options)
    try:
      run()
    finally:
      jax.profiler.stop_trace()
    (path,) = pathlib.Path(found).rglob("*.xplane.pb")
    kept = pathlib.Path(folder) / "last.xplane.pb"
    shutil.move(path, kept)
  return kept


def read(path: pathlib.Path) -> list[Kernel]:
  """Returns the kernels of a trace file."""
  return kernels(jax.profiler.ProfileData.from_file(str(path)))


def kernels(profile: jax.profiler.ProfileData) -> list[Kernel]:
  """Returns what ran on the devices of a trace, or on the host if it has none.

  Of a GPU each stream is a line; lines that the profiler derives from them,
  such as one for each module, would count twice.
  """
  planes = list(profile.planes)
  devices = [p for p in planes if p.name.startswith("/device:GPU")]
  found = []
  for plane in devices or planes:
    lines = list(plane.lines)
    streams = [line for line in lines if line.name.startswith("Stream")]
    for line in streams or lines:
      for event in line.events:
        stats = dict(event.stats)
        instruction = str(stats.get("hlo_op", ""))
        if devices or instruction:
          found.append(
            Kernel(event.name, instruction, event.start_ns, event.end_ns)
          )
  return found


def instructions(text: str) -> dict[str, Instruction]:
  """Returns the instructions of a compiled program's text, by their names.

  One that does not say which layer wrote it, as fusions of a CPU do not, has
  the path of the last one inside that says it.
  """
  found, inside, computation = {}, {}, ""
  for line in text.splitlines():
    if head := _COMPUTATION.match(line):
      computation = head["name"]
    match = _INSTRUCTION.match(line)
    if not match:
      continue
    name, opcode = match["name"], match["opcode"]
    called = _CALLS.search(line)
    op_name = _first(_OP_NAME, line) or inside.get(called and called[1], "")
    if op_name:
      inside[computation] = op_name
    target = _first(_TARGET, line) if opcode == "custom-call" else ""
    found[name] = Instruction(
      kind=_kind(name, opcode, target, op_name),
      op_name=op_name,
      holds_others=opcode in _AROUND,
    )
  return found


def _first(pattern: re.Pattern, line: str) -> str:
  match = pattern.search(line)
  return match[1] if match else ""


def _kind(name: str, opcode: str, target: str, op_name: str) -> str:
  for part, kind in _TARGETS:
    if part in target:
      return kind
  if opcode == "convolution":
    return opcode
  if "triton_gemm" in name:
    return "product"
  if "ynn" in name:  # a library's, on CPUs
    return "convolution" if "conv" in op_name else "product"
  words = f"{opcode} {name}" if opcode in ("fusion", "custom-call") else opcode
  return kind_of_name(words, otherwise="elementwise")


def kind_of_name(name: str, *, otherwise: str = "other") -> str:
  """Returns what kind of work a kernel's or instruction's name speaks of."""
  for pattern, kind in _NAMES:
    if re.search(pattern, name.lower()):
      return kind
  return otherwise


def module_of(op_name: str) -> str:
  """Returns the network and the direction of an instruction's path."""
  if not op_name:
    return "unknown"
  parts = op_name.split("/")
  network = next((p for p in parts if _NETWORKS.match(p)), "")
  if not network and "jvp(" not in op_name:
    return "update and metrics"
  direction = "backward" if "transpose(" in op_name else "forward"
  return f"{network or 'losses'}, {direction}"


def reduce(
  found: Iterable[Kernel], text: str, *, steps: int, platform: str
) -> dict[str, Any]:
  """Returns the tables of a trace of some steps, in milliseconds a step.

  Args:
    found: of `kernels`.
    text: of the compiled step.
    steps: that were traced.
    platform: 'gpu' or 'cpu', for the note on what a row is.
  """
  known = instructions(text)
  # In the name of a kernel there are no points.
  by_kernel = {re.sub(r"\W", "_", name): name for name in known}
  modules, kinds, both = (collections.Counter() for _ in range(3))
  each = collections.defaultdict(list)
  spans = []
  for kernel in found:
    name = kernel.instruction
    if name not in known:
      name = by_kernel.get(re.sub(r"\W", "_", kernel.name), "")
    instruction = known.get(name)
    if instruction and instruction.holds_others:
      continue
    module = module_of(instruction.op_name if instruction else "")
    kind = instruction.kind if instruction else kind_of_name(kernel.name)
    ms = (kernel.end_ns - kernel.start_ns) / 1e6 / steps
    modules[module] += ms
    kinds[kind] += ms
    both[f"{module}: {kind}"] += ms
    path = instruction.op_name if instruction else ""
    each[(kernel.name, name, path, kind)].append(ms)
    spans.append((kernel.start_ns, kernel.end_ns, kernel.name))
  if not spans:
    raise ValueError("The trace has no kernels.")
  total = sum(modules.values())
  return {
    "traced_steps": steps,
    "platform": platform,
    "kernels_per_step": round(len(spans) / steps, 1),
    "kernels_ms": round(total, 4),
    "modules_ms": _sorted(modules),
    "kinds_ms": _sorted(kinds),
    "modules_and_kinds_ms": _sorted(both),
    "top": [
      {
        "kernel": kernel,
        "instruction": name,
        "op_name": path,
        "kind": kind,
        "calls_per_step": round(len(times) / steps, 2),
        "ms": round(sum(times), 5),
        "share": round(sum(times) / total, 4),
      }
      for (kernel, name, path, kind), times in sorted(
        each.items(), key=lambda item: -sum(item[1])
      )[:TOP]
    ],
  } | gaps(spans, steps=steps)


def gaps(
  spans: Iterable[tuple[float, float, str]], *, steps: int
) -> dict[str, Any]:
  """Returns when nothing ran, of spans (start, end, name) in nanoseconds."""
  ordered = sorted(spans)
  first, latest, before = ordered[0]
  start, found = first, []
  for begin, end, name in ordered[1:]:
    if begin > latest:
      found.append(((begin - latest) / 1e3, before, name))
    if end > latest:
      latest, before = end, name
  whole = latest - start
  idle = sum(us for us, *_ in found) * 1e3
  long = [gap for gap in found if gap[0] >= LEAST_GAP_US]
  return {
    "wall_ms": round(whole / 1e6 / steps, 4),
    "busy_share": round(1 - idle / max(whole, 1), 4),
    "idle_ms": round(idle / 1e6 / steps, 4),
    "gaps_per_step": round(len(long) / steps, 1),
    "gaps": [
      {"us": round(us, 1), "after": after, "before": name}
      for us, after, name in sorted(long, reverse=True)[:MOST_GAPS]
    ],
  }


def _sorted(counter: collections.Counter) -> dict[str, float]:
  return {name: round(ms, 4) for name, ms in counter.most_common()}
