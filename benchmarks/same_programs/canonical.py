"""StableHLO text without names: equal for programs that are equal.

Private functions, values and the module are named by order of use, functions
with the same body are one, and what says only where a value came from in Python
(`jax.result_info`) is left out. `graph` goes further: it sees neither the order
of operations that do not depend on each other, nor which function they are in, nor
moves that change nothing.
"""

import collections
import hashlib
import re

_TEXT = r'jax\.(?:result_info|arg_info) = "(?:[^"\\]|\\.)*"'
_ONLY_LABEL = re.compile(rf" \{{{_TEXT}\}}")
_LABEL = re.compile(rf"{_TEXT}(?:, )?")
# Where this process keeps a function of Python that partitions an operation.
_ADDRESS = re.compile(r'(?<=backend_config = )"\d{9,}"')
_FUNCTION = re.compile(r'  func\.func \w+ @("[^"]*"|[\w.$-]+)')
_SYMBOL = re.compile(r'(custom_call )?@("[^"]*"|[\w.$-]+)')
_VALUE = re.compile(r"%[\w$.-]+")
_OPERATION = re.compile(r"\s*(?:%\S+ = )?\"?(\w+\.\w+)")
_CALL = re.compile(r"(?:func\.)?call @")
_STATEMENT = re.compile(r'    (?:[%"]|[a-z][\w.]*\b(?! \{))')
_RESULT = re.compile(r"(%[\w$.-]+)(?::(\d+))? = (.*)", re.DOTALL)
_MOVE = re.compile(
  r"stablehlo\.(reshape|pad|slice|broadcast_in_dim|reduce)\b.*"
  r" : \((tensor<[^>]*>)(?:, tensor<[^>]*>)*\) -> (tensor<[^>]*>)$"
)
_RESULT_TYPE = re.compile(r"(tensor<[^>]*>)$")
_ARGUMENT_TYPE = re.compile(r"%[\w$.-]+: (tensor<[^>]*>)")
_OPERAND = re.compile(r"%[\w$.-]+(?:#\d+)?")


def text(program: str) -> str:
  """Returns the canonical text of `lowered.as_text()`, or of such a text."""
  header, functions = _split(program)
  keys: dict[str, str] = {}
  for name in functions:
    _key(name, functions, keys)
  # Numbered as they are first used, from @main on; what nobody calls is gone.
  numbers, waiting, bodies = {keys["main"]: "main"}, ["main"], []
  while waiting:
    name = waiting.pop(0)

    def rename(symbol: str) -> str:
      if keys[symbol] not in numbers:
        numbers[keys[symbol]] = f"f{len(numbers) - 1}"
        waiting.append(symbol)
      return numbers[keys[symbol]]

    bodies.append(_renamed(functions[name], rename, functions))
  return "\n".join([*header, *bodies, "}"]) + "\n"


def operations(program: str) -> collections.Counter[str]:
  """Counts operations, those of a function as often as it is called."""
  _, functions = _split(program)
  kept: dict[str, collections.Counter[str]] = {}

  def count(name: str) -> collections.Counter[str]:
    if name not in kept:
      total: collections.Counter[str] = collections.Counter()
      for line in functions[name].split("\n")[1:]:
        if _CALL.search(line):
          for _, symbol in _SYMBOL.findall(line):
            total.update(count(symbol) if symbol in functions else ())
        elif found := _OPERATION.match(line):
          total[found[1]] += 1
      kept[name] = total
    return kept[name]

  return count("main")


def graph(program: str) -> str:
  """Returns a hash of what is computed: calls inlined, order left out."""
  _, functions = _split(program)
  keys: dict[str, str] = {}
  for name in functions:
    _key(name, functions, keys)
  statements = {name: _statements(body) for name, body in functions.items()}
  kept: dict[tuple, tuple[str, ...]] = {}
  effects: list[str] = []  # of operations without a result
  shapes: dict[str, str] = {}  # the type of a value, by its hash

  def results(name: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Returns a hash for each result of a function."""
    if (name, arguments) not in kept:
      head, *lines, last = statements[name]
      values = dict(zip(_arguments(head), arguments, strict=True))
      for line in lines:
        made = _RESULT.match(line)
        body = made[3] if made else line
        if call := _called(body, functions):
          parts = results(call, _used(body, values))
        elif passed_on := _passed_on(body, values, shapes):
          parts = (passed_on,)
        else:
          whole = _hash(_closed(body, values, keys))
          count = int(made[2] or 1) if made else 0
          effects.extend([] if made else [whole])
          parts = tuple(f"{whole} {k}" for k in range(count))
        if len(parts) == 1 and (shape := _RESULT_TYPE.search(body)):
          shapes.setdefault(parts[0], shape[1])
        for k, part in enumerate(parts):
          values[f"{made[1]}#{k}" if made[2] else made[1]] = part
      kept[name, arguments] = _used(last, values)
    return kept[name, arguments]

  head = statements["main"][0]
  inputs = [f"argument {k}" for k in range(len(_arguments(head)))]
  shapes.update(zip(inputs, _ARGUMENT_TYPE.findall(head), strict=True))
  outputs = results("main", tuple(inputs))
  return _hash("\n".join([_renamed(head, str, functions), *outputs, *effects]))


def _passed_on(
  body: str, values: dict[str, str], shapes: dict[str, str]
) -> str | None:
  """Returns the hash of a value that a statement only passes on, or None.

  Padding by nothing, a slice of everything and a broadcast to the same type pass
  on their operand. A chain of reshapes is one, from its first value to its last
  type, and none where that is the first's; a sum over axes of length 1 is one.
  """
  found = _MOVE.match(body)
  if not found:
    return None
  operation, before, after = found.groups()
  source = values[_OPERAND.search(body)[0]]
  if operation == "reduce":
    axes = re.search(r"dimensions = \[(.*?)\]", body)
    lengths = re.findall(r"(\d+)x", before)
    if "applies stablehlo.add" not in body or any(
      lengths[int(axis)] != "1" for axis in re.findall(r"\d+", axes[1])
    ):
      return None
  if operation in ("reduce", "reshape"):
    origin = source.partition(" reshaped ")[0]
    same = shapes.get(origin) == after
    return origin if same else f"{origin} reshaped {after}"
  widths = body[: body.index(" : ")].partition("low = ")[2]
  if operation == "pad" and re.search(r"[1-9]", widths):
    return None
  return source if before == after else None


def _split(program: str) -> tuple[list[str], dict[str, str]]:
  """Returns what stands before the functions, and the functions by name."""
  program = _ONLY_LABEL.sub("", program)
  program = _LABEL.sub("", program).replace(", }", "}")
  program = _ADDRESS.sub('"address"', program)
  header, functions, name = [], {}, None
  for line in program.rstrip().removesuffix("}").rstrip().split("\n"):
    if found := _FUNCTION.match(line):
      name = found[1]
      functions[name] = [line]
    elif name is None:
      header.append(re.sub(r"^module @[\w.$-]+", "module @m", line))
    else:
      functions[name].append(line)
      name = None if line == "  }" else name
  return header, {name: "\n".join(body) for name, body in functions.items()}


def _key(name: str, functions: dict, keys: dict) -> str:
  """Returns a hash of a function and of all that it calls."""
  if name not in keys:
    keys[name] = _hash(
      _renamed(
        functions[name],
        lambda s: "self" if s == name else _key(s, functions, keys),
        functions,
      )
    )
  return keys[name]


def _renamed(body: str, rename, functions: dict) -> str:
  """Returns a function's text with values numbered and functions renamed."""

  def symbol(found: re.Match) -> str:
    if found[1] or found[2] not in functions:
      return found[0]
    return f"@{rename(found[2])}"

  numbers: dict[str, str] = {}

  def value(found: re.Match) -> str:
    return numbers.setdefault(found[0], f"%{len(numbers)}")

  return _VALUE.sub(value, _SYMBOL.sub(symbol, body))


def _statements(body: str) -> list[str]:
  """Splits a function into its head and statements with their regions."""
  head, *lines = body.split("\n")
  found = [head]
  for line in lines[:-1]:
    # A region's lines lie deeper, or begin with what opens or closes one.
    if _STATEMENT.match(line):
      found.append(line.strip())
    else:
      found[-1] += "\n" + line
  return found


def _arguments(head: str) -> list[str]:
  return _VALUE.findall(head)


def _used(body: str, values: dict[str, str]) -> tuple[str, ...]:
  return tuple(values[used] for used in _OPERAND.findall(body))


def _called(body: str, functions: dict) -> str | None:
  """Returns the name of the function that a statement calls."""
  if not _CALL.match(body):
    return None
  name = _SYMBOL.search(body)[2]
  return name if name in functions else None


def _closed(body: str, values: dict[str, str], keys: dict[str, str]) -> str:
  """Returns a statement with hashes for what it uses of its function."""
  local: dict[str, str] = {}

  def value(found: re.Match) -> str:
    if found[0] in values:
      return f"<{values[found[0]]}>"
    name, mark, index = found[0].partition("#")
    return local.setdefault(name, f"%{len(local)}") + mark + index

  def symbol(found: re.Match) -> str:
    named = not found[1] and found[2] in keys
    return f"@{keys[found[2]]}" if named else found[0]

  return _SYMBOL.sub(symbol, _OPERAND.sub(value, body))


def _hash(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()
