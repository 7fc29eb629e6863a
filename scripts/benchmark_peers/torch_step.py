"""Steps of PyTorch models, eager or compiled, for `compare.py`.

--model is nanogpt (karpathy/nanoGPT in --source), bert, bert_classifier or t5 (transformers), or lstm (torch.nn.LSTM
under an embedding and a linear head). Each step is a forward, a backward, a clip by the global norm and AdamW.
"""

import sys
from collections.abc import Callable
from typing import Any

import bursts


def nanogpt(options: Any) -> tuple[Any, Any, Callable[..., Any]]:
  """Returns nanoGPT's model, its optimizer and its loss on a batch."""
  import torch

  sys.path.insert(0, options.source)
  from model import GPT, GPTConfig

  model = GPT(
    GPTConfig(
      options.length, options.vocab, options.depth, options.heads, options.width, dropout=0.0, bias=False
    )
  )
  optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")
  rows = torch.randint(0, options.vocab, (options.batch, options.length + 1))
  return model, optimizer, lambda forward: forward(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())[1]


def _bert_config(options: Any) -> Any:
  from transformers import BertConfig

  return BertConfig(
    vocab_size=options.vocab,
    hidden_size=options.width,
    num_hidden_layers=options.depth,
    num_attention_heads=options.heads,
    intermediate_size=4 * options.width,
    max_position_embeddings=options.length,
    hidden_dropout_prob=float(options.dropout),
    attention_probs_dropout_prob=float(options.dropout),
  )


def bert_classifier(options: Any) -> tuple[Any, Any, Callable[..., Any]]:
  """Returns transformers' BERT with a classifier, and the optimizer that its trainer takes by default."""
  import torch
  from transformers import BertForSequenceClassification

  model = BertForSequenceClassification(_bert_config(options))
  ids = torch.randint(0, options.vocab, (options.batch, options.length))
  labels, attention = torch.randint(0, 2, (options.batch,)), torch.ones_like(ids)
  optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01, fused=True)
  return (
    model.train(),
    optimizer,
    lambda forward: forward(input_ids=ids, attention_mask=attention, labels=labels).loss,
  )


def bert(options: Any) -> tuple[Any, Any, Callable[..., Any]]:
  """Returns transformers' BERT for masked tokens, 15 % of which bear loss."""
  import torch
  from transformers import BertForMaskedLM

  model = BertForMaskedLM(_bert_config(options))
  ids = torch.randint(0, options.vocab, (options.batch, options.length))
  labels = torch.where(torch.rand(ids.shape) < 0.15, ids, -100)
  attention = torch.ones_like(ids)
  return (
    model,
    _adamw(model),
    lambda forward: forward(input_ids=ids, attention_mask=attention, labels=labels).loss,
  )


def t5(options: Any) -> tuple[Any, Any, Callable[..., Any]]:
  """Returns transformers' T5 on sources of --length and targets of --target."""
  import torch
  from transformers import T5Config, T5ForConditionalGeneration

  config = T5Config(
    vocab_size=options.vocab,
    d_model=options.width,
    d_kv=options.width // options.heads,
    d_ff=4 * options.width,
    num_layers=options.depth,
    num_heads=options.heads,
    dropout_rate=0.0,
    decoder_start_token_id=0,
  )
  model = T5ForConditionalGeneration(config)
  sources = torch.randint(1, options.vocab, (options.batch, options.length))
  labels = torch.randint(1, options.vocab, (options.batch, options.target))
  attention = torch.ones_like(sources)
  return (
    model,
    _adamw(model),
    lambda forward: forward(input_ids=sources, attention_mask=attention, labels=labels).loss,
  )


def lstm(options: Any) -> tuple[Any, Any, Callable[..., Any]]:
  """Returns torch.nn.LSTM between an embedding and a linear head."""
  import torch
  from torch import nn

  class Model(nn.Module):
    def __init__(self) -> None:
      super().__init__()
      self.embedding = nn.Embedding(options.vocab, options.width)
      self.layers = nn.LSTM(options.width, options.width, options.depth, batch_first=True)
      self.head = nn.Linear(options.width, options.vocab, bias=False)

    def forward(self, ids: Any, targets: Any) -> Any:
      logits = self.head(self.layers(self.embedding(ids))[0])
      return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

  model = Model()
  rows = torch.randint(0, options.vocab, (options.batch, options.length + 1))
  return model, _adamw(model), lambda forward: forward(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())


def _held(model: Any, optimizer: Any, steps: Callable[[int], object]) -> int:
  """Returns the bytes of parameters, moments and all else that an eager step holds at its worst moment."""
  import torch
  from torch.profiler import ProfilerActivity, profile

  tensors = [*model.parameters(), *model.buffers()]
  tensors += [
    value for moments in optimizer.state.values() for value in moments.values() if torch.is_tensor(value)
  ]
  with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
    steps(1)
  events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
  held = peak = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
  for event in sorted(events, key=lambda event: event.start_ns()):
    held += event.nbytes()
    peak = max(peak, held)
  return peak


def _adamw(model: Any) -> Any:
  import torch

  return torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1)


def main() -> None:
  """Serves bursts of steps."""
  options = bursts.arguments(__doc__ or "", model="nanogpt", source="", compile="False", dropout="0")
  import torch

  torch.manual_seed(0)
  before = bursts.peak_bytes()
  model, optimizer, loss_of = globals()[options.model](options)
  forward = torch.compile(model) if options.compile == "True" else model

  def steps(count: int) -> None:
    for _ in range(count):
      loss = loss_of(forward)
      loss.backward()
      torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
      optimizer.step()
      optimizer.zero_grad(set_to_none=True)
    assert loss.isfinite().item()

  held = (lambda: 0) if options.compile == "True" else lambda: _held(model, optimizer, steps)
  bursts.serve(steps, before, held=held)


if __name__ == "__main__":
  main()
