"""What a step becomes on GPUs that are not there: ZeRO-2 scatters its sums, products are narrow, logits are few."""

import importlib.util
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax
import pytest

from gen import config as configs
from gen import counts
from gen.costs import collectives, memory, topologies
from gen.models import language_model
from gen.sharding import layouts

pytestmark = [
  pytest.mark.optimized,
  pytest.mark.compiles,
  pytest.mark.release,
]  # what is read is what the compiler makes of it
PLUGIN = "jax_plugins"
needs_plugin = pytest.mark.skipif(
  importlib.util.find_spec(PLUGIN) is None or importlib.util.find_spec(f"{PLUGIN}.xla_cuda12") is None,
  reason="needs XLA's plugin for CUDA: uv run --extra absent-gpus pytest tests/costs/test_gpus.py",
)
DEVICES, BATCH, LENGTH, CHUNK, VOCAB = 8, 16, 56, 28, 328
TOKENS = BATCH * LENGTH // DEVICES
MODEL = configs.Model(
  depth=2, width=64, heads=4, context=LENGTH, vocab=VOCAB, dtype="bfloat16", scan=True, loss_chunk=CHUNK
)
RUN = configs.Run(
  model=MODEL, data=configs.Data(length=LENGTH, batch=BATCH), mesh=f"data={DEVICES}", layout="zero2", steps=1
)
NUMBER = re.compile(r"\b(bf16|f16|f32|f64|s32)\[([\d,]*)\]")


@pytest.fixture(scope="module")
def compiled():
  """The sizes and the text of the trainer's step under ZeRO-2, for eight H100."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAX_PLATFORMS", "cpu")
    devices = topologies.topology_devices(topologies.parse_topology(f"h100:{DEVICES}"))
    return memory.compile_step(RUN, layouts.layout_of_run(RUN, devices))


def gradients_of_matrices():
  """Returns how many matrices of each number of elements a step has; queries', keys' and values' are one product."""
  found, fused = Counter(), Counter()
  names = language_model.logical_axes(MODEL)
  leaves = jax.tree_util.tree_leaves_with_path(names, is_leaf=lambda x: isinstance(x, jax.P))
  for (path, axes), leaf in zip(leaves, jax.tree.leaves(language_model.parameter_shapes(MODEL)), strict=True):
    layers = leaf.shape[0] if axes and axes[0] == "layers" else 1
    size, path = math.prod(leaf.shape) // layers, jax.tree_util.keystr(path, simple=True, separator="/")
    if not path.endswith("bias") and size > MODEL.width:
      of_attention = re.search(r"(.*)/(query|key|value)/", path)
      if of_attention:
        fused[of_attention[1], layers] += size
      else:
        found[size] += layers
  for (_, layers), size in fused.items():
    found[size] += layers
  return found


def elements(shape):
  """Returns how many numbers a text such as bf16[8,256] has."""
  return math.prod(map(int, NUMBER.search(shape)[2].split(",")))


@needs_plugin
def test_zero2_scatters_the_sum_of_every_matrix_and_reduces_only_numbers(compiled):
  sent = collectives.collectives_of_program(compiled[1])
  scattered = Counter()
  for each in sent:
    if each.kind == "reduce-scatter":
      for shape in each.shapes:
        scattered[DEVICES * elements(shape)] += each.times
  matrices = gradients_of_matrices()
  assert sorted(matrices.values()) == [
    2,
    2,
    2,
    4,
  ]  # of attention two, of the feed-forward one size, two tables
  # The embedding's is no product: each token's gradient goes to where its columns are added up.
  matrices[VOCAB * MODEL.width] -= 1
  assert any(each.kind == "all-to-all" and elements(each.shapes[0]) == TOKENS * MODEL.width for each in sent)
  assert {size: scattered[size] for size in matrices} == matrices
  whole = [shape for each in sent if each.kind == "all-reduce" for shape in each.shapes]
  assert whole and all(shape in ("f32[]", "f32[2]", "f32[3]") for shape in whole)


@needs_plugin
def test_zero2_puts_every_parameter_together_once_a_step(compiled):
  gathered = Counter()
  for each in collectives.collectives_of_program(compiled[1]):
    if each.kind == "all-gather":
      gathered[each.shapes[0].startswith("s32")] += each.times * sum(map(elements, each.shapes))
  assert gathered == {
    False: counts.count_parameters(MODEL).total,
    True: BATCH * LENGTH,
  }  # and the tokens' ids


@needs_plugin
def test_no_product_has_float32_operands(compiled):
  operands = list(products(compiled[1]))
  assert len(operands) >= 12  # forward and twice backward: attention, feed-forward, head
  assert [each for each in operands if "f32" in each] == []


def products(text):
  """Yields the types of each matrix product's operands, of XLA's own and of libraries'."""
  kinds = {}
  for line in text.splitlines():
    if line.endswith("{") and "->" in line:
      kinds = {}
    match = re.match(r"\s*(?:ROOT )?(%[\w.\-]+) = \(?([a-z]\w*)\[", line)
    if match:
      kinds[match[1]] = match[2]
    product = re.search(r" dot\(([^)]*)\)", line) or (
      re.search(r" custom-call\(([^)]*)\)", line) if "gemm" in line or "matmul" in line else None
    )
    if product:
      yield tuple(kinds[name] for name in re.findall(r"%[\w.\-]+", product[1]))


@needs_plugin
def test_the_logits_of_all_tokens_never_exist(compiled):
  shapes = {tuple(map(int, shape.split(","))) for _, shape in NUMBER.findall(compiled[1]) if shape}
  of_logits = {shape for shape in shapes if VOCAB in shape}
  assert (CHUNK, VOCAB) in of_logits
  assert max(map(math.prod, of_logits)) <= MODEL.width * VOCAB < TOKENS * VOCAB
  assert all(math.prod(shape) != TOKENS * VOCAB for shape in shapes)


@needs_plugin
def test_the_peak_is_what_comes_in_and_what_is_made(compiled):
  sizes = compiled[0]
  assert 0 <= sizes.peak - sizes.arguments - sizes.temporaries < 4096
  state = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(language_model.parameter_shapes(MODEL)))
  assert sizes.arguments == pytest.approx(4 * state * (1 + 2 / DEVICES), rel=0.02)


@needs_plugin
def test_one_process_stands_for_eight_machines(monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  devices = topologies.topology_devices(topologies.parse_topology("h200:64"))
  assert [device.process_index for device in devices] == [index // 8 for index in range(64)]
  assert {device.device_kind for device in devices} == {"NVIDIA H200"}


@needs_plugin
def test_a_compiler_without_a_gpu_is_no_matter_to_an_experiment_that_needs_none():
  root = Path(__file__).parents[2]
  words = ("--runs=results/chinchilla/results.json", "--bootstraps=0", "--json=-")
  environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
  done = subprocess.run(
    [sys.executable, "experiments/fit_scaling_law.py", *words],
    capture_output=True, text=True, cwd=root, env=environment,
  )  # fmt: skip
  assert done.returncode == 0
  assert "cuda" not in done.stderr
