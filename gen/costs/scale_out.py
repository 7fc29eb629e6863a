"""An analytic model of memory and time per step on up to 10^5 devices, and the best layout for a model size.

For a decoder of N parameters, L layers, width D; W tokens per step in rows of T; on P = data x fsdp x tensor devices:

    compute     (6 N + 6 L D T) W / (P peak u)              products at a stated utilization u, causal attention
    tensor      4 L m x ring(all-reduce, 2 b T D, t) / fast  of activations, two each way (arXiv:1909.08053)
    fsdp        m (2 gathers + 1 scatter) of 2 N / t bytes  weights each way, gradients (arXiv:1910.02054, 7)
    data        all-reduce of 2 N / (t f) bytes, once       gradients, over the replicas
                all-gather of 2 N / (t f) bytes, once       updated parameters, ZeRO-1
    latency     hop x log2(parts) for each collective       a tree's; a ring's would be worse
    recompute   a third of compute more                     `full` remat (arXiv:2205.05198)

in m microbatches of b rows per device. Traffic inside a machine has the fast rate, traffic between machines the slow
one. Traffic of fsdp and data overlaps with products except for the share `exposed`; traffic of tensor does not. State
and activations are those of `gen.sharding.state_bytes`. The model ranks layouts; it is not a measurement. Utilization,
exposed share, latency and usable memory are assumptions (docs/scaling_up.md).
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
    fast: bytes per second that a device sends inside a machine.
    slow: bytes per second that a device sends to other machines.
    utilization: assumed share of the peak during matrix products.
    exposed: assumed share of overlapped traffic that products do not hide.
    hop: assumed seconds of one step of a collective.
  """

  memory: float
  flops_per_second: float
  machine: int
  fast: float
  slow: float
  utilization: float = 0.6
  exposed: float = 0.1
  hop: float = 10e-6


# DGX A100 and DGX H100, from NVIDIA's data sheets. NVLink's 600 and 900 GB/s count both directions, so half is sent.
# Each GPU has one network card of 200 or 400 Gbit/s.
CLUSTERS = {
  "a100": PaperCluster(80e9, 312e12, 8, 300e9, 25e9),
  "h100": PaperCluster(80e9, 989e12, 8, 450e9, 50e9),
}
USABLE = 0.9  # chosen: a tenth of the memory is left for fragmentation, CUDA's context and NCCL's buffers


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
    """The mesh, as in `--config.mesh`."""
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
    raise UserError(f"{devices} devices are not a multiple of fsdp={fsdp} x tensor={tensor}")
  data, shape = devices // (fsdp * tensor), decoder_shape(job.parameters)
  rows = job.rows / (data * fsdp * microbatches)
  if rows < 1:
    raise UserError(
      f"{job.rows} rows per step are fewer than data={data} x fsdp={fsdp} x {microbatches} microbatches"
    )
  # fsdp shards all of the state, and data the optimizer's part of it: ZeRO-1 over data (arXiv:1910.02054, 5.1).
  each = PRECISIONS["mixed"]
  share = job.parameters / tensor / fsdp
  state = share * (each.parameters + each.gradients) + share * (each.opt_state + each.master_copies) / data
  # 6 N by forward and backward products (arXiv:2001.08361, 2.1). Scores are 12 L D T a token without a mask, and half
  # of it with a causal kernel.
  flops = (6 * job.parameters + 6 * shape.depth * shape.width * job.length) * job.tokens
  compute = flops / (devices * cluster.flops_per_second * cluster.utilization)
  # Two all-reduces a layer forward and two backward (arXiv:1909.08053, section 3).
  sent = 4 * shape.depth * microbatches
  tensor_seconds = _seconds(cluster, "all-reduce", 2.0 * rows * job.length * shape.width, tensor, 1, sent)
  weights = each.parameters * job.parameters / tensor  # bytes, unsharded over fsdp
  layers = shape.depth * microbatches
  # Layer by layer, because weights are gathered for one layer at a time; twice, for both passes.
  traffic = 2 * _seconds(cluster, "all-gather", weights / shape.depth, fsdp, tensor, layers)
  traffic += _seconds(cluster, "reduce-scatter", weights / shape.depth, fsdp, tensor, layers)
  # Once a step: microbatches accumulate before the replicas' gradients are joined. Gradients have the bytes of
  # parameters, 2 each in mixed precision.
  traffic += _seconds(cluster, "all-reduce", weights / fsdp / shape.depth, data, tensor * fsdp, shape.depth)
  # ZeRO-1 shards only the optimizer state over data, so the updated bfloat16 parameters are gathered. With the
  # all-reduce above each device sends 1.5 times as much as under DDP, like the trainer's zero1
  # (`state_bytes.step_collectives`). Reduce-scattered gradients would save the half (arXiv:1910.02054, section 7.2).
  traffic += _seconds(cluster, "all-gather", weights / fsdp / shape.depth, data, tensor * fsdp, shape.depth)
  # Forward is a third of forward and backward together, and `full` remat runs it once more.
  recompute = compute / 3
  busy = compute + recompute
  # Overlapped traffic shows where it outlasts the products, and by its exposed share in any case.
  seconds = busy + tensor_seconds + max(traffic - busy, cluster.exposed * traffic)
  # Split by tensor parallelism altogether, as with sequence parallelism (arXiv:2205.05198, section 4.2.2).
  activations = activation_bytes(shape, 1, job.length) * rows / tensor
  return StepCost(
    data, fsdp, tensor, microbatches, state, activations, compute, recompute, tensor_seconds, traffic, seconds
  )


def _seconds(cluster: PaperCluster, kind: str, size: float, parts: int, stride: int, times: int) -> float:
  """Returns the seconds of `times` collectives over `parts` devices whose indices are `stride` apart."""
  if parts == 1:
    return 0.0
  # Devices are numbered with tensor innermost, then fsdp, then data: groups of a small stride share a machine.
  inside = parts * stride <= cluster.machine
  rate = cluster.fast if inside else cluster.slow
  # Each device has its own network card, so rings through one machine run in parallel at the slow rate.
  return times * (ring_bytes(kind, size, parts) / rate + cluster.hop * math.log2(parts))


def fitting_layouts(job: TrainingJob, cluster: PaperCluster, devices: int) -> Iterator[StepCost]:
  """Yields every layout that fits, with the fewest microbatches: fsdp a power of two, tensor within a machine."""
  # Beyond a machine tensor parallelism would send activations at the slow rate, which nothing overlaps.
  for tensor in _powers(min(cluster.machine, devices)):
    for fsdp in _powers(devices // tensor):
      if devices % (tensor * fsdp):
        continue
      for microbatches in _powers(job.rows):
        try:
          cost = step_cost(job, cluster, fsdp, tensor, devices, microbatches)
        except UserError:
          break
        # More microbatches than needed only add latency, so the first that fits is the fastest of its mesh.
        if cost.memory <= USABLE * cluster.memory:
          yield cost
          break


def fastest_layout(job: TrainingJob, cluster: PaperCluster, devices: int) -> StepCost:
  """Returns the layout of the shortest step.

  >>> fastest_layout(TrainingJob(1e9, 1e6), CLUSTERS["h100"], 8).mesh
  'data=8'

  Raises:
    UserError: if none fits.
  """
  fastest = min(fitting_layouts(job, cluster, devices), key=lambda cost: cost.seconds, default=None)
  if fastest is not None:
    return fastest
  max_devices = job.rows * cluster.machine
  if devices > max_devices:
    raise UserError(
      f"{job.rows:,} rows per step are too few for {devices:,} devices: at most {cluster.machine} devices share a row,"
      f" so {max_devices:,} can be used; take more tokens per step"
    )
  min_state = job.parameters * PRECISIONS["mixed"].total / devices
  raise UserError(
    f"no layout of {devices:,} devices holds {job.parameters:.3g} parameters: the state alone takes"
    f" {min_state / 1e9:,.1f} of {cluster.memory / 1e9:,.0f} GB per device, without the activations of rows of"
    f" {job.length:,} tokens; take more devices or a smaller model"
  )


def useful_share(cost: StepCost) -> float:
  """Returns the share of a step's time that the model's own products take; recomputed products do not count."""
  return cost.compute / cost.seconds


def _powers(limit: int) -> Iterator[int]:
  power = 1
  while power <= limit:
    yield power
    power *= 2
