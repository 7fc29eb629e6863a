"""The checkpoints that scripts/make_parity_fixtures.py makes for the tests: classes of transformers and odd sizes."""

# ruff: noqa: C408 - configs read as calls

from typing import Any, NamedTuple


class Case(NamedTuple):
  """One checkpoint: its class, its config, and what is done to it before it is saved."""

  name: str
  kind: str
  config: dict[str, Any]
  dtype: str = "float32"
  shards: str = "5GB"
  own_output: bool = False


BERT = dict(vocab_size=31, hidden_size=15, num_hidden_layers=2, num_attention_heads=3, intermediate_size=13,
            max_position_embeddings=11, type_vocab_size=3)  # fmt: skip
ROBERTA = BERT | dict(pad_token_id=3, max_position_embeddings=14, type_vocab_size=2)
GPT2 = dict(
  vocab_size=29, n_embd=15, n_layer=2, n_head=3, n_positions=10, n_inner=14, bos_token_id=1, eos_token_id=2
)
BLOOM = dict(vocab_size=27, hidden_size=15, n_layer=2, n_head=5)
T5 = dict(vocab_size=33, d_model=10, d_kv=3, d_ff=11, num_layers=1, num_decoder_layers=2, num_heads=3,
          relative_attention_num_buckets=8, relative_attention_max_distance=9, decoder_start_token_id=0)  # fmt: skip
BART = dict(vocab_size=35, d_model=12, encoder_layers=1, decoder_layers=2, encoder_attention_heads=3,
            decoder_attention_heads=2, encoder_ffn_dim=17, decoder_ffn_dim=10, max_position_embeddings=12)  # fmt: skip
ROPE = dict(rope_type="default", rope_theta=500.0)
LLAMA3 = dict(rope_type="llama3", rope_theta=900.0, factor=4.0, low_freq_factor=1.5, high_freq_factor=3.0,
              original_max_position_embeddings=40)  # fmt: skip
LLAMA = dict(vocab_size=37, hidden_size=15, intermediate_size=19, num_hidden_layers=2, num_attention_heads=3,
             num_key_value_heads=1, head_dim=6, max_position_embeddings=24, rope_parameters=ROPE,
             pad_token_id=None, bos_token_id=1, eos_token_id=2)  # fmt: skip
NEOX = dict(vocab_size=33, hidden_size=24, intermediate_size=17, num_hidden_layers=2, num_attention_heads=3,
            max_position_embeddings=20, rope_parameters=dict(ROPE, partial_rotary_factor=0.25),
            bos_token_id=1, eos_token_id=2)  # fmt: skip
MODERNBERT = dict(vocab_size=31, hidden_size=12, intermediate_size=9, num_hidden_layers=4, num_attention_heads=3,
                  max_position_embeddings=24, local_attention=5, pad_token_id=3, bos_token_id=1, eos_token_id=2,
                  cls_token_id=1, sep_token_id=2)  # fmt: skip
LABELS = dict(id2label={0: "none", 1: "B-Größe", 2: "other"}, label2id={"none": 0, "B-Größe": 1, "other": 2})
FIXTURES = (
  Case("bert", "BertModel", BERT),
  Case("bert-mlm", "BertForMaskedLM", BERT | dict(hidden_act="relu", layer_norm_eps=1e-3)),
  Case("bert-pretraining", "BertForPreTraining", BERT | dict(tie_word_embeddings=False)),
  Case("roberta", "RobertaModel", ROBERTA),
  Case("roberta-mlm", "RobertaForMaskedLM", ROBERTA),
  Case("xlm-roberta-mlm", "XLMRobertaForMaskedLM", ROBERTA | dict(pad_token_id=1)),
  Case("gpt2", "GPT2Model", GPT2 | dict(scale_attn_weights=False)),
  Case("gpt2-lm", "GPT2LMHeadModel", GPT2, shards="5KB"),
  Case("gpt2-lm-by-layer", "GPT2LMHeadModel", GPT2 | dict(scale_attn_by_inverse_layer_idx=True)),
  Case("gpt2-lm-untied", "GPT2LMHeadModel", GPT2 | dict(tie_word_embeddings=False), own_output=True),
  Case("bloom", "BloomModel", BLOOM),
  Case("bloom-lm", "BloomForCausalLM", BLOOM | dict(hidden_size=14, n_head=7), dtype="bfloat16"),
  Case("t5", "T5Model", T5),
  Case("t5-lm", "T5ForConditionalGeneration", T5),
  Case("t5-encoder", "T5EncoderModel", T5),
  Case("t5-v1.1-lm", "T5ForConditionalGeneration",
       T5 | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False), own_output=True),
  Case("bart", "BartModel", BART),
  Case("bart-lm", "BartForConditionalGeneration", BART | dict(scale_embedding=True), dtype="float16"),
  Case("llama", "LlamaModel", LLAMA | dict(rope_parameters=dict(ROPE, rope_type="linear", factor=2.5))),
  Case("llama-lm", "LlamaForCausalLM", LLAMA | dict(attention_bias=True, mlp_bias=True), shards="5KB"),
  Case("llama-3-lm", "LlamaForCausalLM", LLAMA | dict(rope_parameters=LLAMA3, tie_word_embeddings=True)),
  Case("mistral-lm", "MistralForCausalLM", LLAMA | dict(hidden_size=14, sliding_window=3)),
  Case("qwen2", "Qwen2Model", LLAMA | dict(use_sliding_window=True, sliding_window=4, max_window_layers=0)),
  Case("qwen2-lm", "Qwen2ForCausalLM", LLAMA | dict(tie_word_embeddings=True), dtype="bfloat16"),
  Case("qwen3-lm", "Qwen3ForCausalLM", LLAMA | dict(num_attention_heads=4, num_key_value_heads=2)),
  Case("gemma", "GemmaModel", LLAMA | dict(hidden_act="gelu_pytorch_tanh", head_dim=4)),
  Case("gemma-lm", "GemmaForCausalLM", LLAMA | dict(hidden_act="gelu_pytorch_tanh")),
  Case("olmo2-lm", "Olmo2ForCausalLM", LLAMA | dict(num_key_value_heads=3)),
  Case("starcoder2-lm", "Starcoder2ForCausalLM",
       LLAMA | dict(use_bias=False, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=False)),
  Case("apertus-lm", "ApertusForCausalLM", LLAMA | dict(hidden_act="gelu_new")),
  Case("gpt-neox", "GPTNeoXModel", NEOX | dict(use_parallel_residual=False)),
  Case("gpt-neox-lm", "GPTNeoXForCausalLM", NEOX),
  Case("bert-classify", "BertForSequenceClassification", BERT | LABELS),
  Case("bert-tag", "BertForTokenClassification", BERT | dict(num_labels=4)),
  Case("bert-span", "BertForQuestionAnswering", BERT),
  Case("roberta-classify", "RobertaForSequenceClassification", ROBERTA | dict(num_labels=1)),
  Case("roberta-tag", "RobertaForTokenClassification", ROBERTA | LABELS),
  Case("roberta-span", "RobertaForQuestionAnswering", ROBERTA),
  Case("gpt2-classify", "GPT2ForSequenceClassification", GPT2 | LABELS | dict(pad_token_id=0)),
  Case("gpt2-tag", "GPT2ForTokenClassification", GPT2 | dict(num_labels=4)),
  Case("gpt2-span", "GPT2ForQuestionAnswering", GPT2),
  Case("llama-classify", "LlamaForSequenceClassification", LLAMA | LABELS | dict(pad_token_id=5)),
  Case("qwen3-tag", "Qwen3ForTokenClassification", LLAMA | LABELS),
  Case("bloom-classify", "BloomForSequenceClassification", BLOOM | LABELS | dict(pad_token_id=3)),
  Case("gpt-neox-tag", "GPTNeoXForTokenClassification", NEOX | LABELS),
  Case("bart-classify", "BartForSequenceClassification", BART | LABELS),
  Case("modernbert", "ModernBertModel", MODERNBERT | dict(layer_types=["full_attention"] * 4)),
  Case("modernbert-mlm", "ModernBertForMaskedLM", MODERNBERT),
  Case("modernbert-classify", "ModernBertForSequenceClassification",
       MODERNBERT | LABELS | dict(classifier_pooling="mean", num_hidden_layers=3, global_attn_every_n_layers=2)),
  Case("modernbert-tag", "ModernBertForTokenClassification", MODERNBERT | LABELS | dict(norm_bias=True)),
)  # fmt: skip
