"""What does a trained model write? Continues prompts, fills blanks, or holds a conversation.

  uv run experiments/generate.py --checkpoint=runs/decoder --prompt="The function returns" --samples=4

Without --prompt it is interactive (/help lists the commands); --prompt=- reads standard input to its end. The answer
goes to standard output. An encoder fills the blanks (___) of its prompt; an encoder-decoder generates its target.
"""

from typing import Any

from absl import flags

from gen.cli import launch, shared_flags, terminal, text_input
from gen.errors import UserError
from gen.io import outputs, quantities

CHECKPOINT = shared_flags.define_checkpoint()
STEP = shared_flags.define_step()
TOKENIZER = shared_flags.define_tokenizer()
PROMPT = flags.DEFINE_string("prompt", None, "Text to continue; - reads standard input.")
TEMPERATURE = quantities.DEFINE_float(
  "temperature", 1.0, "0: greedy; 1: the model's own distribution.", lower_bound=0
)
TOP_K = quantities.DEFINE_integer("top_k", 0, "Sample from the k likeliest tokens; 0: all.", lower_bound=0)
TOP_P = quantities.DEFINE_float(
  "top_p",
  1.0,
  "Sample from the likeliest tokens whose probabilities add up to p.",
  lower_bound=0,
  upper_bound=1,
)
MIN_P = quantities.DEFINE_float(
  "min_p",
  0.0,
  "Sample from tokens whose probability is at least p times the highest.",
  lower_bound=0,
  upper_bound=1,
)
PENALTY = quantities.DEFINE_float(
  "repetition_penalty", 1.0, "Above 1: tokens that occurred before become less likely.", lower_bound=0
)
BEAMS = quantities.DEFINE_integer(
  "beams", 0, "Beams of a beam search; 0: sampling.", lower_bound=0, upper_bound=4_096
)
LENGTH_PENALTY = quantities.DEFINE_float(
  "length_penalty", 1.0, "Beam search: above 0 favours long texts.", lower_bound=-100, upper_bound=100
)
MAX_TOKENS = quantities.DEFINE_integer(
  "max_tokens", 64, "Max new tokens.", lower_bound=0, upper_bound=1_000_000
)
MIN_TOKENS = quantities.DEFINE_integer(
  "min_tokens", 0, "Min new tokens.", lower_bound=0, upper_bound=1_000_000
)
STOP = flags.DEFINE_multi_string(
  "stop", [], "Text that ends an answer and is not part of it; may be given several times."
)
SAMPLES = quantities.DEFINE_integer("samples", 1, "Number of answers.", lower_bound=1, upper_bound=1_000_000)
SEED = shared_flags.define_seed("sampled tokens")
WINDOW = flags.DEFINE_string(
  "window",
  "",
  "If a text exceeds the context window: error, truncate or slide; empty: error, or slide when interactive.",
)
BLANK = flags.DEFINE_string("blank", "___", "Mark of a blank in the prompt of an encoder.")
_special: flags.MultiFlag[str] = flags.MultiFlag(
  flags.ArgumentParser(),
  None,
  "special",
  [],
  "Special token, such as <|user|>, to recognize in prompts; may be given several times; without a value: all of the"
  " tokenizer's. By default special tokens in prompts are plain text.",
)
_special.boolean = True  # so that it may stand without a value
SPECIAL = flags.DEFINE_flag(_special)
COUNT_ONLY = flags.DEFINE_bool("count_only", False, "Only print how many tokens are used and left.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Loads the model and answers."""
  shared_flags.require_checkpoint(CHECKPOINT.value)
  if SAMPLES.value < 1:
    raise UserError(f"--samples={SAMPLES.value}: ask for at least 1")
  if PROMPT.value is None and (COUNT_ONLY.value or JSON.value):
    flag = "--count_only counts" if COUNT_ONLY.value else "--json writes the answers to"
    raise UserError(f"{flag} a prompt; give --prompt")
  prompt = text_input.read_prompt(PROMPT.value)
  from gen.generation import decode, loaded_model, prompt_answers, sampling, special_tokens, text
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  sampler = sampling.Sampler(TEMPERATURE.value, TOP_K.value, TOP_P.value, MIN_P.value, PENALTY.value)
  window = WINDOW.value or ("error" if prompt is not None else "slide")
  limits = decode.DecodeLimits(MAX_TOKENS.value, MIN_TOKENS.value, (), tuple(STOP.value), window)
  restored = loaded_model.load_model(
    CHECKPOINT.value, STEP.value, TOKENIZER.value or None, terminal.print_progress
  )
  restored = special_tokens.allow_special(restored, "true" in SPECIAL.value or SPECIAL.value)
  sampler.check(restored.model.vocab)
  limits.check(restored.model.vocab)
  if prompt is None:
    return _talk(restored, sampler, limits)
  if COUNT_ONLY.value:
    count = text.count_tokens(restored, prompt, MAX_TOKENS.value, BLANK.value)
    print(prompt_answers.count_line(count))
    json_report.write_report(count._asdict() | {"used": count.used, "left": count.left}, target)
    return 0
  prints = JSON.value != "-"
  streams = SAMPLES.value == 1 and prints
  if BEAMS.value:
    _check_beams()
    answers = prompt_answers.search_answers(
      restored, prompt, limits, BEAMS.value, LENGTH_PENALTY.value, BLANK.value
    )[: SAMPLES.value]
    if streams:
      print(answers[0].text)
  else:
    answers = prompt_answers.sample_answers(
      restored, prompt, sampler, limits, SAMPLES.value, SEED.value, BLANK.value, streams
    )
  if len(answers) > 1 and prints:
    prompt_answers.report_answers(answers)
  rows = [answer._asdict() | {"tokens": answer.tokens.tolist()} for answer in answers]
  json_report.write_report({"checkpoint": restored.where, "prompt": prompt, "answers": rows}, target)
  prompt_answers.warn_tokenless(restored, answers)
  return 0


def _check_beams() -> None:
  if BEAMS.value < SAMPLES.value:
    raise UserError(
      f"--beams={BEAMS.value} gives fewer than {SAMPLES.value} answers; ask for fewer --samples"
    )
  flags_of_sampling = (TEMPERATURE, TOP_K, TOP_P, MIN_P, PENALTY)
  unused = [flag.name for flag in flags_of_sampling if flag.value != flag.default]
  if unused:
    raise UserError(f"--beams draws no random tokens, so --{unused[0]} has no effect; leave one of them out")


def _talk(restored: Any, sampler: Any, limits: Any) -> int:
  """Answers line after line until the input ends."""
  from gen.generation.conversation import Conversation

  conversation = Conversation(restored, sampler, limits, SEED.value, BLANK.value)
  terminal.print_progress(f"{restored.where}; {conversation.settings()}; /help lists the commands")
  for line in text_input.input_lines():
    conversation.handle_line(line, lambda piece: print(piece, end="", flush=True))
    if conversation.over:
      break
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
