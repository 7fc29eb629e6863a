"""GPT-NeoX (arXiv:2204.06745) and Pythia (arXiv:2304.01373) in the Hugging Face format.

Query, key and value are interleaved by head; a part of each head turns; attention and feed-forward may read one input.
"""

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
from gen.interop.architectures.rotary import describe_rotary, read_rotary
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
  *embedding_row("embed_in.weight", TOKENS),
  *norm_rows("layers.{}.input_layernorm", f"{LAYERS}/attention_norm"),
  *fused_rows("layers.{}.attention.query_key_value", f"{LAYERS}/attention", LINEAR_BY_HEAD, VECTORS_BY_HEAD),
  *projection_rows("layers.{}.attention.dense", f"{LAYERS}/attention/out", LINEAR_FROM_HEADS),
  *norm_rows("layers.{}.post_attention_layernorm", f"{LAYERS}/feed_forward_norm"),
  *dense_rows("layers.{}.mlp.dense_h_to_4h", f"{LAYERS}/feed_forward/in"),
  *dense_rows("layers.{}.mlp.dense_4h_to_h", f"{LAYERS}/feed_forward/out"),
  *norm_rows("final_layer_norm", "target/stack/norm"),
  TensorRow("embed_out.weight", ("head/logits/kernel",), LINEAR),
)


def _model(hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, attention_bias=True, is_decoder=False)
  head_width = split_width(hf, "hidden_size", "num_attention_heads")
  older = {"rope_theta": hf.number("rotary_emb_base"), "partial_rotary_factor": hf.number("rotary_pct")}
  return Model(
    family="decoder",
    vocab=hf.integer("vocab_size"),
    width=hf.integer("hidden_size"),
    depth=hf.integer("num_hidden_layers"),
    heads=hf.integer("num_attention_heads"),
    head_width=head_width,
    feed_forward=hf.integer("intermediate_size"),
    context=hf.integer("max_position_embeddings"),
    activation=activation_name(hf, "hidden_act"),
    norm_epsilon=hf.number("layer_norm_eps"),
    bias=True,
    norm_bias=True,
    parallel=hf.flag("use_parallel_residual"),
    tied=not contents.own_output,
    dropout=hf.number("hidden_dropout"),
    **read_rotary(hf.replaced(older), head_width),
  )


def _describe(model: Model) -> dict[str, object]:
  rotary = describe_rotary(model)
  share = rotary["rope_parameters"].setdefault("partial_rotary_factor", 1.0)
  return {
    "vocab_size": model.vocab,
    "hidden_size": model.width,
    "num_hidden_layers": model.depth,
    "num_attention_heads": model.n_heads,
    "intermediate_size": model.feed_forward_width,
    "hidden_act": ACTIVATION_NAMES.get(model.activation, model.activation),
    "max_position_embeddings": model.context or 2048,
    "layer_norm_eps": model.norm_epsilon,
    "use_parallel_residual": model.parallel,
    "attention_bias": True,
    "hidden_dropout": model.dropout,
    "attention_dropout": 0.0,
    "tie_word_embeddings": model.tied,
    "rotary_emb_base": rotary["rope_theta"],
    "rotary_pct": share,
    "rope_scaling": rotary["rope_scaling"],
    "rope_parameters": rotary["rope_parameters"],
  }


# The defaults are those of transformers' GPTNeoXConfig, the shape of GPT-NeoX-20B (arXiv:2204.06745).
GPT_NEOX = Architecture(
  name="gpt_neox",
  prefix="gpt_neox.",
  defaults={
    "vocab_size": 50_432,
    "hidden_size": 6144,
    "num_hidden_layers": 44,
    "num_attention_heads": 64,
    "intermediate_size": 24_576,
    "hidden_act": "gelu",
    "max_position_embeddings": 2048,
    "layer_norm_eps": 1e-5,
    "use_parallel_residual": True,
    "hidden_dropout": 0.0,
    "rotary_emb_base": 10_000.0,
    "rotary_pct": 0.25,
    "tie_word_embeddings": False,
  },
  model=_model,
  describe=_describe,
  rows=lambda _: ROWS,
  head_names=("embed_out.", "lm_head."),
  classes={"GPTNeoXForCausalLM": True, "GPTNeoXModel": False},
  tasks=task_heads.decoder_classes("GPTNeoX", "classify tag span", "classifier"),
  output="embed_out.weight",
  plain_head=True,
  spellings={"lm_head.weight": "embed_out.weight"},
  unused=(r"layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",),
  twins=(("embed_in.weight", "embed_out.weight"),),
)
