"""What a step becomes on TPUs that are not there: attention is a kernel, no scores are left, products are narrow."""

import dataclasses
import importlib.util
import math
import re

import pytest

from gen.config import Data, Model, Run
from gen.costs import memory, topologies
from gen.sharding import layouts

pytestmark = [
  pytest.mark.release,
  pytest.mark.compiles,
  pytest.mark.optimized,  # what is read is what the compiler makes of it
  pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="needs libtpu: uv run --extra tpu pytest tests/sharding/test_tpus.py",
  ),
]
LENGTH, CHUNK, VOCAB, BATCH = 768, 48, 568, 4
MODEL = Model(
  depth=2, width=128, heads=4, head_width=64, vocab=VOCAB, dtype="bfloat16", scan=True, loss_chunk=CHUNK
)
RUN = Run(model=MODEL, data=Data(length=LENGTH, batch=BATCH), mesh="data=2,tensor=2", steps=1)


@pytest.fixture(scope="module")
def texts():
  """The text of the trainer's step for four chips of v5p, through a kernel and written out."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAX_PLATFORMS", "cpu")
    devices = topologies.topology_devices(topologies.parse_topology("v5p:2x2x1"))
    found = {}
    for attention in ("auto", "plain"):
      run = dataclasses.replace(RUN, model=dataclasses.replace(MODEL, attention=attention))
      found[attention] = memory.compile_step(run, layouts.layout_of_run(run, devices))[1]
    return found


def shapes(text):
  """Returns all shapes in a program."""
  return {
    tuple(map(int, sizes.split(","))) for sizes in re.findall(r"\b(?:bf16|f32|pred|s32)\[([\d,]+)\]", text)
  }


def test_attention_is_three_calls_of_the_kernel_on_each_chips_rows_and_heads(texts):
  calls = [line for line in texts["auto"].splitlines() if 'custom_call_target="tpu_custom_call"' in line]
  assert len(calls) == 3  # forward, keys' and values' gradients, queries'
  assert all(f"bf16[{BATCH // 2},{MODEL.n_heads // 2},{LENGTH},{MODEL.head_width}]" in line for line in calls)
  assert "tpu_custom_call" not in texts["plain"]


def test_no_buffer_has_a_number_for_each_query_and_key(texts):
  def of_scores(text):
    return {shape for shape in shapes(text) if shape.count(LENGTH) >= 2}

  assert of_scores(texts["auto"]) == set()
  assert of_scores(texts["plain"])


def test_no_product_is_of_float32_and_the_logits_of_all_tokens_never_exist(texts):
  text = texts["auto"]
  kinds = dict(re.findall(r"(%[\w.\-]+) = \(?([a-z]\w*)\[", text))
  products = [
    [kinds[name] for name in re.findall(r"%[\w.\-]+", names)]
    for names in re.findall(r" (?:convolution|dot)\(([^)]*)\)", text)
  ]
  assert len(products) >= 10 and all(each and "f32" not in each for each in products)
  of_logits = {shape for shape in shapes(text) if VOCAB // 2 in shape}
  assert any(CHUNK in shape for shape in of_logits)
  assert max(map(math.prod, of_logits)) < LENGTH * BATCH // 2 * VOCAB // 2
