"""Layouts of the training state: tables of the mesh axes that split each tensor, and the function that applies them.

A layout is data parallel (DDP) or one of the stages of ZeRO (arXiv:1910.02054) over the axis data, times fully sharded
data parallelism over fsdp, times tensor parallelism (arXiv:1909.08053) over tensor; each axis may be absent.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gen.config import Run
from gen.sharding.mesh import build_mesh

# Logical axes with tensor parallelism: a product's columns or rows, the heads of attention.
TENSOR = ("vocab", "heads", "kv_heads", "mlp")
# Logical axes that are sharded in storage only and gathered for use: the first that divides is split.
STORED = ("embed", "norm", "head", "mlp", "vocab", "positions", "heads", "kv_heads")


class ZeroStage(NamedTuple):
  """Parts of the state that are split over data; the others are replicated. fsdp splits all three."""

  parameters: bool
  gradients: bool
  opt_state: bool


STAGES = {
  "ddp": ZeroStage(False, False, False),
  "zero1": ZeroStage(False, False, True),
  "zero2": ZeroStage(False, True, True),
  "zero3": ZeroStage(True, True, True),
}


class UndividedAxis(NamedTuple):
  """A dimension that is not split because it does not divide."""

  axis: str  # logical
  size: int
  over: str  # axes of the mesh, with their sizes
  left: int  # of size, on a device: other axes may have split it before


def split_tensor(
  names: Iterable[str | None], shape: tuple[int, ...], sizes: Mapping[str, int], over: tuple[str, ...]
) -> tuple[PartitionSpec, tuple[UndividedAxis, ...]]:
  """Returns the split of one tensor, and the dimensions that stay undivided because they do not divide.

  >>> tuple(split_tensor(("heads", "head", "embed"), (4, 8, 32), {"fsdp": 2, "tensor": 2}, ("fsdp",))[0])
  ('tensor', None, 'fsdp')
  >>> split_tensor(("vocab",), (257,), {"data": 2}, ("data",))[1]
  (UndividedAxis(axis='vocab', size=257, over='data=2', left=257),)

  Args:
    names: logical name of each axis.
    shape: its sizes.
    sizes: devices along each axis of the mesh.
    over: mesh axes over which the tensor is sharded in storage.
  """
  names = tuple(names)
  left, where, whole = list(shape), [()] * len(shape), []  # type: list[int], list[tuple[str, ...]], list[UndividedAxis]

  def put(index: int, axes: tuple[str, ...]) -> bool:
    count = math.prod(sizes[axis] for axis in axes)
    if left[index] % count:
      wanted = ",".join(f"{axis}={sizes[axis]}" for axis in axes)
      whole.append(UndividedAxis(str(names[index]), shape[index], wanted, left[index]))
      return False
    left[index] //= count
    where[index] = (*where[index], *axes)
    return True

  def first(axes: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    order = sorted((wanted.index(name), index) for index, name in enumerate(names) if name in wanted)
    return any(put(index, axes) for _, index in order)

  over = tuple(axis for axis in over if sizes.get(axis, 1) > 1)
  if sizes.get("tensor", 1) > 1 and not first(("tensor",), TENSOR) and len(set(names) - {"layers"}) > 1:
    over = (
      "tensor",
      *over,
    )  # A table without tensor parallelism, such as of positions, is still sharded in storage over that axis.
  if over and not first(over, STORED) and len(over) > 1:
    for axis in over:
      first((axis,), STORED)
  spec = PartitionSpec(*((axes[0] if len(axes) == 1 else axes) if axes else None for axes in where))
  return spec, tuple(dict.fromkeys(whole))


@dataclasses.dataclass(frozen=True)
class ShardingLayout:
  """A mesh, and the parts of the state that are split over it.

  Attributes:
    mesh: the devices.
    name: ddp | zero1 | zero2 | zero3.
  """

  mesh: Mesh
  name: str = "ddp"

  @property
  def stage(self) -> ZeroStage:
    """What is split over data."""
    return STAGES[self.name]

  @functools.cached_property
  def sizes(self) -> dict[str, int]:
    """Devices along each axis."""
    return dict(self.mesh.shape)

  def over(self, part: str) -> tuple[str, ...]:
    """Returns the mesh axes that shard parameters, gradients or optimizer state.

    data comes last, so that a device's part over both axes lies inside its part over fsdp.
    """
    return ("fsdp", "data") if getattr(self.stage, part) else ("fsdp",)

  def specs(self, axes: Any, shapes: Any, part: str) -> Any:
    """Returns a tree of PartitionSpecs.

    Args:
      axes: tree of the parameters' logical axes, each a PartitionSpec of names.
      shapes: the same tree of what has a shape.
      part: parameters | gradients | opt_state.
    """
    over = self.over(part)
    return jax.tree.map(
      lambda names, leaf: split_tensor(_filled(names, leaf), leaf.shape, self.sizes, over)[0], axes, shapes,
      is_leaf=_is_names,
    )  # fmt: skip

  def whole(self, axes: Any, shapes: Any) -> dict[UndividedAxis, list[str]]:
    """Returns the dimensions that do not divide, and the parameters in which they stay undivided."""
    found: dict[UndividedAxis, list[str]] = {}
    leaves = jax.tree_util.tree_leaves_with_path(axes, is_leaf=_is_names)
    for (path, names), leaf in zip(leaves, jax.tree.leaves(shapes), strict=True):
      for each in split_tensor(_filled(names, leaf), leaf.shape, self.sizes, self.over("opt_state"))[1]:
        found.setdefault(each, []).append(jax.tree_util.keystr(path, simple=True, separator="/"))
    return found

  def shardings(self, specs: Any) -> Any:
    """Returns a tree of PartitionSpecs as shardings on the mesh."""
    return jax.tree.map(
      lambda spec: NamedSharding(self.mesh, spec), specs, is_leaf=lambda x: isinstance(x, PartitionSpec)
    )

  def rows(self, axis: int = 0) -> NamedSharding:
    """Returns the sharding of arrays with a batch's rows along one axis; the other axes are undivided."""
    over = tuple(name for name in ("data", "fsdp") if name in self.sizes)
    return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, over or None))

  @property
  def everywhere(self) -> NamedSharding:
    """The replicated sharding: every device holds the entire array."""
    return NamedSharding(self.mesh, PartitionSpec())


def layout_of_run(run: Run, devices: Any = None) -> ShardingLayout | None:
  """Returns the layout of a run, or None where it has no mesh.

  Raises:
    UserError: if the mesh does not multiply to the devices.
  """
  return ShardingLayout(build_mesh(run.mesh, devices), run.layout) if run.mesh else None


def undivided_sentences(whole: Mapping[UndividedAxis, list[str]]) -> list[str]:
  """Returns a sentence for each dimension that does not divide."""
  return [
    f"{each.axis} of size {each.size}{_share(each)} does not divide by {each.over} and is kept whole in "
    f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
    + (f"; --config.model.vocab={_padded(each)} would pad it" if each.axis == "vocab" else "")
    for each, names in whole.items()
  ]


def _share(each: UndividedAxis) -> str:
  return "" if each.left == each.size else f" ({each.left} a device over the mesh's other axes)"


def _padded(each: UndividedAxis) -> int:
  """Returns the next size that divides."""
  count = math.prod(int(part.partition("=")[2]) for part in each.over.split(","))
  count *= each.size // each.left
  return -(-each.size // count) * count


def _is_names(x: Any) -> bool:
  return isinstance(x, PartitionSpec)


def _filled(names: PartitionSpec, leaf: Any) -> tuple[str | None, ...]:
  """Returns a name, or None, for each of the leaf's axes."""
  return (*names, *[None] * (len(leaf.shape) - len(names)))
