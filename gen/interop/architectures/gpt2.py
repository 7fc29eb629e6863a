"""GPT-2 in the Hugging Face format: kernels are [inputs, outputs]; queries, keys and values are concatenated."""

from gen.config import Model
from gen.interop.architectures import task_heads
from gen.interop.architectures.architecture import (
  ACTIVATION_NAMES,
  LAYERS,
  TOKENS,
  Architecture,
  TensorContents,
  activation_name,
  refuse_unsupported,
  split_width,
)
from gen.interop.architectures.hf_config import HfConfig
from gen.interop.architectures.tensor_layouts import (
  COLUMNS,
  COLUMNS_FROM_HEADS,
  COLUMNS_SIDE_BY_SIDE,
  LINEAR,
  VECTORS_SIDE_BY_SIDE,
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
  *embedding_row("wte.weight", TOKENS),
  *embedding_row("wpe.weight", "target/embeddings/positions/embedding"),
  *norm_rows("h.{}.ln_1", f"{LAYERS}/attention_norm"),
  *fused_rows("h.{}.attn.c_attn", f"{LAYERS}/attention", COLUMNS_SIDE_BY_SIDE, VECTORS_SIDE_BY_SIDE),
  *projection_rows("h.{}.attn.c_proj", f"{LAYERS}/attention/out", COLUMNS_FROM_HEADS),
  *norm_rows("h.{}.ln_2", f"{LAYERS}/feed_forward_norm"),
  # Conv1D of transformers stores [inputs, outputs], unlike Linear, which stores [outputs, inputs].
  *dense_rows("h.{}.mlp.c_fc", f"{LAYERS}/feed_forward/in", COLUMNS),
  *dense_rows("h.{}.mlp.c_proj", f"{LAYERS}/feed_forward/out", COLUMNS),
  *norm_rows("ln_f", "target/stack/norm"),
  TensorRow("lm_head.weight", ("head/logits/kernel",), LINEAR),
)


def _model(hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, add_cross_attention=False)
  return Model(
    family="decoder",
    vocab=hf.integer("vocab_size"),
    width=hf.integer("n_embd"),
    depth=hf.integer("n_layer"),
    heads=hf.integer("n_head"),
    head_width=split_width(hf, "n_embd", "n_head"),
    # null means 4 D, which 0 derives here.
    feed_forward=hf.optional_integer("n_inner") or 0,
    context=hf.integer("n_positions"),
    positions="learned",
    activation=activation_name(hf, "activation_function"),
    attention_scale=0.0 if hf.flag("scale_attn_weights") else 1.0,
    attention_scale_by_layer=hf.flag("scale_attn_by_inverse_layer_idx"),
    norm_epsilon=hf.number("layer_norm_epsilon"),
    bias=True,
    norm_bias=True,
    tied=not contents.own_output,
    dropout=hf.number("resid_pdrop"),
  )


def _describe(model: Model) -> dict[str, object]:
  return {
    "vocab_size": model.vocab,
    "n_embd": model.width,
    "n_layer": model.depth,
    "n_head": model.n_heads,
    "n_inner": model.feed_forward_width,
    "n_positions": model.context,
    "activation_function": ACTIVATION_NAMES.get(model.activation, model.activation),
    "scale_attn_weights": model.attention_scale != 1.0,
    "scale_attn_by_inverse_layer_idx": model.attention_scale_by_layer,
    "layer_norm_epsilon": model.norm_epsilon,
    "resid_pdrop": model.dropout,
    "embd_pdrop": model.dropout,
    "attn_pdrop": 0.0,
    "tie_word_embeddings": model.tied,
  }


GPT2 = Architecture(
  name="gpt2",
  prefix="transformer.",
  defaults={
    "vocab_size": 50_257,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "n_positions": 1024,
    "activation_function": "gelu_new",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "layer_norm_epsilon": 1e-5,
    "resid_pdrop": 0.1,
  },
  model=_model,
  describe=_describe,
  rows=lambda _: ROWS,
  head_names=("lm_head.",),
  classes={"GPT2LMHeadModel": True, "GPT2Model": False},
  tasks=task_heads.decoder_classes("GPT2", "classify tag span", "classifier"),
  output="lm_head.weight",
  plain_head=True,
  # Causal masks, stored as buffers.
  unused=(r"h\.\d+\.attn\.(bias|masked_bias)",),
  twins=(("wte.weight", "lm_head.weight"),),
)
