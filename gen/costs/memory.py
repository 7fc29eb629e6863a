"""Memory of a run on each device of a mesh before it runs: from its config alone, and from the compiler.

The state is counted tensor by tensor with the trainer's sharding tables, so it is exact. Residuals for the backward
pass are read from the traced step. Other needs of the backward pass, and gathered weights, are estimates.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, PartitionSpec

from gen import counts, optimizers
from gen.config import Model, Run, mesh_shape
from gen.costs import activations
from gen.errors import UserError
from gen.models import language_model, recurrent
from gen.optimizers import schedule_params
from gen.precision import stochastic_rounding
from gen.sharding import state_bytes
from gen.sharding.layouts import ShardingLayout, split_tensor
from gen.sharding.state_bytes import CollectiveBytes
from gen.training import compiled_step, state_sharding, step
from gen.training.run_folders import run_length

WORD = (
  4  # bytes of float32, which gradients are, and parameters and moments unless the optimizer says otherwise
)
GATHERED_LAYERS = (
  2  # layers with gathered weights at a time: the one that computes and the prefetched next one
)
COUNTERS = 16  # bytes: steps done, steps skipped, and the random key's two words


class MemoryFootprint(NamedTuple):
  """Bytes on one device.

  Attributes:
    parameters: of `optimizer.param_dtype`; they are their own master copies, cast where they are used.
    gradients: float32, while a step runs.
    opt_state: the optimizer's arrays, such as AdamW's two moments.
    counters: steps, the optimizer's count, random key, and the state of a recurrent model.
    batch: the rows of a dispatch of one step.
    activations: residuals of the forward pass for the backward pass, without arguments.
    working: peak of the backward pass's other temporaries; an estimate.
    gathered: sharded weights while they are gathered for a product; an estimate.
    cache: KV cache of as many rows and positions as a batch has, during generation.
  """

  parameters: int
  gradients: int
  opt_state: int
  counters: int
  batch: int
  activations: int
  working: int
  gathered: int
  cache: int

  @property
  def live(self) -> int:
    """Bytes between steps: the training state's arrays."""
    return self.parameters + self.opt_state + self.counters

  @property
  def state(self) -> int:
    """Bytes of parameters, gradients and optimizer state, as in the ZeRO paper."""
    return self.parameters + self.gradients + self.opt_state

  @property
  def peak(self) -> int:
    """Peak bytes of a step."""
    # All at once, at the end of the forward pass: an upper bound, since gradients grow as residuals are freed.
    return self.live + self.batch + self.gradients + self.activations + self.working + self.gathered


def paper_layout(run: Run) -> ShardingLayout:
  """Returns the layout of a run on devices that need not exist."""
  # Without a mesh one device holds all, which is a mesh of one.
  sizes = mesh_shape(run.mesh) or {"data": 1}
  return ShardingLayout(AbstractMesh(tuple(sizes.values()), tuple(sizes)), run.layout)  # type: ignore[arg-type]


def part_bytes(run: Run, name: str) -> int:
  """Returns the bytes of parameters, gradients or one moment of the optimizer state on one device.

  Frozen parameters have neither gradients nor moments.
  """
  # Tensor by tensor and not N / devices: tensors that do not divide stay whole, and small models have many.
  layout, total = paper_layout(run), 0
  names, shapes = language_model.logical_axes(run.model), language_model.parameter_shapes(run.model)
  if name != "parameters" and run.optimizer.frozen:
    shapes = optimizers.select_trained(run.optimizer, shapes)
    names = optimizers.select_paths(names, optimizers.tree_paths(shapes))
  axes = jax.tree.leaves(names, is_leaf=lambda x: isinstance(x, PartitionSpec))
  for axis_names, leaf in zip(axes, jax.tree.leaves(shapes), strict=True):
    padded = (*axis_names, *[None] * (leaf.ndim - len(axis_names)))
    spec, _ = split_tensor(padded, leaf.shape, layout.sizes, layout.storage_axes(name))
    word = 2 if name == "parameters" and run.optimizer.param_dtype == "bfloat16" and leaf.ndim else WORD
    total += word * math.prod(leaf.shape) // math.prod(layout.sizes[axis] for axis in _axes(spec))
  return total


def trained_share(run: Run) -> float:
  """Returns the share of the parameters that are not frozen."""
  if not run.optimizer.frozen:
    return 1.0
  shapes = language_model.parameter_shapes(run.model)
  every, trained = (
    sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
    for tree in (shapes, optimizers.select_trained(run.optimizer, shapes))
  )
  return trained / every


def opt_state_bytes(run: Run) -> tuple[int, int]:
  """Returns the bytes of the optimizer's arrays on one device, and those of its scalars."""
  rule, dtype = optimizers.make_update_rule(run.optimizer), run.optimizer.moment_dtype
  # From the optimizer's own `init`, so that Adafactor's factors and a user's optimizer are counted right too.
  leaves = jax.tree.leaves(
    jax.eval_shape(
      lambda params: stochastic_rounding.store_tree(rule.init(params), dtype),
      language_model.parameter_shapes(run.model),
    )
  )
  placed = state_sharding.shard_state(run.model, paper_layout(run), run.optimizer).opt_state
  arrays = scalars = 0
  for leaf, sharding in zip(leaves, jax.tree.leaves(placed), strict=True):
    if leaf.ndim:
      arrays += leaf.dtype.itemsize * math.prod(sharding.shard_shape(leaf.shape))
    else:
      scalars += leaf.dtype.itemsize
  return arrays, scalars


def _axes(spec: PartitionSpec) -> list[str]:
  """Returns the axes of the mesh that a tensor is split over."""
  return [axis for entry in spec if entry for axis in ((entry,) if isinstance(entry, str) else entry)]


def rows_of(run: Run) -> int:
  """Returns the rows of a microbatch that one device computes."""
  sizes = mesh_shape(run.mesh)
  return run.data.batch // run.optimizer.microbatches // (sizes.get("data", 1) * sizes.get("fsdp", 1))


def run_footprint(run: Run) -> MemoryFootprint:
  """Returns the memory footprint of a run on one device.

  Args:
    run: completed: its vocabulary and context are set.

  Raises:
    UserError: for a model with modules of the user's own, whose memory has no estimate.
  """
  own = counts.own_modules(run.model)
  if own:
    raise UserError(
      f"the memory of model.{own[0]} {getattr(run.model, own[0])} is not predicted, as it is code of your own; train a "
      "few steps and look"
    )
  rows, tensor = rows_of(run), mesh_shape(run.mesh).get("tensor", 1)
  # The loop stacks microbatches into one argument, of which one is computed at a time.
  batch = activations.array_bytes(activations.example_batch(run, rows)) * run.optimizer.microbatches
  recurrent_state = 0
  if run.model.carry:
    recurrent_state = activations.array_bytes(
      jax.eval_shape(lambda: recurrent.init_recurrent_state(run.model, rows))
    )
  residuals = activations.kept_activations(run, rows, tensor)
  arrays, scalars = opt_state_bytes(run)
  return MemoryFootprint(
    part_bytes(run, "parameters"),
    part_bytes(run, "gradients"),
    arrays,
    # Dynamic loss scaling keeps a scale and two counters.
    COUNTERS + scalars + recurrent_state + (3 * WORD if run.model.dtype == "float16" else 0),
    batch,
    residuals.total(_weight_parts(run)),
    activations.working_bytes(run, rows, tensor),
    gathered_bytes(run, tensor),
    cache_bytes(run, rows, tensor),
  )


def _weight_parts(run: Run) -> int:
  """Returns the number of parts of a weight's residual, which equals that of the stored weight."""
  layout = paper_layout(run)
  return math.prod(layout.sizes.get(axis, 1) for axis in layout.storage_axes("parameters"))


def gathered_bytes(run: Run, tensor: int = 1) -> int:
  """Estimates the peak bytes of gathered weights if weights are stored sharded.

  These are two layers and the tables at the model's two ends, in the compute type. Weights are never gathered over
  the tensor axis.
  """
  if _weight_parts(run) == 1:
    return 0
  model = activations.device_activations(run.model, tensor)
  parameters = counts.count_parameters(model)
  # A tied table is gathered twice: for the look-up, and again for the head at the other end of the model.
  ends = 2 * parameters.embedding if model.tied else parameters.embedding + parameters.head
  depth = sum(stack.depth for stack in counts.block_stacks(model)) or model.depth
  layers = (parameters.total - parameters.embedding - parameters.head) * min(GATHERED_LAYERS, depth) // depth
  return (ends + layers) * _compute_bytes(model)


def _compute_bytes(model: Model) -> int:
  """Returns the bytes of one number in the model's compute dtype."""
  return WORD if model.dtype == "float32" else 2


def cache_bytes(run: Run, rows: int, tensor: int = 1) -> int:
  """Returns the bytes of the KV cache, or of the recurrent state, for so many rows of the run's length."""
  model = activations.device_activations(run.model, tensor)
  if model.recurrent:
    return activations.array_bytes(jax.eval_shape(lambda: recurrent.init_recurrent_state(model, rows)))
  if model.family == "encoder":
    return 0
  row = run_length.row_length(run)
  stack = counts.block_stacks(model)[0]
  slots = row.target + (row.source if stack.cross else 0)
  # int8 keys and values have a float32 scale each.
  # Keys and values of one token in one layer.
  width, heads = stack.shape.key_value_width, stack.shape.key_value_width // stack.shape.head_width
  of_token = width + heads * WORD if model.cache_format == "int8" else width * _compute_bytes(model)
  # Keys and values are equally large.
  return 2 * stack.depth * rows * slots * of_token


def recomputed_share(run: Run) -> float:
  """Returns the FLOPs that remat recomputes, as a share of the step's FLOPs."""
  row = run_length.row_length(run)
  flops = counts.count_flops(run.model, row.target, row.source)
  # "dots" keeps the results of dense layers and computes attention's scores again, see `gradients.RECOMPUTE`.
  recomputed = {"none": 0.0, "dots": flops.scores, "full": flops.total - flops.head}[run.model.remat]
  return (
    recomputed / 3 / flops.total
  )  # The gradients cost twice the forward pass, so this is a third of a step.


def moved_bytes(run: Run) -> list[CollectiveBytes]:
  """Returns the bytes of each collective of a step, by the layout's plan."""
  sizes, micro, tensor = (
    mesh_shape(run.mesh),
    run.optimizer.microbatches,
    mesh_shape(run.mesh).get("tensor", 1),
  )
  unsharded = WORD * counts.count_parameters(activations.device_activations(run.model, tensor)).total
  gradients = unsharded * trained_share(run)
  collectives = state_bytes.step_collectives(unsharded, gradients, run.layout, sizes, micro)
  if tensor > 1 and not run.model.recurrent:
    collectives.append(_tensor_traffic(run, tensor))
  return collectives


def _tensor_traffic(run: Run, tensor: int) -> CollectiveBytes:
  """Returns the all-reduces over the tensor axis: each branch's output and input gradient, and the two ends'."""
  row, model = run_length.row_length(run), run.model
  positions = 0
  for stack, reads in zip(counts.block_stacks(model), (row.target, row.source), strict=False):
    # Attention, cross attention and feed-forward each all-reduce once forward and once backward (arXiv:1909.08053, 3).
    positions += stack.depth * reads * 2 * (3 if stack.cross else 2)
    positions += stack.depth * row.source * stack.cross  # the gradient of the encoder's output
  positions += 2 * (row.target + row.source)  # embeddings forward, the head's input backward
  size = positions * rows_of(run) * run.optimizer.microbatches * model.width * _compute_bytes(model)
  return CollectiveBytes(
    "all-reduce",
    "activations and their gradients",
    "tensor",
    state_bytes.ring_bytes("all-reduce", size, tensor),
  )


class CompiledSizes(NamedTuple):
  """The compiler's bytes on one device: arguments, temporaries, and the peak."""

  arguments: int
  temporaries: int
  peak: int


def compile_step(run: Run, layout: ShardingLayout | None) -> tuple[CompiledSizes, str]:
  """Compiles the trainer's step without allocating its arrays; returns its sizes and its HLO text.

  Args:
    run: completed: its vocabulary and context are set.
    layout: on devices, simulated or real; None is one device.
  """
  programs = compiled_step.step_programs(run.model, run.optimizer, layout)

  def start() -> step.TrainState:
    return step.with_recurrent_state(
      step.initialize_state(run.model, run.optimizer, 0), run.model, run.data.batch
    )

  # The leading axis is that of the steps of a dispatch.
  batch = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), activations.example_batch(run, run.data.batch)
  )
  train: Any = programs.train
  compiled = train.lower(jax.eval_shape(start), batch, 1, schedule_params(run.optimizer, 1)).compile()
  sizes = compiled.memory_analysis()
  arguments, temporaries = sizes.argument_size_in_bytes, sizes.temp_size_in_bytes
  # Donated arguments are written over by results, so those bytes would count twice.
  peak = arguments + temporaries + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
  return CompiledSizes(arguments, temporaries, peak), compiled.as_text()


@dataclasses.dataclass(frozen=True, slots=True)
class CollectiveTraffic:
  """One kind of collective of a step, as JSON has it (see `CollectiveBytes`)."""

  kind: str
  what: str
  over: str
  bytes: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FootprintReport:
  """A footprint as JSON has it; sizes are bytes per device.

  Attributes are those of `MemoryFootprint`, master copies are the parameters
  themselves. `collectives` are what each device sends in a step.
  """

  state_bytes_per_device: float
  parameters_bytes_per_device: float
  gradients_bytes_per_device: float
  opt_state_bytes_per_device: float
  master_copies_bytes_per_device: float
  live_bytes_per_device: float
  batch_bytes_per_device: float
  activations_bytes_per_device: float
  working_bytes_per_device: float
  gathered_bytes_per_device: float
  cache_bytes_per_device: float
  peak_bytes_per_device: float
  recomputed_share_of_flops: float
  collectives: list[CollectiveTraffic]


def report_footprint(run: Run, footprint: MemoryFootprint, moves: list[CollectiveBytes]) -> FootprintReport:
  """Returns a footprint as JSON has it."""
  return FootprintReport(
    state_bytes_per_device=footprint.state,
    parameters_bytes_per_device=footprint.parameters,
    gradients_bytes_per_device=footprint.gradients,
    opt_state_bytes_per_device=footprint.opt_state,
    master_copies_bytes_per_device=0,
    live_bytes_per_device=footprint.live,
    batch_bytes_per_device=footprint.batch,
    activations_bytes_per_device=footprint.activations,
    working_bytes_per_device=footprint.working,
    gathered_bytes_per_device=footprint.gathered,
    cache_bytes_per_device=footprint.cache,
    peak_bytes_per_device=footprint.peak,
    recomputed_share_of_flops=recomputed_share(run),
    collectives=[CollectiveTraffic(*move) for move in moves],
  )
