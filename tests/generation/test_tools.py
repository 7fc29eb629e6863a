"""Calls are parsed and bounded, never evaluated; their results are put into the text before the model goes on."""

import dataclasses
import datetime
import threading
import time

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.config import Data, Model, Run
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.generation import loaded_model, tool_generation, tools
from gen.generation.decoding import decode
from gen.generation.decoding.sampling import GREEDY
from gen.models import language_model

REGISTRY = tools.standard_tools({"moon": "made of [green] cheese"}, datetime.date(2024, 2, 28))
BYTES = ByteTokenizer()


@pytest.mark.parametrize(
  "expression",
  [
    "1+2*3",
    "-(4-9)**2",
    "7//2-7%3",
    "1/8",
    "2**0.5",
    "2**-3",
    "((1))",
    "1e3+1",
    "-2**2",
    "12 * 12",
    "10**20",
  ],
)
def test_arithmetic_is_pythons(expression):
  assert tools.evaluate_arithmetic(expression) == eval(expression)


def joined(leaves):
  """Returns expressions of two others in parentheses."""
  return st.tuples(leaves, st.sampled_from("+-*"), leaves).map(lambda parts: "(" + "".join(parts) + ")")


@settings(max_examples=100)
@given(st.recursive(st.integers(0, 99).map(str), joined))
def test_any_sum_and_product_is_pythons(expression):
  assert tools.evaluate_arithmetic(expression) == eval(expression)


@pytest.mark.parametrize(
  ("expression", "sentence"),
  [
    ("1/0", "division by zero"),
    ("9**9**9", "too large"),
    ("10**400*10**400", "too large"),
    ("1e308*10**300", "inf|too large"),
    ("(-8)**0.5", "no real number"),
    ("__import__('os')", "not arithmetic"),
    ("x", "not arithmetic"),
    ("'a'*3", "not arithmetic"),
    ("True+1", "not arithmetic"),
    ("1 if 1 else 2", "not arithmetic"),
    ("", "not arithmetic"),
    ("1+" * 60 + "1", "nested too deeply"),
    ("(" * 60 + "1" + ")" * 59, "not arithmetic"),
  ],
)
def test_what_is_no_arithmetic_or_too_much_of_it_is_refused_at_once(expression, sentence):
  begun = time.perf_counter()
  found = tools.standard_tools().result(f"calculator({expression!r})")
  assert found.startswith("error: ") or found == "inf"
  assert any(part in found for part in sentence.split("|"))
  assert time.perf_counter() - begun < 5


def test_the_standard_tools():
  assert REGISTRY.result('calculator("6*7")') == "42"
  assert REGISTRY.result("date()") == "2024-02-28"
  assert REGISTRY.result("date(days=2)") == "2024-03-01"
  assert REGISTRY.result('lookup("moon")') == "made of [green) cheese"
  assert REGISTRY.result('lookup("sun")') == "error: nothing is known of sun"


def numbers():
  registry = tools.ToolRegistry(tools.ToolLimits(seconds=1.0, call=60, result=20))

  @registry.tool
  def scale(x: float, by: int = 2, up: bool = True) -> float:
    """Multiplies or divides."""
    return x * by if up else x / by

  @registry.tool
  def shout(text: str) -> str:
    """Says it three times."""
    return text * 3

  @registry.tool
  def sleep(seconds: float) -> str:
    """Takes its time."""
    time.sleep(seconds)
    return "awake"

  return registry


@pytest.mark.parametrize(
  ("call", "result"),
  [
    ("scale(3)", "6.0"),
    ("scale(3, 5)", "15.0"),
    (" scale(x=-3.5, up=False, by=7) ", "-0.5"),
    ('shout("a\\n")', "a a a "),
    ("scale()", "error: scale needs a value for x"[:20]),
    ("scale(1, 2, True, 4)", "error: scale takes 3 arguments, not 4"[:20]),
    ("scale(1, x=2)", "error: scale has x twice"[:20]),
    ("scale(1, size=2)", "error: scale has no argument"[:20]),
    ('scale("1")', "error: x of scale must be of type float"[:20]),
    ("scale(True)", "error: x of scale must be"[:20]),
    ("scale(1, 2.0)", "error: by of scale"[:18]),
    ("scale(1, by=True)", "error: by of scale"[:18]),
    ("scale(1+1)", "error: x of scale mu"),
    ("scale(*[1])", "error: x of scale mu"),
    ("scale(**{})", "error: scale has no "),
    ("scale(1, 0, False)", "error: float divisio"),
    ('shout("12345678")', "error: the result of"),
    ("sleep(30.0)", "error: sleep took lo"),
    ("other(1)", "error: unknown tool"),
    ("scale", "error: not a call; w"),
    ("scale(1)(2)", "error: not a call; w"),
    ("scale.real(1)", "error: not a call; w"),
    ("scale(1); scale(2)", "error: not a call; w"),
    ("", "error: not a call; w"),
    ("scale(" + "1" * 70 + ")", "error: the call is l"),
  ],
)
def test_a_call_gives_its_result_or_says_what_is_wrong(call, result):
  begun = time.perf_counter()
  assert numbers().result(call).startswith(result)
  assert time.perf_counter() - begun < 20


@settings(max_examples=100)
@given(st.one_of(st.text(max_size=50), st.text("scale(x=1,\"')[]{}*:-. \\\0", max_size=30)))
def test_any_text_as_a_call_gives_one_line(call):
  found = numbers().result(call)
  assert isinstance(found, str) and "\n" not in found and len(found) <= 20


@pytest.mark.parametrize("kind", [list, None])
def test_a_tool_whose_arguments_are_not_plain_is_refused(kind):
  def tool(a):
    return a

  tool.__annotations__ = {"a": kind} if kind else {}
  with pytest.raises(UserError, match="argument a must be positional or keyword"):
    tools.ToolRegistry().tool(tool)
  with pytest.raises(UserError, match="cannot be registered"):
    numbers().tool(lambda: 1)


def test_a_call_is_open_where_its_bracket_is():
  assert tools.find_open_call('a [date() and [lookup("x") ->') == 'lookup("x")'
  for text in ("a ->", "[note] a ->", "[date() -> ", "[ ->"[:4] + "x", "[ ->"[1:]):
    assert tools.find_open_call(text) is None


def restored(family="decoder", objective="causal"):
  model = Model(family=family, vocab=BYTES.vocab, width=8, depth=1, head_width=4, context=120)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), language_model.parameter_shapes(model)
  )
  run = Run(model=model, data=Data(objective=objective, length=64))
  return loaded_model.LoadedModel(model, params, BYTES, loaded_model.load_run(run, BYTES), "a test")


@pytest.fixture
def script(monkeypatch):
  """Lets a model write what it is told to after each text that it reads, which are kept."""
  read = []

  def use(lines):
    def generate(module, params, prompts, sampler, key, *, start=(0,), decode=None, prefix=False, **limits):
      rows, stopped = [], []
      for ids in prompts:
        text = BYTES.decode(start) or BYTES.decode(ids)
        read.append(text)
        line = next(line for end, line in lines.items() if text.endswith(end))
        cut = min([line.index(s) + len(s) for s in limits["stop_strings"] if s in line], default=len(line))
        whole = [*BYTES.encode(line[:cut]), *([BYTES.eos] if cut == len(line) else [])]
        rows.append(np.array(whole[: limits["max_tokens"]], np.int32))
        stopped.append(len(whole) <= limits["max_tokens"])
      return FakeGenerated(rows, np.array(stopped))

    monkeypatch.setattr(decode, "generate", generate)
    return read

  return use


@dataclasses.dataclass
class FakeGenerated:
  drawn: list
  stopped_b: np.ndarray

  def rows(self):
    return self.drawn


@pytest.mark.parametrize("family", ["decoder", "encoder_decoder"])
def test_results_are_put_in_before_the_model_goes_on(script, family):
  read = script({
    "42]": " so 42.", "2024-02-28]": "!", "q1": 'is [calculator("6*7") -> 99]', "q2": "no [x] -> call", " ->": " more",
  })  # fmt: skip
  model = restored(family, "prefix" if family == "encoder_decoder" else "causal")
  one, two = tool_generation.answer_with_tools(model, ["q1", "q2"], REGISTRY, GREEDY, jax.random.key(0))
  assert one.text == 'is [calculator("6*7") -> 42] so 42.'
  assert one.calls == [tool_generation.ToolCall('calculator("6*7")', "42")] and one.stopped
  assert one.tokens == len('is [calculator("6*7") ->') + len(" so 42.") + 1
  assert two.text == "no [x] -> more" and two.calls == []
  assert any('[calculator("6*7") -> 42]' in text for text in read)


def test_errors_are_fed_back_and_calls_are_counted(script):
  script(
    {"zero]": "; [date() -> ?", "calls]": " end", "28]": "; [date() -> ?", "q": "[calculator('1/0') -> ?"}
  )
  (one,) = tool_generation.answer_with_tools(
    restored(), ["q"], REGISTRY, GREEDY, jax.random.key(0), max_calls=2
  )
  results = [call.result for call in one.calls]
  assert results == ["error: division by zero", "2024-02-28", "error: no more than 2 calls"]
  assert one.text.endswith("[date() -> error: no more than 2 calls] end")


def test_the_model_itself_writes_no_more_than_it_may(script):
  script({"28]": " and on", "q": "[date() -> ?"})
  (one,) = tool_generation.answer_with_tools(
    restored(), ["q"], REGISTRY, GREEDY, jax.random.key(0), max_tokens=13
  )
  assert one.text == "[date() -> 2024-02-28] an" and one.tokens == 13 and not one.stopped


def test_stop_strings_end_a_text_and_are_not_shown(script):
  script({"q": "a [date() b; c"})
  (one,) = tool_generation.answer_with_tools(
    restored(), ["q"], REGISTRY, GREEDY, jax.random.key(0), stop_strings=(";",)
  )
  assert one.text == "a [date() b" and one.stopped


def test_without_calls_the_text_is_that_of_plain_decoding():
  model, prompts = restored(), ["one", "another"]
  told = tool_generation.answer_with_tools(model, prompts, REGISTRY, GREEDY, jax.random.key(1), max_tokens=9)
  ids = [[BYTES.bos, *BYTES.encode(prompt)] for prompt in prompts]
  plain = decode.generate(
    model.module, model.params, ids, GREEDY, jax.random.key(1), max_tokens=9, stop_tokens=(1,)
  )
  for one, row in zip(told, plain.rows(), strict=True):
    assert one.text == BYTES.decode([id for id in row if not BYTES.is_special(int(id))])
  with pytest.raises(UserError, match="an encoder cannot call tools"):
    tool_generation.answer_with_tools(
      restored("encoder", "masked"), prompts, REGISTRY, GREEDY, jax.random.key(1)
    )


def test_abandoned_tools_do_not_keep_the_program_alive():
  numbers().result("sleep(30.0)")
  abandoned = [thread for thread in threading.enumerate() if thread.name.startswith("tool ")]
  assert abandoned and all(thread.daemon for thread in abandoned)
