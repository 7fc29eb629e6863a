"""Bytes of the training state on each device, by layout: the arithmetic of ZeRO (arXiv:1910.02054, 3 and 5).

Only the state is counted; activations and temporaries are extra (see `gen.costs.memory`).
A gigabyte is 1e9 bytes here, as in the paper.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from gen.errors import UserError
from gen.sharding.layouts import STAGES


class StateBytes(NamedTuple):
  """Bytes of the four parts of the state: of one parameter, or on one device.

  Attributes:
    parameters: what is multiplied with.
    gradients: of the loss.
    opt_state: Adam's two moments.
    master_copies: float32 parameters beside narrower ones.
  """

  parameters: float
  gradients: float
  opt_state: float
  master_copies: float

  @property
  def total(self) -> float:
    """All four."""
    return sum(self)


# Bytes per parameter. Mixed precision: 16 in all, of which 12 are the optimizer's (K in arXiv:1910.02054, section 3.1).
# float16 has the same: its scale of the loss is three numbers in all. bfloat16: parameters and moments in 16 bits with
# stochastic rounding, and float32 gradients.
PRECISIONS = {
  "float32": StateBytes(4, 4, 8, 0),
  "mixed": StateBytes(2, 2, 8, 4),
  "float16": StateBytes(2, 2, 8, 4),
  "bfloat16": StateBytes(2, 4, 4, 0),
}
# A rule of thumb that courses teach, for one device in float32: 4 bytes for a weight and 20 more to train it. These are
# the gradient's 4, Adam's 8, and about 8 for activations and temporaries, which really depend on the batch.
RULE_OF_THUMB = {"weights": 4, "gradients": 4, "moments": 8, "activations_and_temporaries": 8}


def state_bytes(parameters: float, layout: str, devices: int, precision: str = "mixed") -> StateBytes:
  """Returns the bytes on each device, with even splits.

  Table 1 of the paper has 7.5 B parameters on 64 devices at 120, 31.4, 16.6 and 1.88 GB:

  >>> [round(state_bytes(7.5e9, layout, 64).total / 1e9, 2) for layout in ("ddp", "zero1", "zero2", "zero3")]
  [120.0, 31.41, 16.64, 1.88]

  Args:
    parameters: number of parameters; need not be an integer.
    layout: ddp | zero1 | zero2 | zero3.
    devices: number of devices that share the state.
    precision: mixed | float32 | float16 | bfloat16.

  Raises:
    UserError: for an unknown layout or precision, or an invalid number.
  """
  if layout not in STAGES:
    raise UserError(f"layout is {layout!r}; it must be one of {', '.join(STAGES)}")
  if precision not in PRECISIONS:
    raise UserError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}")
  if devices < 1:
    raise UserError(f"devices is {devices}; it must be 1 or more")
  if not (math.isfinite(parameters) and parameters > 0):
    raise UserError(f"params is {parameters}; it must be a number greater than 0")
  stage, part_bytes = STAGES[layout], PRECISIONS[precision]
  share = {name: devices if is_split else 1 for name, is_split in stage._asdict().items()}
  # The paper's K = 12 counts master copies with the moments (3.1), so ZeRO-1 splits both.
  share["master_copies"] = share["opt_state"]
  return StateBytes(*(parameters * size / share[name] for name, size in part_bytes._asdict().items()))


def rule_of_thumb(parameters: float) -> float:
  """Returns the bytes of training on one device in float32 by `RULE_OF_THUMB`: 24 GB for 1 B parameters.

  >>> rule_of_thumb(1e9) / 1e9
  24.0
  """
  return parameters * sum(RULE_OF_THUMB.values())


class CollectiveBytes(NamedTuple):
  """The traffic of one kind of collective in one training step.

  Attributes:
    kind: all-reduce | all-gather | reduce-scatter.
    what: the tensors, in words.
    over: the axis of the mesh.
    bytes: bytes that each device sends, in a ring.
  """

  kind: str
  what: str
  over: str
  bytes: float


def ring_bytes(kind: str, size: float, parts: int) -> float:
  """Returns the bytes that each of `parts` devices sends in a ring collective on a tensor of `size` bytes.

  An all-gather or a reduce-scatter sends each part to all other devices once. An all-reduce is both, one after the
  other.

  >>> ring_bytes("all-reduce", 8.0, 4), ring_bytes("all-gather", 8.0, 4)
  (12.0, 6.0)
  """
  # Each of the n parts of a tensor passes n - 1 links of the ring, so each device sends (n - 1) / n of it.
  return size * (parts - 1) / parts * (2 if kind == "all-reduce" else 1)


def step_collectives(
  parameters: float, gradients: float, layout: str, sizes: Mapping[str, int], microbatches: int = 1
) -> list[CollectiveBytes]:
  """Returns the traffic of parameters and gradients per step; that of tensor parallelism depends on the model.

  Replicated gradients are all-reduced and split gradients reduce-scattered, once per microbatch. Sharded parameters
  are gathered twice per microbatch, forward and backward. If only the optimizer state is sharded, parameters are
  gathered once, after the update.

  Args:
    parameters: bytes of all parameters of one part of tensor parallelism, as they are gathered.
    gradients: bytes of their gradients.
    layout: ddp | zero1 | zero2 | zero3.
    sizes: devices along each axis of the mesh.
    microbatches: of a step.
  """
  # By arXiv:1910.02054, section 7, ZeRO-2 sends as much as DDP, 2 N, and ZeRO-3 sends 3 N. ZeRO-1 sends 3 N here and
  # not the paper's 2 N, because its gradients are all-reduced and not scattered.
  data, fsdp = sizes.get("data", 1), sizes.get("fsdp", 1)
  # Twice: forward and backward pass gather separately, because a gathered weight is not kept between them.
  stage, twice = STAGES[layout], 2.0 * microbatches * parameters
  uses, reduced = "parameters, forward and backward", "reduce-scatter" if stage.gradients else "all-reduce"
  planned = [
    ("all-gather", uses, "fsdp", twice),
    ("reduce-scatter", "gradients", "fsdp", microbatches * gradients),
  ]
  # What goes over data was already divided by fsdp.
  if stage.parameters:
    planned.append(("all-gather", uses, "data", twice / fsdp))
  planned.append((reduced, "gradients", "data", microbatches * gradients / fsdp))
  if stage.opt_state and not stage.parameters:
    planned.append(("all-gather", "parameters after the update", "data", parameters / fsdp))
  parts = {"data": data, "fsdp": fsdp}
  return [
    CollectiveBytes(kind, what, over, ring_bytes(kind, size, parts[over]))
    for kind, what, over, size in planned
    if parts[over] > 1
  ]


class DecoderShape(NamedTuple):
  """A decoder of about so many parameters, 12 L D^2 of them in its blocks, a width of 128 a layer and heads of 128."""

  depth: int
  width: int

  @property
  def heads(self) -> int:
    """H."""
    return max(1, self.width // 128)


def decoder_shape(parameters: float) -> DecoderShape:
  """Returns the shape: width and depth grow together, as GPT-3's do (arXiv:2005.14165, table 2.1)."""
  # 12 L D^2 parameters with D = 128 L, so N = 12 * 128^2 L^3.
  depth = max(1, round((parameters / (12 * 128**2)) ** (1 / 3)))
  return DecoderShape(depth, max(128, round((parameters / (12 * depth)) ** 0.5 / 128) * 128))


def activation_bytes(
  shape: DecoderShape, rows: int, length: int, precision: str = "mixed", remat: str = "full"
) -> float:
  """Returns the bytes of activations that a decoder stores for its backward pass (arXiv:2205.05198, equations 2 and 6).

  Without remat these are T B D L (34 + 5 H T / D) bytes in 16 bits, and twice that in float32. With `full` remat they
  are the inputs of blocks, 2 T B D L, and all activations of the one block that is recomputed.

  Args:
    shape: of the decoder.
    rows: on a device, B.
    length: T.
    precision: mixed | float32 | float16 | bfloat16.
    remat: none | full.
  """
  # Of 34, attention keeps 11, the feed-forward 19 and two norms 4. 5 H T / D are scores, softmax and its dropout
  # (arXiv:2205.05198, section 4.1).
  block = float(length * rows * shape.width) * (34 + 5 * shape.heads * length / shape.width)
  total = block * shape.depth if remat == "none" else block + 2.0 * length * rows * shape.width * shape.depth
  # The formula counts 2 bytes a number and 1 a mask of dropout. Masks are doubled too here, which is slightly too much.
  return total * (2 if precision == "float32" else 1)
