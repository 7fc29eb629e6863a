"""An analytic model of memory and time per step on up to 10^5 devices, and the best layout for a model size.

For a decoder of N parameters, W tokens a step in rows of T, on P = data x fsdp x tensor devices:

    compute     (6 N + 6 L D T) W / (P peak u)              products at a stated utilization u, causal attention
    tensor      4 L m x ring(all-reduce, 2 b T D, t) / fast  of activations, two each way (arXiv:1909.08053)
    fsdp        m (2 gathers + 1 scatter) of 2 N / t bytes  weights each way, gradients (arXiv:1910.02054, 7)
    data        all-reduce of 2 N / (t f) bytes, once       gradients, over the replicas
    latency     hop x log2(parts) for each collective       a tree's; a ring's would be worse
    recompute   a third of compute more                     `full` remat (arXiv:2205.05198)

in m microbatches of b rows per device. Traffic inside a machine has the fast rate, traffic between machines the slow
one. Traffic of fsdp and data overlaps with products except for the share `exposed`; traffic of tensor does not. State
and activations are those of `gen.sharding.state_bytes`. The model is not a measurement; it ranks layouts.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from gen.errors import UserError
from gen.sharding.state_bytes import PRECISIONS, activation_bytes, decoder_shape, ring_bytes


class PaperCluster(NamedTuple):
  """Machines of equal accelerators.

  Attributes:
    memory: bytes on each device.
    flops_per_second: peak of a device, bfloat16 products.
    machine: devices that share the fast network.
    fast: bytes a second that a device sends inside a machine.
    slow: bytes a second that a device sends to other machines.
    utilization: of the peak, while there are products.
    exposed: share of overlapped traffic that is waited for all the same.
    hop: seconds of one step of a collective.
  """

  memory: float
  flops_per_second: float
  machine: int
  fast: float
  slow: float
  utilization: float = 0.6
  exposed: float = 0.1
  hop: float = 10e-6


# DGX A100 and DGX H100, by NVIDIA's data sheets: NVLink's 600 and 900 GB/s count both directions; a network card a GPU.
CLUSTERS = {
  "a100": PaperCluster(80e9, 312e12, 8, 300e9, 25e9),
  "h100": PaperCluster(80e9, 989e12, 8, 450e9, 50e9),
}
USABLE = 0.9  # of memory: the rest is fragments and libraries'


class TrainingJob(NamedTuple):
  """The model and batch to train.

  Attributes:
    parameters: N.
    tokens: tokens per step, W.
    length: tokens per row, T.
  """

  parameters: float
  tokens: float
  length: int = 2048

  @property
  def rows(self) -> int:
    """Rows of a step."""
    return max(1, round(self.tokens / self.length))


class StepCost(NamedTuple):
  """The cost of a step in one layout.

  Attributes:
    data: number of replicas.
    fsdp: parts of the state.
    tensor: parts of each matrix.
    microbatches: sequential microbatches per step.
    state: bytes of state per device.
    activations: bytes of activations per device.
    compute: seconds of products.
    recompute: seconds of recomputed products.
    tensor_seconds: seconds of tensor traffic, which products wait for.
    traffic_seconds: seconds of fsdp and data traffic, overlapped or not.
    seconds: seconds of the step.
  """

  data: int
  fsdp: int
  tensor: int
  microbatches: int
  state: float
  activations: float
  compute: float
  recompute: float
  tensor_seconds: float
  traffic_seconds: float
  seconds: float

  @property
  def memory(self) -> float:
    """Bytes on a device."""
    return self.state + self.activations

  @property
  def mesh(self) -> str:
    """As `--config.mesh` takes it."""
    sizes = {"data": self.data, "fsdp": self.fsdp, "tensor": self.tensor}
    return ",".join(f"{name}={size}" for name, size in sizes.items() if size > 1) or "data=1"


def step_cost(
  job: TrainingJob, cluster: PaperCluster, fsdp: int, tensor: int, devices: int, microbatches: int = 1
) -> StepCost:
  """Returns the cost of a step in one layout.

  Args:
    job: the model and batch.
    cluster: the machines.
    fsdp: parts of the state.
    tensor: parts of each matrix.
    devices: total number of devices; data is devices / (fsdp tensor).
    microbatches: microbatches per step.

  Raises:
    UserError: if devices or rows do not divide.
  """
  if devices % (fsdp * tensor):
    raise UserError(f"{devices} devices are no whole number of fsdp={fsdp} x tensor={tensor}")
  data, shape = devices // (fsdp * tensor), decoder_shape(job.parameters)
  rows = job.rows / (data * fsdp * microbatches)
  if rows < 1:
    raise UserError(
      f"{job.rows} rows a step are fewer than data={data} x fsdp={fsdp} x {microbatches} microbatches"
    )
  each = PRECISIONS["mixed"]
  share = job.parameters / tensor / fsdp
  state = share * (each.parameters + each.gradients) + share * (each.opt_state + each.master_copies) / data
  flops = (6 * job.parameters + 6 * shape.depth * shape.width * job.length) * job.tokens
  compute = flops / (devices * cluster.flops_per_second * cluster.utilization)
  sent = 4 * shape.depth * microbatches
  tensor_seconds = _seconds(cluster, "all-reduce", 2.0 * rows * job.length * shape.width, tensor, 1, sent)
  whole = each.parameters * job.parameters / tensor
  layers = shape.depth * microbatches
  traffic = 2 * _seconds(cluster, "all-gather", whole / shape.depth, fsdp, tensor, layers)
  traffic += _seconds(cluster, "reduce-scatter", whole / shape.depth, fsdp, tensor, layers)
  traffic += _seconds(cluster, "all-reduce", whole / fsdp / shape.depth, data, tensor * fsdp, shape.depth)
  if data > 1:  # Only moments are apart over data (ZeRO-1): parameters are gathered after the update.
    traffic += (
      _seconds(cluster, "all-gather", whole / fsdp / shape.depth, data, tensor * fsdp, shape.depth) / 2
    )
  recompute = compute / 3
  busy = compute + recompute
  seconds = busy + tensor_seconds + max(traffic - busy, cluster.exposed * traffic)
  kept = activation_bytes(shape, 1, job.length) * rows / tensor
  return StepCost(
    data, fsdp, tensor, microbatches, state, kept, compute, recompute, tensor_seconds, traffic, seconds
  )


def _seconds(cluster: PaperCluster, kind: str, size: float, parts: int, stride: int, times: int) -> float:
  """Returns the seconds of `times` collectives over `parts` devices that lie `stride` apart in the order of devices."""
  if parts == 1:
    return 0.0
  inside = parts * stride <= cluster.machine
  rate = cluster.fast if inside else cluster.slow
  # Rings of one machine's devices leave it side by side, so each sends at its own slow rate.
  return times * (ring_bytes(kind, size, parts) / rate + cluster.hop * math.log2(parts))


def fitting_layouts(job: TrainingJob, cluster: PaperCluster, devices: int) -> Iterator[StepCost]:
  """Yields every layout that fits: powers of two of fsdp, tensor inside a machine, the fewest microbatches that fit."""
  for tensor in _powers(min(cluster.machine, devices)):
    for fsdp in _powers(devices // tensor):
      if devices % (tensor * fsdp):
        continue
      for microbatches in _powers(job.rows):
        try:
          found = step_cost(job, cluster, fsdp, tensor, devices, microbatches)
        except UserError:
          break
        if found.memory <= USABLE * cluster.memory:
          yield found
          break


def fastest_layout(job: TrainingJob, cluster: PaperCluster, devices: int) -> StepCost:
  """Returns the layout of the shortest step.

  >>> fastest_layout(TrainingJob(1e9, 1e6), CLUSTERS["h100"], 8).mesh
  'data=8'

  Raises:
    UserError: if none fits.
  """
  found = min(fitting_layouts(job, cluster, devices), key=lambda one: one.seconds, default=None)
  if found is not None:
    return found
  most = job.rows * cluster.machine
  if devices > most:
    raise UserError(
      f"{devices:,} devices find no work in {job.rows:,} rows a step: {cluster.machine} of them share a row at most,"
      f" so {most:,} can; take more tokens a step"
    )
  least = job.parameters * PRECISIONS["mixed"].total / devices
  raise UserError(
    f"no layout of {devices:,} devices holds {job.parameters:.3g} parameters: their state alone is"
    f" {least / 1e9:,.1f} GB a device of {cluster.memory / 1e9:,.0f}, and rows of {job.length:,} tokens come on top;"
    " take more devices or a smaller model"
  )


def useful_share(found: StepCost) -> float:
  """Returns the share of the step that is products of the model itself: 1 would be the stated utilization."""
  return found.compute / found.seconds


def _powers(most: int) -> Iterator[int]:
  power = 1
  while power <= most:
    yield power
    power *= 2
