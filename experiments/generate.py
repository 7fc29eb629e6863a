"""What does a trained model write? Continues prompts, fills blanks, or talks.

  uv run experiments/generate.py --checkpoint=runs/decoder --prompt="The function returns" --samples=4

Without --prompt it is interactive (/help lists its commands); --prompt=- reads standard input to its end. The
answer goes to standard output. An encoder fills the blanks (___) of its prompt; an encoder-decoder writes what its
training made it write about a source.
"""

import sys
from collections.abc import Iterator
from typing import Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

CHECKPOINT = flags.DEFINE_string(
  "checkpoint",
  "",
  "Folder of a run (the --workdir of experiments/pretrain.py), or of a Hugging Face checkpoint.",
)
STEP = quantities.DEFINE_integer("step", None, "Which checkpoint; by default the latest.", lower_bound=0)
TOKENIZER = flags.DEFINE_string("tokenizer", "", "Folder of a tokenizer; it must be the one of the training.")
PROMPT = flags.DEFINE_string("prompt", None, "The text to go on from; - reads standard input.")
TEMPERATURE = quantities.DEFINE_float(
  "temperature", 1.0, "0 is greedy, 1 the model's own distribution.", lower_bound=0
)
TOP_K = quantities.DEFINE_integer("top_k", 0, "Draw among so many likeliest tokens; 0 is all.", lower_bound=0)
TOP_P = quantities.DEFINE_float(
  "top_p", 1.0, "Draw among the likeliest tokens of this probability together.", lower_bound=0, upper_bound=1
)
MIN_P = quantities.DEFINE_float(
  "min_p",
  0.0,
  "Draw among tokens at least so likely, relative to the likeliest.",
  lower_bound=0,
  upper_bound=1,
)
PENALTY = quantities.DEFINE_float(
  "repetition_penalty", 1.0, "Above 1, what was said already is less likely.", lower_bound=0
)
BEAMS = quantities.DEFINE_integer(
  "beams", 0, "Search with so many beams instead of drawing.", lower_bound=0, upper_bound=4_096
)
LENGTH_PENALTY = quantities.DEFINE_float(
  "length_penalty", 1.0, "Of beam search: above 0 favours long texts.", lower_bound=-100, upper_bound=100
)
MAX_TOKENS = quantities.DEFINE_integer(
  "max_tokens", 64, "New tokens at most.", lower_bound=0, upper_bound=1_000_000
)
MIN_TOKENS = quantities.DEFINE_integer(
  "min_tokens", 0, "New tokens at least.", lower_bound=0, upper_bound=1_000_000
)
STOP = flags.DEFINE_multi_string(
  "stop", [], "Text that ends an answer, and is left out; may be given several times."
)
SAMPLES = quantities.DEFINE_integer(
  "samples", 1, "Answers to the prompt.", lower_bound=1, upper_bound=1_000_000
)
SEED = quantities.DEFINE_integer(
  "seed", 0, "The same seed gives the same text.", lower_bound=0, upper_bound=2**32 - 1
)
WINDOW = flags.DEFINE_string(
  "window",
  "",
  "Beyond the context window: error, truncate or slide; empty: error, or slide when interactive.",
)
BLANK = flags.DEFINE_string("blank", "___", "What marks a blank in the prompt of a model that fills blanks.")
_special: flags.MultiFlag[str] = flags.MultiFlag(
  flags.ArgumentParser(),
  None,
  "special",
  [],
  "A special token, such as <|user|>, that prompts hold on purpose; may be given several times; without a value, all"
  " of the tokenizer's. By default they are text.",
)
_special.boolean = True  # so that it may stand without a value
SPECIAL = flags.DEFINE_flag(_special)
COUNT_ONLY = flags.DEFINE_bool("count_only", False, "Only say how many tokens are used and left.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Loads the model and answers."""
  if not CHECKPOINT.value:
    raise UserError("--checkpoint=FOLDER is missing; give the --workdir of a run of experiments/pretrain.py")
  if SAMPLES.value < 1:
    raise UserError(f"--samples={SAMPLES.value}: ask for at least 1")
  prompt = _prompt()
  from gen.generation import decode, loaded_model, sampling, special_tokens

  sampler = sampling.Sampler(TEMPERATURE.value, TOP_K.value, TOP_P.value, MIN_P.value, PENALTY.value)
  window = WINDOW.value or ("error" if prompt is not None else "slide")
  limits = decode.DecodeLimits(MAX_TOKENS.value, MIN_TOKENS.value, (), tuple(STOP.value), window)
  restored = loaded_model.load_model(
    CHECKPOINT.value, STEP.value, TOKENIZER.value or None, lambda line: print(line, file=sys.stderr)
  )
  restored = special_tokens.allow_special(restored, "true" in SPECIAL.value or SPECIAL.value)
  sampler.check(restored.model.vocab)
  limits.check(restored.model.vocab)
  if prompt is None:
    return _talk(restored, sampler, limits)
  if COUNT_ONLY.value:
    return _count(restored, prompt)
  found = _beams(restored, prompt) if BEAMS.value else _drawn(restored, prompt, sampler, limits)
  _report(restored, prompt, found)
  _say_tokenless(restored, found)
  return 0


def _say_tokenless(restored: Any, found: list[Any]) -> None:
  """Warns if an answer holds ids without a token, which a model with more rows than ids can generate."""
  count = sum(int((answer.tokens >= restored.tokenizer.vocab).sum()) for answer in found)
  if count:
    print(
      f"{count} new ids have no token: the model has {restored.model.vocab} rows and the tokenizer"
      f" {restored.tokenizer.vocab} ids; they show as nothing",
      file=sys.stderr,
    )


def _prompt() -> str | None:
  """Returns the prompt, or None for a conversation.

  Raises:
    UserError: if it is empty or not UTF-8.
  """
  prompt = PROMPT.value
  if prompt is None and COUNT_ONLY.value:
    raise UserError("--count_only counts a prompt; give --prompt")
  if prompt is None and JSON.value:
    raise UserError("--json writes the answers to a prompt; give --prompt")
  if prompt == "-":
    prompt = _utf8(sys.stdin.buffer.read())
  elif prompt is not None and any("\ud800" <= letter <= "\udfff" for letter in prompt):
    raise UserError("--prompt is not UTF-8; give text in that encoding")
  if prompt == "":
    raise UserError("the prompt is empty; give some text to go on from")
  return prompt


def _utf8(data: bytes) -> str:
  try:
    return data.decode("utf-8")
  except UnicodeDecodeError as error:
    raise UserError(
      f"standard input is not UTF-8: byte 0x{data[error.start]:02x} at place {error.start}; give text in that encoding"
    ) from None


def _count(restored: Any, prompt: str) -> int:
  from gen.generation import text
  from gen.io import json_report

  count = text.count_tokens(restored, prompt, MAX_TOKENS.value, BLANK.value)
  window = "no context window"
  if count.left is not None:
    room = f"{count.left} left of" if count.left >= 0 else f"{-count.left} more than"
    window = f"{room} the context window's {count.window}"
  print(f"{count.prompt} tokens of the prompt and {count.new} new ones: {count.used} used, {window}")
  report = count._asdict() | {"used": count.used, "left": count.left}
  json_report.write_report(report, json_report.report_target(JSON.value))
  return 0


def _options(limits: Any) -> dict[str, Any]:
  return {name: getattr(limits, name) for name in ("max_tokens", "min_tokens", "window", "stop_strings")}


def _drawn(restored: Any, prompt: str, sampler: Any, limits: Any) -> list[Any]:
  """Returns the answers; a single one is streamed."""
  import jax

  from gen.generation import text

  streams = SAMPLES.value == 1 and JSON.value != "-"
  written, found = "", []
  steps = text.stream_answers(
    restored,
    [prompt] * SAMPLES.value,
    sampler,
    jax.random.key(SEED.value),
    blank=BLANK.value,
    every=int(streams),
    **_options(limits),
  )
  for found in steps:
    now = text.without_partial_stop(found[0].text, limits.stop_strings)
    if streams and now.startswith(written):
      print(now[len(written) :], end="", flush=True)
      written = now
  if streams:
    print(found[0].text[len(written) :])
  return found


def _beams(restored: Any, prompt: str) -> list[Any]:
  from gen.generation import beam, text

  if BEAMS.value < SAMPLES.value:
    raise UserError(f"--beams={BEAMS.value} find no {SAMPLES.value} answers; ask for fewer --samples")
  given = [flag.name for flag in (TEMPERATURE, TOP_K, TOP_P, MIN_P, PENALTY) if flag.value != flag.default]
  if given:
    raise UserError(
      f"--beams searches and draws nothing, so --{given[0]} means nothing to it; leave one of them out"
    )
  ids = text.prompt_ids(restored, prompt, BLANK.value)
  found = beam.beam_search(
    restored.module, restored.params, [ids], beams=BEAMS.value, length_penalty=LENGTH_PENALTY.value,
    start=restored.reading.start, stop_tokens=restored.reading.stop, prefix=restored.reading.prefix,
    max_tokens=MAX_TOKENS.value, min_tokens=MIN_TOKENS.value, window=WINDOW.value or "error",
    constraints=restored.reading.constraints,
  )  # fmt: skip
  answers = []
  for tokens, length, score in zip(found.tokens_bwn[0], found.lengths_bw[0], found.scores_bw[0], strict=True):
    new = tokens[:length]
    total = float(score) * float(found.lead + length) ** LENGTH_PENALTY.value
    stopped = bool(length) and int(new[-1]) in restored.reading.stop
    answers.append(text.TextAnswer(text.detokenize(restored, new), new, total, stopped))
  for answer in answers[:1] if SAMPLES.value == 1 and JSON.value != "-" else []:
    print(answer.text)
  return answers[: SAMPLES.value]


def _report(restored: Any, prompt: str, found: list[Any]) -> None:
  """Prints several answers, and writes JSON where it is asked for."""
  if len(found) > 1 and JSON.value != "-":
    for number, answer in enumerate(found, 1):
      nats = f"{answer.log_probability:.2f} nats"
      print(f"--- {number} of {len(found)}: {len(answer.tokens)} tokens, {nats}\n{answer.text}")
  from gen.io import json_report

  rows = [answer._asdict() | {"tokens": answer.tokens.tolist()} for answer in found]
  report = {"checkpoint": restored.where, "prompt": prompt, "answers": rows}
  json_report.write_report(report, json_report.report_target(JSON.value))


def _talk(restored: Any, sampler: Any, limits: Any) -> int:
  """Answers line after line until the input ends."""
  from gen.generation.conversation import Conversation

  conversation = Conversation(restored, sampler, limits, SEED.value, BLANK.value)
  print(f"{restored.where}; {conversation.settings()}; /help lists the commands", file=sys.stderr)
  for line in _lines():
    conversation.handle_line(line, _write)
    if conversation.over:
      break
  return 0


def _write(piece: str) -> None:
  print(piece, end="", flush=True)


def _lines() -> Iterator[str]:
  """Yields the lines of standard input; at a terminal with editing and history."""
  if not sys.stdin.isatty():
    for data in sys.stdin.buffer:
      yield _utf8(data).rstrip("\r\n")
    return
  import contextlib

  with contextlib.suppress(ImportError):
    import readline  # noqa: F401  arrow keys and earlier lines in input()
  while True:
    try:
      yield input("> ")
    except EOFError:
      print()
      return
    except KeyboardInterrupt:
      print("\n/quit or Ctrl-D ends the conversation", file=sys.stderr)
    except UnicodeDecodeError:
      print("error: the line is not UTF-8", file=sys.stderr)


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
