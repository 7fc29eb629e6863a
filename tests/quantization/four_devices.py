"""Places quantized models on four simulated devices; prints how values are split and how logits differ."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from gen.config import Model, Run
from gen.models import language_model
from gen.quantization import model_quantization
from gen.quantization.model_scheme import parse_scheme
from gen.sharding import layouts
from gen.training.checkpointing import quantized_checkpoints

MODEL = Model(vocab=32, width=16, depth=2, head_width=4, context=16)

if __name__ == "__main__":
  module = language_model.build_model(MODEL)
  params = jax.tree.map(np.asarray, language_model.initialize_parameters(MODEL, jax.random.key(0)))
  ids_bt = jnp.array(np.random.default_rng(0).integers(0, 32, (4, 8)))
  layout = layouts.layout_of_run(Run(model=MODEL, mesh="data=2,tensor=2", layout="ddp"))
  for words in (("int8", "int8", ""), ("int4", "none", "group:4")):
    made = model_quantization.quantize_model(params, MODEL, parse_scheme(*words)).params
    names = quantized_checkpoints.quantized_axes(language_model.logical_axes(MODEL), made)
    placed = jax.device_put(made, layout.shardings(layout.specs(names, made, "parameters")))
    apply = jax.jit(lambda tree: module.apply({"params": tree}, ids_bt))
    query = placed["target"]["stack"]["layers"]["attention"]["query"]["kernel"]
    parts = [array.addressable_shards[0].data.shape for array in (query.values, query.scales)]
    difference = float(np.abs(np.asarray(apply(placed)) - np.asarray(apply(made))).max())
    print(json.dumps({"values": parts[0], "scales": parts[1], "difference": difference}))
