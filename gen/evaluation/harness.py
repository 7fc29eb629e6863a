"""Models of `gen` behind lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness).

    python -m gen.evaluation.harness run --model gen --model_args checkpoint=runs/decoder --tasks arc_easy

is the harness's own command line with one additional model. Its releases after 0.4.13 use the entry point `gen`
automatically; the extra `harness` installs the harness, without torch or transformers.

Tokenization follows the harness's convention for causal models, so that scores are comparable with other backends.
Spaces at a context's end belong to the continuation. The continuation is the ids of the complete text after those of
the context. An empty context is the first token of a text. Texts beyond the window are cut at their left. Unlike in
its `hf` backend, names of special tokens in a text are encoded as text, and a rolling text starts with only one first
token if the tokenizer adds one itself.
"""

import functools
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from gen.errors import UserError
from gen.evaluation import likelihood
from gen.evaluation.harness_requests import RequestSettings, read_settings, rolling_windows
from gen.evaluation.likelihood import ScoredRow
from gen.generation import loaded_model, text
from gen.generation.decoding import compiled_decoding, decode, decoders, decoding_batch
from gen.generation.loaded_model import LoadedModel

NAME = "gen"
EXTRA = "needs lm-evaluation-harness: uv run --extra harness, or pip install 'lm-eval>=0.4.13,<0.5'"
DEFAULT_DEVICE = "cuda:0"  # of the harness's command line
LENGTH = 2048  # tokens per window for a model without one, as in the harness


class Backend:
  """The three request types of the harness's `LM` for a decoder or a recurrent model; works without the harness.

  Requests are objects with `args`, a tuple.
  """

  def __init__(
    self,
    checkpoint: str | Path | LoadedModel,
    *,
    step: int | None = None,
    tokenizer: str | None = None,
    batch_size: int | str | None = None,
    max_length: int | None = None,
    max_gen_toks: int = 256,
    seed: int = 0,
    device: str | None = None,
    max_batch_size: int | None = None,
    **others: Any,
  ) -> None:
    """Loads the model.

    Args:
      checkpoint: folder of a run, or of a Hugging Face checkpoint; or a loaded model.
      step: of a run's checkpoint; None is the latest.
      tokenizer: a folder with the model's tokenizer, if it is elsewhere.
      batch_size: rows per batch; None and auto choose one.
      max_length: tokens per window, at most the model's context window, which is the default.
      max_gen_toks: new tokens if a task does not set them.
      seed: of sampled texts.
      device: the kind of device that jax must use; None, and cuda:0 (the harness's default), accept any.
      max_batch_size: rows per batch if batch_size is auto.
      **others: none is allowed.

    Raises:
      UserError: for a model that does not continue texts, or an invalid argument.
    """
    super().__init__()
    if others:
      raise UserError(f"model argument {min(others)!r} is unknown; see gen.evaluation.harness.Backend")
    _require_device(device)
    self.restored = (
      checkpoint if isinstance(checkpoint, LoadedModel) else _loaded(checkpoint, step, tokenizer)
    )
    model = self.restored.model
    if model.family in ("encoder", "encoder_decoder") or not self.restored.reading.head:
      raise UserError(
        f"{self.restored.where} cannot continue text; take a decoder or a recurrent model with a language-model head"
      )
    auto = batch_size is None or str(batch_size).startswith("auto")
    self.batch = _positive("batch_size", (max_batch_size or likelihood.MAX_ROWS) if auto else batch_size)
    window = decoders.window_length(model)
    self.max_length = _positive("max_length", max_length or window or LENGTH)
    if window and self.max_length > window:
      raise UserError(f"max_length {self.max_length} is more than the context window's {window}")
    self.max_gen_toks = _positive("max_gen_toks", max_gen_toks)
    if not 0 <= seed < 1 << 32:
      raise UserError(f"seed {seed} is not allowed; it must lie between 0 and 2^32 - 1")
    self._key = jax.random.key(seed)

  @property
  def tokenizer_name(self) -> str:
    """The tokenizer's name in the harness's caches."""
    return f"{NAME}-{self.restored.tokenizer.hash}"

  @property
  def before(self) -> int:
    """The token before a text: bos, or eos if there is none.

    Raises:
      UserError: if there is neither.
    """
    tokenizer, how = self.restored.tokenizer, self.restored.reading
    known: list[int | None] = [tokenizer.bos, tokenizer.eos, *how.before, *how.stop]
    for number in known:
      if number is not None:
        return number
    raise UserError(
      f"{self.restored.where} has no begin or end token to predict the first token from; take a tokenizer with one"
    )

  def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
    """Returns the log-probability of each continuation after its context, nats, and whether greedy decoding gives it.

    Raises:
      UserError: for a continuation without a token, or longer than the window; or logits that are not finite.
    """
    pairs = [request.args for request in requests]
    read = [self._pair(number, *pair) for number, pair in enumerate(pairs)]
    self._tell_cut("contexts", [len(context) + len(new) - 1 for context, new in read])
    scores = self._judged([self._row(i, [*context, *new], len(new)) for i, (context, new) in enumerate(read)])
    self._keep("loglikelihood", pairs, scores)
    return scores

  def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
    """Returns the log-probability of each text, nats; a longer text is split into `rolling_windows`."""
    texts = [request.args for request in requests]
    made = [
      self._row(number, ids, count)
      for number, (content,) in enumerate(texts)
      for ids, count in rolling_windows(self._ids(content), self.before, self.max_length)
    ]
    sums = [0.0] * len(texts)
    for row, (nats, _) in zip(made, self._judged(made), strict=True):
      sums[row.owner] += nats
    self._keep("loglikelihood_rolling", texts, sums)
    return sums

  def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
    """Returns the generated text after each context, up to its stop strings.

    Raises:
      UserError: for invalid settings.
    """
    arguments = [request.args for request in requests]
    groups: dict[str, list[int]] = {}
    for number, (_, settings) in enumerate(arguments):
      # Requests of one task mostly share their settings, which are constants of the compiled program.
      groups.setdefault(json.dumps(settings, sort_keys=True), []).append(number)
    texts = [""] * len(arguments)
    for numbers in groups.values():
      how = read_settings(arguments[numbers[0]][1], self.max_gen_toks)
      written = self._written([arguments[number][0] for number in numbers], how)
      for number, content in zip(numbers, written, strict=True):
        texts[number] = content
    self._keep("generate_until", arguments, texts)
    return texts

  def apply_chat_template(
    self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
  ) -> str:
    """Always raises: checkpoints of gen have no chat template.

    Raises:
      UserError: always.
    """
    raise UserError(f"{self.restored.where} has no chat template; leave out --apply_chat_template")

  def get_model_info(self) -> dict[str, str | int]:
    """Returns the model's entry in the harness's results."""
    size = sum(leaf.size for leaf in jax.tree.leaves(self.restored.params))
    return {"checkpoint": self.restored.where, "model_num_parameters": size, "tokenizer": self.tokenizer_name}

  def _ids(self, content: str) -> list[int]:
    return self.restored.tokenizer.encode(content).tolist()

  def _pair(self, number: int, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Returns the ids of a context, at least one, and of its continuation."""
    # As the harness does for causal models: most vocabularies have words with a leading space, none with a trailing
    # one.
    moved = len(context) - len(context.rstrip())
    context, continuation = context[: len(context) - moved], context[len(context) - moved :] + continuation
    framed = list(self.restored.reading.before)
    if context:
      context_ids = framed + self._ids(context)
      new = (framed + self._ids(context + continuation))[len(context_ids) :]
    else:
      context_ids, new = [self.before], self._ids(continuation)
      # A tokenizer may put its first token before any text; here it is the context already.
      if new[:1] == context_ids:
        new = new[1:]
    if not new or len(new) > self.max_length:
      size = f"has {len(new)} tokens, more than {self.max_length} at a time" if new else "has no tokens"
      raise UserError(f"continuation {continuation!r} of request {number} {size}; change the task")
    return context_ids, new

  def _row(self, owner: int, ids: list[int], count: int) -> ScoredRow:
    """Returns a row for predicting the last tokens of a text, cut at its left to the window."""
    # One more than the window, because the last id is a target only.
    ids = ids[-(self.max_length + 1) :]
    first = len(ids) - 1 - count
    return ScoredRow(
      owner, ids[:-1], ids[1:], first, count, prefix=first + 1 if self.restored.reading.prefix else 0
    )

  def _judged(self, made: list[ScoredRow]) -> list[tuple[float, bool]]:
    return likelihood.score_rows(self.restored, made, self.batch)

  def _written(self, contexts: list[str], how: RequestSettings) -> list[str]:
    """Returns the text after each context, longest contexts first, each with a separate key."""
    room = self.max_length - how.max_tokens
    if room < 1:
      raise UserError(
        f"max_gen_toks {how.max_tokens} leaves no tokens of {self.max_length} for the context; set"
        " generation_kwargs.max_gen_toks in the task, or the model argument max_gen_toks"
      )
    framed = list(self.restored.reading.before)
    prompts = [(framed + self._ids(context)) or [self.before] for context in contexts]
    self._tell_cut("prompts", [len(ids) + how.max_tokens for ids in prompts])
    prompts = [ids[-room:] for ids in prompts]
    # By the prompt's ids, so a text does not depend on the size of batches.
    keys = decoding_batch.row_keys(self._key, prompts)
    # Longest first, as the harness: a batch that does not fit into memory fails at once and not after an hour.
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    texts = [""] * len(prompts)
    for begin in range(0, len(order), self.batch):
      taken = order[begin : begin + self.batch]
      filled = taken + taken[-1:] * (min(self.batch, len(order)) - len(taken))  # one program for all
      made = decode.generate(
        self.restored.module, self._apart, [prompts[i] for i in filled], how.sampler, keys[jax.numpy.array(filled)],
        decode=lambda ids: text.detokenize(self.restored, ids), prefix=self.restored.reading.prefix,
        max_tokens=how.max_tokens, stop_tokens=self.restored.reading.stop, stop_strings=how.until,
        constraints=self.restored.reading.constraints,
      )  # fmt: skip
      for number, ids in zip(taken, made.rows(), strict=False):
        content = text.detokenize(self.restored, ids)
        # The text ends at the first stop string; tokens may reach beyond it.
        for stop in how.until:
          content = content.partition(stop)[0]
        texts[number] = content
    return texts

  @functools.cached_property
  def _apart(self) -> Any:
    return compiled_decoding.unstack_layers(self.restored.params)

  def _tell_cut(self, what: str, sizes: list[int]) -> None:
    cut = sum(size > self.max_length for size in sizes)
    if cut:
      logging.getLogger(__name__).warning(
        "%d of %d %s lose tokens at their left: the longest needs %d, and %d fit",
        cut, len(sizes), what, max(sizes), self.max_length,
      )  # fmt: skip

  def _keep(self, kind: str, requests: Sequence[Any], answers: Sequence[Any]) -> None:
    """Adds answers to the harness's cache, if there is one."""
    hook = getattr(self, "cache_hook", None)
    if hook is not None:
      for request, answer in zip(requests, answers, strict=True):
        hook.add_partial(kind, request, answer)


def _loaded(folder: str | Path, step: int | None, tokenizer: str | None) -> LoadedModel:
  return loaded_model.load_model(str(folder), step, tokenizer, lambda line: print(line, file=sys.stderr))


def _positive(name: str, value: Any) -> int:
  try:
    number = int(value)
  except ValueError:
    number = 0
  if number < 1:
    raise UserError(f"{name} {value!r} is not allowed; it must be a whole number above 0")
  return number


def _require_device(device: str | None) -> None:
  there = jax.default_backend()
  requested = there if device in (None, DEFAULT_DEVICE) else str(device).partition(":")[0]
  if requested not in (there, {"gpu": "cuda"}.get(there)):
    raise UserError(
      f"device {device!r} is requested, but jax runs on {there}; leave it out, or set JAX_PLATFORMS"
    )


def require_harness() -> None:
  """Checks that the harness is installed.

  Raises:
    UserError: if it is not.
  """
  try:
    import lm_eval  # noqa: F401
  except ImportError:
    raise UserError(f"evaluating on tasks {EXTRA}") from None


@functools.cache
def language_model() -> type[Backend]:
  """Returns the harness's model class.

  Raises:
    UserError: if the harness is not installed.
  """
  require_harness()
  os.environ.setdefault("DISABLE_MULTIPROC", "1")  # its bootstrap would fork a process with jax's threads
  from lm_eval.api import model

  return type("LanguageModel", (Backend, model.LM), {"__module__": __name__, "__doc__": Backend.__doc__})


def register_model() -> None:
  """Registers the model `gen` with the harness, unless the entry point did.

  Raises:
    UserError: if the harness is not installed.
  """
  kind = language_model()
  import lm_eval.models  # noqa: F401 - registers the other models
  from lm_eval.api import registry

  if NAME not in registry.model_registry:
    registry.register_model(NAME)(kind)


def __getattr__(name: str) -> Any:
  """Creates the entry point's class on demand, because it requires the harness."""
  if name == "LanguageModel":
    return language_model()
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def run_command() -> int:
  """Runs the harness's own command line with the model `gen`; returns the exit code."""
  try:
    register_model()
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  from gen.evaluation import harness  # this module under its own name, as imported by the harness

  sys.exit(harness.run_command())
