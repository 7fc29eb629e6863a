"""Layouts of the training state: tables of the mesh axes that split each tensor, and the function that applies them.

A layout is data parallel (DDP) or one of the stages of ZeRO (arXiv:1910.02054) over the axis data, times fully sharded
data parallelism over fsdp, times tensor parallelism (arXiv:1909.08053) over tensor; each axis may be absent.

A tensor is split for computing over tensor, and for storage over fsdp and data. Code that computes only names axes
("heads", "mlp"); which mesh axis splits them is decided in this module alone.
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

# Logical axes with tensor parallelism: a product's columns or rows, the heads of attention. Of a pair of products
# (projections of attention and its output; in and out of the feed-forward) the first splits its columns and the second
# its rows: a device needs no communication between them, and one all-reduce after them (arXiv:1909.08053, section 3).
TENSOR = ("vocab", "heads", "kv_heads", "mlp")
# Logical axes that are sharded in storage only and gathered for use: the first that divides is split. "embed" is in
# every kernel, and tensor parallelism does not split it.
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
  mesh_axes: str  # that should split it, with their sizes, such as data=2
  local_size: int  # of size on one device, which other axes may have split before


def split_tensor(
  names: Iterable[str | None], shape: tuple[int, ...], sizes: Mapping[str, int], storage_axes: tuple[str, ...]
) -> tuple[PartitionSpec, tuple[UndividedAxis, ...]]:
  """Returns the split of one tensor, and the dimensions that stay undivided because they do not divide.

  >>> tuple(split_tensor(("heads", "head", "embed"), (4, 8, 32), {"fsdp": 2, "tensor": 2}, ("fsdp",))[0])
  ('tensor', None, 'fsdp')
  >>> split_tensor(("vocab",), (257,), {"data": 2}, ("data",))[1]
  (UndividedAxis(axis='vocab', size=257, mesh_axes='data=2', local_size=257),)

  Args:
    names: logical name of each axis.
    shape: its sizes.
    sizes: devices along each axis of the mesh.
    storage_axes: mesh axes over which the tensor is sharded in storage.
  """
  names = tuple(names)
  local_sizes = list(shape)
  splits: list[tuple[str, ...]] = [()] * len(shape)
  undivided: list[UndividedAxis] = []

  def split(index: int, axes: tuple[str, ...]) -> bool:
    count = math.prod(sizes[axis] for axis in axes)
    if local_sizes[index] % count:
      described = ",".join(f"{axis}={sizes[axis]}" for axis in axes)
      undivided.append(UndividedAxis(str(names[index]), shape[index], described, local_sizes[index]))
      return False
    local_sizes[index] //= count
    splits[index] = (*splits[index], *axes)
    return True

  def split_first(axes: tuple[str, ...], candidates: tuple[str, ...]) -> bool:
    """Splits the first dimension that divides, in the order of the candidates; returns whether one did."""
    order = sorted((candidates.index(name), index) for index, name in enumerate(names) if name in candidates)
    # `any` stops at the first dimension that divides, so an axis of the mesh splits one dimension at most.
    return any(split(index, axes) for _, index in order)

  storage_axes = tuple(axis for axis in storage_axes if sizes.get(axis, 1) > 1)
  if sizes.get("tensor", 1) > 1 and not split_first(("tensor",), TENSOR) and len(set(names) - {"layers"}) > 1:
    # A table without tensor parallelism, such as that of positions, is still sharded in storage over that axis.
    # Vectors, such as the scale of a norm, are not.
    storage_axes = ("tensor", *storage_axes)
  # All storage axes on one dimension need one all-gather; on different dimensions, one for each axis.
  if storage_axes and not split_first(storage_axes, STORED) and len(storage_axes) > 1:
    for axis in storage_axes:
      split_first((axis,), STORED)
  spec = PartitionSpec(*((axes[0] if len(axes) == 1 else axes) if axes else None for axes in splits))
  return spec, tuple(dict.fromkeys(undivided))


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

  def storage_axes(self, part: str) -> tuple[str, ...]:
    """Returns the mesh axes that shard parameters, gradients or optimizer state.

    data comes last, so that a device's part over both axes lies inside its part over fsdp.
    """
    # fsdp shards every part in every stage; the stage says what data shards in addition.
    return ("fsdp", "data") if getattr(self.stage, part) else ("fsdp",)

  def specs(self, axes: Any, shapes: Any, part: str) -> Any:
    """Returns a tree of PartitionSpecs.

    Args:
      axes: tree of the parameters' logical axes, each a PartitionSpec of names.
      shapes: the same tree of what has a shape.
      part: parameters | gradients | opt_state.
    """
    storage_axes = self.storage_axes(part)
    return jax.tree.map(
      lambda names, leaf: split_tensor(_filled(names, leaf), leaf.shape, self.sizes, storage_axes)[0], axes, shapes,
      is_leaf=_is_names,
    )  # fmt: skip

  def undivided(self, axes: Any, shapes: Any) -> dict[UndividedAxis, list[str]]:
    """Returns the dimensions that do not divide, and the paths of the parameters that have them.

    Args:
      axes: tree of the parameters' logical axes, each a PartitionSpec of names.
      shapes: the same tree of what has a shape.
    """
    parameters: dict[UndividedAxis, list[str]] = {}
    leaves = jax.tree_util.tree_leaves_with_path(axes, is_leaf=_is_names)
    for (path, names), leaf in zip(leaves, jax.tree.leaves(shapes), strict=True):
      # The optimizer's state is split in every stage that splits anything.
      dimensions = split_tensor(_filled(names, leaf), leaf.shape, self.sizes, self.storage_axes("opt_state"))[
        1
      ]
      for dimension in dimensions:
        parameters.setdefault(dimension, []).append(jax.tree_util.keystr(path, simple=True, separator="/"))
    return parameters

  def shardings(self, specs: Any) -> Any:
    """Returns a tree of PartitionSpecs as shardings on the mesh."""
    return jax.tree.map(
      lambda spec: NamedSharding(self.mesh, spec), specs, is_leaf=lambda x: isinstance(x, PartitionSpec)
    )

  def rows(self, axis: int = 0) -> NamedSharding:
    """Returns the sharding of arrays with a batch's rows along one axis; the other axes are undivided."""
    # fsdp is data parallelism too: its devices hold different rows. Devices along tensor hold the same rows.
    row_axes = tuple(name for name in ("data", "fsdp") if name in self.sizes)
    return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, row_axes or None))

  @property
  def replicated(self) -> NamedSharding:
    """The replicated sharding: every device holds the entire array."""
    return NamedSharding(self.mesh, PartitionSpec())


def layout_of_run(run: Run, devices: Any = None) -> ShardingLayout | None:
  """Returns the layout of a run, or None where it has no mesh.

  Raises:
    UserError: if the mesh does not multiply to the devices.
  """
  return ShardingLayout(build_mesh(run.mesh, devices), run.layout) if run.mesh else None


def undivided_sentences(undivided: Mapping[UndividedAxis, list[str]]) -> list[str]:
  """Returns a sentence for each dimension that does not divide."""
  return [
    f"{axis.axis} of size {axis.size}{_share(axis)} is not divisible by {axis.mesh_axes} and is not split in "
    f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
    + (f"; --config.model.vocab={_padded(axis)} would pad it" if axis.axis == "vocab" else "")
    for axis, names in undivided.items()
  ]


def _share(axis: UndividedAxis) -> str:
  return "" if axis.local_size == axis.size else f" ({axis.local_size} per device after other axes)"


def _padded(axis: UndividedAxis) -> int:
  """Returns the next size that divides."""
  count = math.prod(int(part.partition("=")[2]) for part in axis.mesh_axes.split(","))
  count *= axis.size // axis.local_size
  return -(-axis.size // count) * count


def _is_names(x: Any) -> bool:
  return isinstance(x, PartitionSpec)


def _filled(names: PartitionSpec, leaf: Any) -> tuple[str | None, ...]:
  """Returns a name, or None, for each of the leaf's axes."""
  return (*names, *[None] * (len(leaf.shape) - len(names)))
