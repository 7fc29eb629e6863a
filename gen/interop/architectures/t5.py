"""T5 (arXiv:1910.10683), version 1.1 (arXiv:2002.05202) and T5's encoder alone, in the Hugging Face format."""

from gen.config import Model
from gen.errors import UserError
from gen.interop.architectures.architecture import TOKENS, Architecture, TensorContents, refuse_unsupported
from gen.interop.architectures.hf_config import HfConfig
from gen.interop.architectures.tensor_layouts import LINEAR, LINEAR_FROM_HEADS
from gen.interop.architectures.tensor_rows import (
  TensorRow,
  TensorRows,
  dense_rows,
  embedding_row,
  norm_rows,
  projection_rows,
)

# feed_forward_proj: activation here
_ACTIVATIONS = {
  "relu": "relu",
  "gelu": "gelu",
  "gelu_new": "gelu_tanh",
  "gated-gelu": "geglu",
  "gated-silu": "swiglu",
}


def _attention(name: str, path: str) -> TensorRows:
  parts = {"q": "query", "k": "key", "v": "value"}
  rows = tuple(
    row for part, ours in parts.items() for row in projection_rows(f"{name}.{part}", f"{path}/{ours}")
  )
  return (*rows, *projection_rows(f"{name}.o", f"{path}/out", LINEAR_FROM_HEADS))


def _stack(name: str, path: str, gated: bool, cross: bool) -> TensorRows:
  layer, layers = f"{name}.block.{{}}.layer", f"{path}/stack/layers"
  # Sub-layers are numbered: self-attention 0, cross attention 1 if there is one, then the feed-forward.
  last = 2 if cross else 1
  inward = {"wi_0": "in", "wi_1": "gate"} if gated else {"wi": "in"}
  rows: TensorRows = (
    *embedding_row(
      # One table in the first block, which the other blocks share.
      f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
      f"{path}/relative/embedding",
    ),
    *_attention(f"{layer}.0.SelfAttention", f"{layers}/attention"),
    *norm_rows(f"{layer}.0.layer_norm", f"{layers}/attention_norm"),
    *dense_rows(f"{layer}.{last}.DenseReluDense.wo", f"{layers}/feed_forward/out"),
    *norm_rows(f"{layer}.{last}.layer_norm", f"{layers}/feed_forward_norm"),
    *norm_rows(f"{name}.final_layer_norm", f"{path}/stack/norm"),
  )
  for theirs, ours in inward.items():
    rows += dense_rows(f"{layer}.{last}.DenseReluDense.{theirs}", f"{layers}/feed_forward/{ours}")
  if cross:
    rows += _attention(f"{layer}.1.EncDecAttention", f"{layers}/cross_attention")
    rows += norm_rows(f"{layer}.1.layer_norm", f"{layers}/cross_attention_norm")
  return rows


def _rows(model: Model) -> TensorRows:
  shared = embedding_row("shared.weight", TOKENS)
  if model.family == "encoder":
    return shared + _stack("encoder", "target", model.gated, cross=False)
  stacks = (("encoder", "source", False), ("decoder", "target", True))
  both = tuple(row for name, path, cross in stacks for row in _stack(name, path, model.gated, cross))
  return (*shared, *both, TensorRow("lm_head.weight", ("head/logits/kernel",), LINEAR))


def _model(hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, is_decoder=False)
  if hf.text("feed_forward_proj") not in _ACTIVATIONS:
    known = ", ".join(_ACTIVATIONS)
    raise UserError(f"config.json: feed_forward_proj {hf.text('feed_forward_proj')!r} is not one of {known}")
  decoder = any(name.startswith("decoder.block.") for name in contents.names)
  # Half of the buckets hold single distances; the others need a range to grow over.
  buckets, furthest = (
    hf.integer("relative_attention_num_buckets"),
    hf.integer("relative_attention_max_distance"),
  )
  if buckets < 4 or furthest <= buckets // 2:
    raise UserError(
      f"config.json: relative_attention_num_buckets {buckets} and relative_attention_max_distance {furthest} leave "
      "no buckets for large distances"
    )
  has_decoder = contents.kind != "T5EncoderModel" if contents.kind else decoder
  # Version 1.1 has an untied output matrix; newer files also state it explicitly.
  scaled = hf.get("scale_decoder_outputs", hf.get("tie_word_embeddings", True) is not False)
  return Model(
    family="encoder_decoder" if has_decoder else "encoder",
    vocab=hf.integer("vocab_size"),
    width=hf.integer("d_model"),
    depth=hf.integer("num_layers"),
    decoder_depth=(hf.optional_integer("num_decoder_layers") or hf.integer("num_layers"))
    if has_decoder
    else 0,
    heads=hf.integer("num_heads"),
    head_width=hf.integer("d_kv"),
    feed_forward=hf.integer("d_ff"),
    positions="relative",
    relative_buckets=buckets,
    relative_distance=furthest,
    # T5's queries are drawn smaller by sqrt(K) instead, so trained ones already hold the factor.
    attention_scale=1.0,
    activation=_ACTIVATIONS[hf.text("feed_forward_proj")],
    # T5LayerNorm neither centres nor adds a bias.
    norm="rmsnorm",
    norm_epsilon=hf.number("layer_norm_epsilon"),
    # Tied embeddings have variance 1 in T5, so hidden states are scaled before their product with them.
    logits_scale=hf.integer("d_model") ** -0.5 if scaled and contents.head and has_decoder else 1.0,
    tied=not contents.own_output,
    dropout=hf.number("dropout_rate"),
  )


def _describe(model: Model) -> dict[str, object]:
  scaled = model.logits_scale != 1.0
  names = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
  return {
    "vocab_size": model.vocab,
    "d_model": model.width,
    "num_layers": model.depth,
    "num_decoder_layers": model.target_depth,
    "num_heads": model.n_heads,
    "d_kv": model.head_width,
    "d_ff": model.feed_forward_width,
    "relative_attention_num_buckets": model.relative_buckets,
    "relative_attention_max_distance": model.relative_distance,
    "feed_forward_proj": names.get(model.activation, model.activation),
    "layer_norm_epsilon": model.norm_epsilon,
    "dropout_rate": model.dropout,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
    "is_encoder_decoder": model.family == "encoder_decoder",
    "scale_decoder_outputs": scaled,
    "tie_word_embeddings": scaled,
  }


T5 = Architecture(
  name="t5",
  prefix="",
  defaults={
    "vocab_size": 32_128,
    "d_model": 512,
    "num_layers": 6,
    "num_decoder_layers": None,
    "num_heads": 8,
    "d_kv": 64,
    "d_ff": 2048,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "feed_forward_proj": "relu",
    "layer_norm_epsilon": 1e-6,
    "dropout_rate": 0.1,
  },
  model=_model,
  describe=_describe,
  rows=_rows,
  head_names=("lm_head.",),
  classes={
    "T5ForConditionalGeneration": True,
    "T5Model": False,
    "T5EncoderModel": False,
    "T5WithLMHeadModel": True,
  },
  output="lm_head.weight",
  plain_head=True,
  unties=False,
  twins=(("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"),),
  # Older files contain a position bias of cross attention, which no version uses.
  unused=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",),
)
