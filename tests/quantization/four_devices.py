"""Saves quantized models, loads them onto four simulated devices; prints how values are split and logits differ."""

import json
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gen.config import Data, Model, Run
from gen.generation import loaded_model
from gen.models import language_model
from gen.quantization import model_quantization, quantized_run
from gen.quantization.model_scheme import parse_scheme
from gen.sharding import layouts

MODEL = Model(vocab=32, width=16, depth=2, head_width=4, context=16)

if __name__ == "__main__":
  module = language_model.build_model(MODEL)
  params = jax.tree.map(np.asarray, language_model.initialize_parameters(MODEL, jax.random.key(0)))
  ids_bt = jnp.array(np.random.default_rng(0).integers(0, 32, (4, 8)))
  layout = layouts.layout_of_run(Run(model=MODEL, mesh="data=2,tensor=2", layout="ddp"))
  for words in (("int8", "int8", ""), ("int4", "none", "group:4")):
    made = model_quantization.quantize_model(params, MODEL, parse_scheme(*words)).params
    with tempfile.TemporaryDirectory() as folder:
      meta = {"tokenizer": loaded_model.ByteTokenizer().hash}
      run = Run(model=MODEL, data=Data(tokenizer="bytes"), steps=1)
      quantized_run.save_quantized(Path(folder) / "a", Path(folder) / "b", run, 3, made, meta, {})
      placed = loaded_model.load_model(Path(folder) / "b", layout=layout).params
    apply = jax.jit(lambda tree: module.apply({"params": tree}, ids_bt))
    query = placed["target"]["stack"]["layers"]["attention"]["query"]["kernel"]
    parts = [array.addressable_shards[0].data.shape for array in (query.values, query.scales)]
    difference = float(np.abs(np.asarray(apply(placed)) - np.asarray(apply(made))).max())
    print(json.dumps({"values": parts[0], "scales": parts[1], "difference": difference}))
