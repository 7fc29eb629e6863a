"""Templates name their fields, and the examples of a prompt are drawn fairly and never give the answer away."""

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.errors import UserError
from gen.generation import prompts
from gen.generation.prompts import PromptLayout, PromptTemplate

LAYOUT = PromptLayout(PromptTemplate("in {word} out {kind}"), answer="kind", separator=" | ")
POOL = [{"word": f"w{i}", "kind": "abc"[i % 3], "number": str(i)} for i in range(12)]


def test_a_template_is_filled_by_name_and_braces_in_values_mean_nothing():
  template = PromptTemplate("{{{a}}} {b} {a}")
  assert template.fields == ("a", "b")
  assert template.fill(a="{b}", b="x", c="unused") == "{{b}} x {b}"
  assert template.until("b", a="1") == "{1} "


@pytest.mark.parametrize(
  ("text", "sentence"),
  [
    ("{a", "cannot be read"),
    ("a}", "cannot be read"),
    ("{}", "a plain name"),
    ("{a.b}", "a plain name"),
    ("{a[0]}", "a plain name"),
    ("{a!r}", "a plain name"),
    ("{a:>9}", "a plain name"),
  ],
)
def test_a_template_that_cannot_be_is_one_sentence(text, sentence):
  with pytest.raises(UserError, match=sentence):
    PromptTemplate(text)


def test_a_missing_field_is_one_sentence_that_names_it():
  with pytest.raises(UserError, match=r"needs a value for \{b\}, and the item has a, c"):
    PromptTemplate("{a} {b}").fill(a="1", c="2")
  with pytest.raises(UserError, match=r"has no field \{answer\}; it has word"):
    PromptLayout(PromptTemplate("{word}"))
  with pytest.raises(UserError, match=r"needs a value for \{word\}"):
    LAYOUT.zero_shot({"kind": "a"})


@settings(max_examples=60)
@given(st.text(max_size=30))
def test_any_template_is_filled_or_refused_in_one_sentence(text):
  try:
    template = PromptTemplate(text)
    template.fill(**dict.fromkeys(template.fields, "v"))
    template.fill()
  except UserError as error:
    assert "\n" not in str(error)


def test_a_prompt_ends_where_its_answer_begins_or_has_a_blank_there():
  item = {"word": "x"}
  assert LAYOUT.zero_shot(item) == prompts.FewShotPrompt("in x out ", "in x out ", ())
  assert LAYOUT.zero_shot(item, "___").text == "in x out ___"
  told = PromptLayout(PromptTemplate("{word}={kind}."), "kind", "Say the kind.", "\n", balanced=False)
  one = told.few_shot(item, POOL[:1], 1, seed=0, blank="_")
  assert one == prompts.FewShotPrompt("Say the kind.\nw0=a.\nx=_.", "Say the kind.\nx=_.", (0,))


def test_the_item_itself_is_never_an_example():
  pool = [*POOL[:3], {"word": "w1", "kind": "z", "number": "another"}]
  for seed in range(20):
    assert set(LAYOUT.few_shot(POOL[1], pool, 2, seed).examples) == {0, 2}
  with pytest.raises(UserError, match="3 examples are requested, but the pool has 2 without the item"):
    LAYOUT.few_shot(POOL[1], pool, 3, 0)
  with pytest.raises(UserError, match="k -1 is not allowed"):
    LAYOUT.few_shot(POOL[1], pool, -1, 0)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7, 8])
def test_balanced_examples_have_as_many_of_each_answer_as_k_allows(k):
  uneven = [*POOL, *({"word": f"more{i}", "kind": "a"} for i in range(40))]
  for seed in range(10):
    chosen = LAYOUT.few_shot({"word": "x"}, uneven, k, seed).examples
    counts = collections.Counter(uneven[number]["kind"] for number in chosen)
    assert len(set(chosen)) == k
    assert max(counts.values()) - min(counts.get(kind, 0) for kind in "abc") <= 1
  anyhow = PromptLayout(LAYOUT.template, "kind", separator=" | ", balanced=False)
  kinds = [
    uneven[n]["kind"] for seed in range(30) for n in anyhow.few_shot({"word": "x"}, uneven, 8, seed).examples
  ]
  assert kinds.count("a") / len(kinds) > 0.7  # 44 of 52


def test_a_seed_decides_and_items_and_orders_differ():
  def chosen(seed, word="x", k=6):
    return LAYOUT.few_shot({"word": word}, POOL, k, seed).examples

  assert chosen(3) == chosen(3)
  assert len({chosen(seed) for seed in range(8)}) == 8
  assert chosen(3) != chosen(3, "y")
  firsts = collections.Counter(POOL[chosen(seed, k=3)[0]]["kind"] for seed in range(300))
  assert all(70 <= firsts[kind] <= 130 for kind in "abc")  # no answer has a place of its own


def test_fewer_examples_are_some_of_the_more():
  for seed in range(10):
    sets = [set(LAYOUT.few_shot({"word": "x"}, POOL, k, seed).examples) for k in (1, 2, 4, 8)]
    assert sets[0] < sets[1] < sets[2] < sets[3]
