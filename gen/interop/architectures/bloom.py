"""BLOOM (arXiv:2211.05100) in the Hugging Face format: query, key and value are interleaved by head."""

import numpy as np

from gen.config import Model
from gen.interop.architectures import task_heads
from gen.interop.architectures.architecture import (
  LAYERS,
  TOKENS,
  Architecture,
  TensorContents,
  refuse_unsupported,
  split_width,
)
from gen.interop.architectures.hf_config import HfConfig
from gen.interop.architectures.tensor_layouts import (
  LINEAR,
  LINEAR_BY_HEAD,
  LINEAR_FROM_HEADS,
  VECTORS_BY_HEAD,
)
from gen.interop.architectures.tensor_rows import (
  TensorRow,
  TensorRows,
  dense_rows,
  embedding_row,
  fused_rows,
  norm_rows,
  projection_rows,
)

ROWS: TensorRows = (
  *embedding_row("word_embeddings.weight", TOKENS),
  *norm_rows("word_embeddings_layernorm", "target/embeddings/norm"),
  *norm_rows("h.{}.input_layernorm", f"{LAYERS}/attention_norm"),
  *fused_rows("h.{}.self_attention.query_key_value", f"{LAYERS}/attention", LINEAR_BY_HEAD, VECTORS_BY_HEAD),
  *projection_rows("h.{}.self_attention.dense", f"{LAYERS}/attention/out", LINEAR_FROM_HEADS),
  *norm_rows("h.{}.post_attention_layernorm", f"{LAYERS}/feed_forward_norm"),
  *dense_rows("h.{}.mlp.dense_h_to_4h", f"{LAYERS}/feed_forward/in"),
  *dense_rows("h.{}.mlp.dense_4h_to_h", f"{LAYERS}/feed_forward/out"),
  *norm_rows("ln_f", "target/stack/norm"),
  TensorRow("lm_head.weight", ("head/logits/kernel",), LINEAR),
)
# Names of the same sizes in older files.
_ALSO = {"n_embed": "hidden_size", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}


def _model(hf: HfConfig, contents: TensorContents) -> Model:
  hf = hf.replaced({key: hf[also] for also, key in _ALSO.items() if hf.get(also) is not None})
  refuse_unsupported(hf, apply_residual_connection_post_layernorm=False)
  return Model(
    family="decoder",
    vocab=hf.integer("vocab_size"),
    width=hf.integer("hidden_size"),
    depth=hf.integer("n_layer"),
    heads=hf.integer("n_head"),
    head_width=split_width(hf, "hidden_size", "n_head"),
    positions="alibi",
    embedding_norm=True,
    activation="gelu_tanh",
    norm_epsilon=hf.number("layer_norm_epsilon"),
    bias=True,
    norm_bias=True,
    tied=not contents.own_output,
    dropout=hf.number("hidden_dropout"),
  )


def _describe(model: Model) -> dict[str, object]:
  return {
    "vocab_size": model.vocab,
    "hidden_size": model.width,
    "n_layer": model.depth,
    "n_head": model.n_heads,
    "layer_norm_epsilon": model.norm_epsilon,
    "hidden_dropout": model.dropout,
    "attention_dropout": 0.0,
    "apply_residual_connection_post_layernorm": False,
    "tie_word_embeddings": model.tied,
  }


def _past_masked(_: HfConfig, ids_bt: np.ndarray, mask_bt: np.ndarray) -> np.ndarray:
  """Returns positions that count unmasked tokens."""
  return np.maximum(np.cumsum(mask_bt, axis=1) - 1, 0)


# The defaults are those of transformers' BloomConfig, whose sizes are those of a test model.
BLOOM = Architecture(
  name="bloom",
  prefix="transformer.",
  defaults={
    "vocab_size": 250_880,
    "hidden_size": 64,
    "n_layer": 2,
    "n_head": 8,
    "layer_norm_epsilon": 1e-5,
    "hidden_dropout": 0.0,
  },
  model=_model,
  describe=_describe,
  rows=lambda _: ROWS,
  head_names=("lm_head.",),
  classes={"BloomForCausalLM": True, "BloomModel": False},
  tasks=task_heads.decoder_classes("Bloom", "classify tag span", "classifier"),
  output="lm_head.weight",
  plain_head=True,
  twins=(("word_embeddings.weight", "lm_head.weight"),),
  positions=_past_masked,
)
