"""Collectives of a compiled program and their bytes, parsed from its HLO text.

A collective inside a loop counts once per iteration. The expressions below match the text of the pinned XLA version;
tests/costs/test_collectives.py fails if another version writes it differently.
"""

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from gen.sharding.state_bytes import ring_bytes

# HLO's names of the operations that move data between devices (XLA's operation semantics).
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# Bytes of a number by HLO's name of its type. A new type counts as 4, see `_collective`.
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4,
          "f64": 8, "s64": 8, "u64": 8, "c64": 8}  # fmt: skip
_COMPUTATION = re.compile(r"^(ENTRY\s+)?%?([\w.\-]+)\s*\(.*\)\s*->\s*.*\{\s*$")
# Asynchronous collectives are two operations, -start and -done. Only the first is counted.
_OPERATION = re.compile(rf"=\s*(.*?)\s({'|'.join(KINDS)})(-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
# What an operation calls: loops have body and condition, conditionals have branches, calls have to_apply.
_CALLED = re.compile(r"(?:to_apply|body|true_computation|false_computation|calls)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
# Groups run along some axes of a mesh, or along a part of one: 'axis_0':(2)4 is a group of four devices.
_MESH = re.compile(
  r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\[[^\]]*\](?:T\([^)]*\))?\))?\s*\{([^}]*)\}"
)
# XLA states this for loops whose bounds it has derived, such as a scan's.
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Collective(NamedTuple):
  """One collective of a program.

  Attributes:
    kind: one of KINDS.
    shapes: shapes of its results, such as f32[16,32].
    parts: number of devices in a group.
    times: executions per step; a loop of unknown length counts once.
    bytes: total bytes that each device sends per step, in a ring.
  """

  kind: str
  shapes: tuple[str, ...]
  parts: int
  times: int
  bytes: float


def loops_are_known(text: str) -> bool:
  """Returns whether a program of a step states the length of each loop around a collective, so that all are counted.

  Loops of the entry computation are excluded, because they run over steps and the unit is one step.
  """
  computations, entry = _computations(text)
  inside = _inside(computations)
  lines = (line for name, lines in computations.items() if name != entry for line in lines)
  unknown = (line for line in lines if " while(" in line and not _TRIPS.search(line))
  return not any(inside(called) for line in unknown for called in _calls(line))


def collectives_of_program(text: str) -> list[Collective]:
  """Returns the collectives of a compiled program, from `compiled.as_text()`."""
  computations, entry = _computations(text)
  return list(_inside(computations)(entry))


def _inside(computations: Mapping[str, list[str]]) -> Callable[[str], tuple[Collective, ...]]:
  """Returns a function from a computation's name to its collectives, including those of the computations it calls."""

  # Cached by name: a computation that two operations call is parsed once.
  @functools.cache
  def inside(name: str) -> tuple[Collective, ...]:
    collectives: list[Collective] = []
    for line in computations.get(name, ()):
      collectives.extend(_collective(line))
      trips = int(match[1]) if " while(" in line and (match := _TRIPS.search(line)) else 1
      for called in _calls(line):
        collectives.extend(
          each._replace(times=each.times * trips, bytes=each.bytes * trips) for each in inside(called)
        )
    return tuple(collectives)

  return inside


def by_kind(collectives: list[Collective]) -> dict[str, float]:
  """Returns the bytes that each device sends, by kind; only kinds that occur."""
  totals = {kind: sum(each.bytes for each in collectives if each.kind == kind) for kind in KINDS}
  return {kind: total for kind, total in totals.items() if total}


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
  """Returns the lines of each computation, and the name of the entry computation."""
  computations: dict[str, list[str]] = {}
  entry = name = ""
  for line in text.splitlines():
    header = _COMPUTATION.match(line)
    if header:
      name = header[2]
      computations[name] = []
      entry = name if header[1] else entry
    elif name:
      computations[name].append(line)
  return computations, entry


def _calls(line: str) -> Iterator[str]:
  if _OPERATION.search(line) or " fusion(" in line or " reduce(" in line:
    return  # The computations that these apply hold no collective.
  yield from _CALLED.findall(line)
  for branches in _BRANCHES.findall(line):
    yield from (name.strip().lstrip("%") for name in branches.split(","))


def _collective(line: str) -> Iterator[Collective]:
  match = _OPERATION.search(line)
  if not match:
    return
  result, kind, started = match.groups()
  arrays = _ARRAY.findall(result)
  if started and kind != "all-reduce" and len(arrays) > 1:
    arrays = arrays[len(arrays) // 2 :]  # (operands, results); all-reduce-start lists its results only
  parts = _group_size(line)
  size = sum(_BYTES.get(dtype, 4) * _count(shape) for dtype, shape in arrays)
  # A permute sends its operand to one other device, whatever the size of the group.
  if kind == "collective-permute":
    sent = float(size)
  else:
    # The ring's formula takes the complete tensor; a reduce-scatter's result is only a device's part of it.
    sent = ring_bytes(kind, size * parts if kind == "reduce-scatter" else size, parts)
  yield Collective(kind, tuple(f"{dtype}[{shape}]" for dtype, shape in arrays), parts, 1, sent)


def _count(shape: str) -> int:
  return math.prod(int(size) for size in shape.split(",") if size)


def _group_size(line: str) -> int:
  """Returns the number of devices of a group, from any of HLO's three notations of replica groups."""
  meshed = _MESH.search(line)
  if meshed:
    sizes = dict(re.findall(r"'([^']+)'=(\d+)", meshed[1]))
    axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", meshed[2])
    return math.prod(int(part or sizes[axis]) for axis, part in axes)
  listed = re.search(r"replica_groups=\{\{([\d,]*)\}", line)
  # Every group has as many devices as the first: {{0,1},{2,3}}.
  if listed:
    return len(listed[1].split(","))
  # Iota notation: [groups, devices of a group]<=[...].
  counted = re.search(r"replica_groups=\[\d+,(\d+)\]", line)
  return int(counted[1]) if counted else 1
