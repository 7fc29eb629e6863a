"""BART (arXiv:1910.13461) in the Hugging Face format."""

from gen.config import Model
from gen.interop.architectures import task_heads
from gen.interop.architectures.architecture import (
  ACTIVATION_NAMES,
  TOKENS,
  Architecture,
  TensorContents,
  activation_name,
  refuse_unsupported,
  split_width,
)
from gen.interop.architectures.hf_config import HfConfig
from gen.interop.architectures.tensor_layouts import LINEAR, LINEAR_FROM_HEADS, ROW
from gen.interop.architectures.tensor_rows import (
  TensorRow,
  TensorRows,
  dense_rows,
  embedding_row,
  norm_rows,
  projection_rows,
)


def _attention(name: str, path: str) -> TensorRows:
  rows: TensorRows = projection_rows(f"{name}.out_proj", f"{path}/out", LINEAR_FROM_HEADS)
  for theirs, ours in {"q_proj": "query", "k_proj": "key", "v_proj": "value"}.items():
    rows += projection_rows(f"{name}.{theirs}", f"{path}/{ours}")
  return rows


def _stack(name: str, path: str) -> TensorRows:
  layer, layers = f"{name}.layers.{{}}", f"{path}/stack/layers"
  return (
    *embedding_row(f"{name}.embed_positions.weight", f"{path}/embeddings/positions/embedding"),
    *norm_rows(f"{name}.layernorm_embedding", f"{path}/embeddings/norm"),
    *_attention(f"{layer}.self_attn", f"{layers}/attention"),
    *norm_rows(f"{layer}.self_attn_layer_norm", f"{layers}/attention_norm"),
    *_attention(f"{layer}.encoder_attn", f"{layers}/cross_attention"),
    *norm_rows(f"{layer}.encoder_attn_layer_norm", f"{layers}/cross_attention_norm"),
    *dense_rows(f"{layer}.fc1", f"{layers}/feed_forward/in"),
    *dense_rows(f"{layer}.fc2", f"{layers}/feed_forward/out"),
    *norm_rows(f"{layer}.final_layer_norm", f"{layers}/feed_forward_norm"),
  )


ROWS: TensorRows = (
  *embedding_row("shared.weight", TOKENS),
  *_stack("encoder", "source"),
  *_stack("decoder", "target"),
  # [1, V] in the file: a buffer, which training does not change.
  TensorRow("final_logits_bias", ("head/bias",), ROW),
  TensorRow("lm_head.weight", ("head/logits/kernel",), LINEAR),
)
_OFFSET = 2  # rows of the position table before the first position, as fairseq counts from padding's id + 1


def _model(hf: HfConfig, contents: TensorContents) -> Model:
  # Fields of related models (mBART, Blenderbot) that occur in files of the same model type.
  refuse_unsupported(hf, normalize_before=False, add_final_layer_norm=False, normalize_embedding=True)
  split_width(hf, "d_model", "decoder_attention_heads")
  heads, decoder_heads = hf.integer("encoder_attention_heads"), hf.integer("decoder_attention_heads")
  feed_forward, decoder_feed_forward = hf.integer("encoder_ffn_dim"), hf.integer("decoder_ffn_dim")
  return Model(
    family="encoder_decoder",
    vocab=hf.integer("vocab_size"),
    width=hf.integer("d_model"),
    depth=hf.integer("encoder_layers"),
    decoder_depth=hf.integer("decoder_layers"),
    heads=heads,
    head_width=split_width(hf, "d_model", "encoder_attention_heads"),
    decoder_heads=0 if decoder_heads == heads else decoder_heads,
    feed_forward=feed_forward,
    decoder_feed_forward=0 if decoder_feed_forward == feed_forward else decoder_feed_forward,
    context=hf.integer("max_position_embeddings"),
    position_offset=_OFFSET,
    positions="learned",
    # As in the original Transformer; BART's own files leave it off.
    embedding_scale=hf.integer("d_model") ** 0.5 if hf.flag("scale_embedding") else 1.0,
    embedding_norm=True,
    activation=activation_name(hf, "activation_function"),
    norm_placement="post",
    bias=True,
    norm_bias=True,
    tied=not contents.own_output,
    head_bias=contents.head and "final_logits_bias" in contents.names,
    dropout=hf.number("dropout"),
  )


def _describe(model: Model) -> dict[str, object]:
  return {
    "vocab_size": model.vocab,
    "d_model": model.width,
    "encoder_layers": model.depth,
    "decoder_layers": model.target_depth,
    "encoder_attention_heads": model.n_heads,
    "decoder_attention_heads": model.target.n_heads,
    "encoder_ffn_dim": model.feed_forward_width,
    "decoder_ffn_dim": model.target.feed_forward_width,
    "max_position_embeddings": model.context,
    "scale_embedding": model.embedding_scale != 1.0,
    "activation_function": ACTIVATION_NAMES.get(model.activation, model.activation),
    "dropout": model.dropout,
    "attention_dropout": 0.0,
    "is_encoder_decoder": True,
    "tie_word_embeddings": model.tied,
  }


# The defaults are those of transformers' BartConfig, for fields that config.json leaves out.
BART = Architecture(
  name="bart",
  prefix="model.",
  defaults={
    "vocab_size": 50_265,
    "d_model": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "max_position_embeddings": 1024,
    "scale_embedding": False,
    "activation_function": "gelu",
    "dropout": 0.1,
    "pad_token_id": 1,
    "decoder_start_token_id": 2,
  },
  model=_model,
  describe=_describe,
  rows=lambda _: ROWS,
  head_names=("lm_head.", "final_logits_bias"),
  classes={"BartForConditionalGeneration": True, "BartModel": False},
  tasks=task_heads.bart_classes(),
  output="lm_head.weight",
  plain_head=True,
  twins=(("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"),),
  unused=(r"(en|de)coder\.version",),
)
