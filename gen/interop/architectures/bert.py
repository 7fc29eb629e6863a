"""BERT (arXiv:1810.04805), RoBERTa (arXiv:1907.11692) and XLM-RoBERTa in the Hugging Face format."""

import functools

import numpy as np

from gen.config import Model
from gen.errors import UserError
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
from gen.interop.architectures.tensor_layouts import LINEAR, LINEAR_FROM_HEADS, VECTOR
from gen.interop.architectures.tensor_rows import (
  TensorRow,
  TensorRows,
  dense_rows,
  embedding_row,
  norm_rows,
  projection_rows,
)

_LAYER = "encoder.layer.{}"
_BODY: TensorRows = (
  *embedding_row("embeddings.word_embeddings.weight", TOKENS),
  *embedding_row("embeddings.position_embeddings.weight", "target/embeddings/positions/embedding"),
  *embedding_row("embeddings.token_type_embeddings.weight", "target/embeddings/token_types/embedding"),
  *norm_rows("embeddings.LayerNorm", "target/embeddings/norm"),
  *projection_rows(f"{_LAYER}.attention.self.query", f"{LAYERS}/attention/query"),
  *projection_rows(f"{_LAYER}.attention.self.key", f"{LAYERS}/attention/key"),
  *projection_rows(f"{_LAYER}.attention.self.value", f"{LAYERS}/attention/value"),
  *projection_rows(f"{_LAYER}.attention.output.dense", f"{LAYERS}/attention/out", LINEAR_FROM_HEADS),
  *norm_rows(f"{_LAYER}.attention.output.LayerNorm", f"{LAYERS}/attention_norm"),
  *dense_rows(f"{_LAYER}.intermediate.dense", f"{LAYERS}/feed_forward/in"),
  *dense_rows(f"{_LAYER}.output.dense", f"{LAYERS}/feed_forward/out"),
  *norm_rows(f"{_LAYER}.output.LayerNorm", f"{LAYERS}/feed_forward_norm"),
  *dense_rows("pooler.dense", "pool"),
)
BERT_ROWS: TensorRows = (
  *_BODY,
  *dense_rows("cls.predictions.transform.dense", "head/transform"),
  *norm_rows("cls.predictions.transform.LayerNorm", "head/transform_norm"),
  TensorRow("cls.predictions.decoder.bias", ("head/bias",), VECTOR),
  TensorRow("cls.predictions.decoder.weight", ("head/logits/kernel",), LINEAR),
)
ROBERTA_ROWS: TensorRows = (
  *_BODY,
  *dense_rows("lm_head.dense", "head/transform"),
  *norm_rows("lm_head.layer_norm", "head/transform_norm"),
  TensorRow("lm_head.decoder.bias", ("head/bias",), VECTOR),
  TensorRow("lm_head.decoder.weight", ("head/logits/kernel",), LINEAR),
)

_BUFFERS = (r"embeddings\.(position_ids|token_type_ids)",)
# Of transformers' BertConfig, which RobertaConfig repeats but for the vocabulary and the padding.
_DEFAULTS: dict[str, object] = {
  "vocab_size": 30_522,
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.1,
  "max_position_embeddings": 512,
  "type_vocab_size": 2,
  "layer_norm_eps": 1e-12,
  "pad_token_id": 0,
}


def _model(offset: bool, hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, is_decoder=False, add_cross_attention=False, position_embedding_type="absolute")
  padding = hf.optional_integer("pad_token_id") if offset else -1
  if padding is None:
    raise UserError("config.json: pad_token_id is missing; positions are counted from it")
  # RoBERTa's positions start after the position of padding, which equals padding's id.
  first = padding + 1
  return Model(
    family="encoder",
    vocab=hf.integer("vocab_size"),
    width=hf.integer("hidden_size"),
    depth=hf.integer("num_hidden_layers"),
    heads=hf.integer("num_attention_heads"),
    head_width=split_width(hf, "hidden_size", "num_attention_heads"),
    feed_forward=hf.integer("intermediate_size"),
    # RoBERTa's 514 rows serve 512 positions.
    context=hf.integer("max_position_embeddings") - first,
    position_offset=first,
    positions="learned",
    token_types=hf.integer("type_vocab_size"),
    activation=activation_name(hf, "hidden_act"),
    norm_placement="post",
    norm_epsilon=hf.number("layer_norm_eps"),
    embedding_norm=True,
    bias=True,
    norm_bias=True,
    tied=not contents.own_output,
    # A file of the body alone gives a model without the layers before the logits.
    head_transform=contents.head,
    head_activation="gelu" if contents.head and offset else "",  # RoBERTa's head always uses gelu
    head_bias=contents.head,
    pooler="pooler.dense.weight" in contents.names,
    dropout=hf.number("hidden_dropout_prob"),
  )


def _describe(model: Model) -> dict[str, object]:
  return {
    "vocab_size": model.vocab,
    "hidden_size": model.width,
    "num_hidden_layers": model.depth,
    "num_attention_heads": model.n_heads,
    "intermediate_size": model.feed_forward_width,
    "hidden_act": ACTIVATION_NAMES.get(model.activation, model.activation),
    "hidden_dropout_prob": model.dropout,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": model.context + model.position_offset,
    "type_vocab_size": model.token_types,
    "layer_norm_eps": model.norm_epsilon,
    "pad_token_id": max(0, model.position_offset - 1),
    "tie_word_embeddings": model.tied,
  }


def _past_padding(hf: HfConfig, ids_bt: np.ndarray, _: np.ndarray) -> np.ndarray:
  """Returns positions that count tokens except padding; padding has the position before the first."""
  real_bt = ids_bt != hf.optional_integer("pad_token_id")
  # -1 for padding: with the offset added, that is the row of padding's own id.
  return np.cumsum(real_bt, axis=1) * real_bt - 1


BERT = Architecture(
  name="bert",
  prefix="bert.",
  defaults=_DEFAULTS,
  model=functools.partial(_model, False),
  describe=_describe,
  rows=lambda _: BERT_ROWS,
  head_names=("cls.",),
  classes={"BertForMaskedLM": True, "BertModel": False, "BertForPreTraining": True, "BertLMHeadModel": True},
  output="cls.predictions.decoder.weight",
  plain_head=False,
  twins=(
    ("embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
    ("cls.predictions.decoder.bias", "cls.predictions.bias"),  # only the former is added to logits
  ),
  tasks=task_heads.encoder_classes("Bert", "pooler"),
  unused=(*_BUFFERS, r"cls\.seq_relationship\.(weight|bias)", r"cls\.predictions\.bias"),
)
# 50,265 and 1 are RobertaConfig's vocabulary and padding id.
ROBERTA = Architecture(
  name="roberta",
  prefix="roberta.",
  defaults=_DEFAULTS | {"vocab_size": 50_265, "pad_token_id": 1},
  model=functools.partial(_model, True),
  describe=_describe,
  rows=lambda _: ROBERTA_ROWS,
  head_names=("lm_head.",),
  classes={"RobertaForMaskedLM": True, "RobertaModel": False, "RobertaForCausalLM": True},
  output="lm_head.decoder.weight",
  plain_head=False,
  twins=(
    ("embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
    ("lm_head.decoder.bias", "lm_head.bias"),
  ),
  tasks=task_heads.encoder_classes("Roberta", "dense"),
  unused=(*_BUFFERS, r"lm_head\.bias"),
  positions=_past_padding,
)
# XLMRobertaConfig's default vocabulary is BERT's 30,522, although the published checkpoints have 250,002.
XLM_ROBERTA = Architecture(
  **{
    **vars(ROBERTA),
    "name": "xlm-roberta",
    "defaults": ROBERTA.defaults | {"vocab_size": 30_522},
    "classes": {f"XLM{name}": head for name, head in ROBERTA.classes.items()},
    "tasks": {f"XLM{name}": task for name, task in ROBERTA.tasks.items()},
  }
)
