"""What does a trained model write? Continues prompts, fills blanks, or holds a conversation.

  uv run experiments/generate.py --checkpoint=runs/decoder --prompt="The function returns" --samples=4
  uv run experiments/generate.py --checkpoint=runs/chat --chat --prompt="How are you?"

Without --prompt it is interactive (/help lists the commands, Ctrl-D ends it) and answers each line of standard input;
--prompt=- reads standard input to its end. With --chat lines are messages of one dialogue. The answer goes to standard
output. An encoder fills the blanks (___) of its prompt; an encoder-decoder generates its target.
"""

import dataclasses

from absl import flags

from gen.cli import compile_clock, launch, shared_flags, terminal, text_input
from gen.errors import UserError
from gen.generation import decoding_flags
from gen.io import outputs, quantities

CHECKPOINT = shared_flags.define_checkpoint()
STEP = shared_flags.define_step()
TOKENIZER = shared_flags.define_tokenizer()
PROMPT = flags.DEFINE_string("prompt", None, "Text to continue; - reads standard input.")
decoding_flags.define_flags()
SAMPLES = quantities.DEFINE_integer("samples", 1, "Number of answers.", lower_bound=1, upper_bound=1_000_000)
SEED = shared_flags.define_seed("sampled tokens")
BLANK = flags.DEFINE_string("blank", "___", "Mark of a blank in the prompt of an encoder.")
CHAT = flags.DEFINE_bool(
  "chat", False, "The prompt, or each line, is a user's message: apply the model's chat template."
)
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
  from gen.generation import conversation, loaded_model, prompt_answers, special_tokens
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  sampler = decoding_flags.sampler_from_flags()
  limits = decoding_flags.limits_from_flags(interactive=prompt is None)
  restored = loaded_model.load_model(
    CHECKPOINT.value, STEP.value, TOKENIZER.value or None, terminal.print_progress
  )
  restored = special_tokens.allow_special(restored, decoding_flags.special_from_flags())
  if CHAT.value and prompt is not None:
    from gen.finetuning.dialogues import chat_form

    restored, prompt, marks = chat_form.begin_chat(restored, CHECKPOINT.value, prompt or "")
    limits = dataclasses.replace(limits, stop_strings=(*limits.stop_strings, *marks))
  if prompt is not None and decoding_flags.max_tokens_are_default():
    limits = prompt_answers.fit_limits(restored, prompt, limits, BLANK.value)
  sampler.check(restored.model.vocab)
  limits.check(restored.model.vocab)
  if prompt is None and CHAT.value:
    from gen.finetuning.dialogues.chat_conversation import ChatConversation

    talk = ChatConversation(restored, CHECKPOINT.value, sampler, limits, SEED.value)
    conversation.hold_conversation(talk)
    return 0
  if prompt is None:
    conversation.hold_conversation(
      conversation.Conversation(restored, sampler, limits, SEED.value, BLANK.value)
    )
    return 0
  if COUNT_ONLY.value:
    count = prompt_answers.print_count(restored, prompt, limits.max_tokens, BLANK.value)
    json_report.write_report(count, target)
    return 0
  prints = target != json_report.STANDARD_OUTPUT
  streams = SAMPLES.value == 1 and prints
  if beam_search := decoding_flags.beam_search_from_flags(SAMPLES.value):
    with compile_clock.compile_notice(terminal.print_progress):
      found = prompt_answers.search_answers(restored, prompt, limits, *beam_search, BLANK.value)
    answers = found[: SAMPLES.value]
    if streams:
      print(answers[0].text)
  else:
    with compile_clock.compile_notice(terminal.print_progress):
      answers = prompt_answers.sample_answers(
        restored, prompt, sampler, limits, SAMPLES.value, SEED.value, BLANK.value, streams
      )
  if len(answers) > 1 and prints:
    prompt_answers.report_answers(answers)
  rows = [answer._asdict() | {"tokens": answer.tokens.tolist()} for answer in answers]
  json_report.write_report({"checkpoint": restored.where, "prompt": prompt, "answers": rows}, target)
  prompt_answers.warn_tokenless(restored, answers)
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
