"""A mixture is written in several ways, is part of a run's identity, and a mistake in it is one sentence."""

import dataclasses
import json

import pytest

from gen.cli import overrides
from gen.config import Data, Run, config_hash, from_dict, mixture, to_dict, validation
from gen.config.mixture import MixtureCorpus
from gen.errors import UserError

TWO = (MixtureCorpus("manual", weight=0.7), MixtureCorpus("law", weight=0.3))


@pytest.mark.parametrize(
  "written",
  [
    "manual=0.7,law=0.3",
    " manual = 0.7 , law=3e-1 ",
    {"manual": 0.7, "law": 0.3},
    TWO,
    [("manual", "", 0.7), {"name": "law", "weight": 0.3}],
  ],
)
def test_a_mixture_is_written_as_text_or_as_python(written):
  assert Data(mixture=written).mixture == TWO


@pytest.mark.parametrize(
  ("text", "corpus"),
  [
    ("law=20M max 4 epochs", MixtureCorpus("law", weight=2e7, max_epochs=4.0)),
    ("law max 0.5", MixtureCorpus("law", max_epochs=0.5)),
    ("package:nltk==3.10.4:nltk/*.py=2", MixtureCorpus("package:nltk==3.10.4:nltk/*.py", weight=2.0)),
    ("package:networkx==3.6.1", MixtureCorpus("package:networkx==3.6.1")),
  ],
)
def test_an_item_has_a_name_a_weight_and_a_limit(text, corpus):
  assert mixture.read_mixture(text) == (corpus,)


def test_the_text_of_a_mixture_reads_back():
  corpora = mixture.read_mixture("a=0.5,b=2 max 3 epochs,c max 1 epochs")
  assert mixture.read_mixture(mixture.mixture_text(corpora)) == corpora


@pytest.mark.parametrize(
  "value", ["manual=0.7,law=0.3", "{'manual': 0.7, 'law': 0.3}", "(('manual','',.7), ('law','',0.3,0))"]
)
def test_the_command_line_takes_each_form(value):
  (word,) = overrides.check_overrides([f"--config.data.mixture={value}"], Run)
  # The flags' own parser reads a literal, which the config turns into corpora.
  assert Data(mixture=eval(word.partition("=")[2])).mixture == TWO


def test_a_run_keeps_its_mixture_in_json_and_in_its_hash():
  run = Run(steps=3, data=Data(mixture=TWO))
  assert from_dict(Run, json.loads(json.dumps(to_dict(run)))) == run
  others = [
    dataclasses.replace(run.data, mixture="manual=0.6,law=0.4"),
    dataclasses.replace(run.data, mixture="manual=0.7,law=0.3 max 2 epochs"),
    dataclasses.replace(run.data, mixture_schedule=((0.9, 0.0, 1.0),)),
    dataclasses.replace(run.data, unique_tokens=1000),
    Data(),
  ]
  hashes = {config_hash(dataclasses.replace(run, data=data)) for data in [run.data, *others]}
  assert len(hashes) == 6
  unread = dataclasses.replace(run.data, corpus="law")  # a mixture stands in its place
  assert config_hash(dataclasses.replace(run, data=unread)) == config_hash(run)


def test_a_run_without_a_mixture_has_the_hash_of_earlier_versions():
  assert config_hash(Run(steps=3)) == "4a5359cc23ec"


BAD = [
  ({"mixture": "manual=0.7,law=-0.3"}, "the weight of law is -0.3; it must be a finite number of 0 or more"),
  ({"mixture": {"manual": 0.7, "law": float("nan")}}, "the weight of law is nan; it must be a finite number"),
  ({"mixture": {"manual": 0.7, "law": "much"}}, "the weight of law is much; it must be a finite number"),
  ({"mixture": "manual=0,law=0"}, "data.mixture: all weights are 0; give at least one corpus more than 0"),
  ({"mixture": "law=0.5,manual=1,law=0.5"}, "data.mixture names 'law' twice"),
  ({"mixture": (MixtureCorpus("a", "law", 1.0), MixtureCorpus("b", "law", 1.0))}, "names 'law' twice"),
  ({"mixture": "manual=0.7,law"}, "data.mixture gives law no weight; write law=0.5, or set"),
  ({"mixture": TWO, "mixture_temperature": 2.0}, "data.mixture_temperature 2 sets weights by size, but"),
  ({"mixture": "manual,law", "mixture_temperature": -1.0}, "data.mixture_temperature is -1.0"),
  ({"mixture": "manual=1 max -2"}, "the most epochs of manual is -2"),
  (
    {"mixture": TWO, "mixture_unit": "bytes"},
    "data.mixture_unit is 'bytes'; it must be one of share, tokens",
  ),
  ({"mixture": TWO, "mixture_schedule": ((0.9, 1.0),)}, "one weight for each of manual, law"),
  ({"mixture": TWO, "mixture_schedule": ((0.9, 0, 1), (0.5, 1, 0))}, "begins its weights at 0.5 of the run"),
  ({"mixture": TWO, "mixture_schedule": ((1.0, 0, 1),)}, "fractions must ascend and lie between 0 and 1"),
  ({"mixture": TWO, "mixture_schedule": ((0.5, 0, 0),)}, "from 0.5 of the run on, all weights are 0"),
  ({"mixture_schedule": ((0.5, 1),)}, "but data.mixture is empty"),
  (
    {"mixture": TWO, "mixture_unit": "tokens", "mixture_schedule": ((0.5, 1, 0),)},
    "which hold for the whole run; leave one out",
  ),
  ({"mixture": TWO, "stream": True}, "data.stream reads one text in order"),
  ({"unique_tokens": -1}, "data.unique_tokens is -1; it must be 0 or more"),
]


@pytest.mark.parametrize(("changes", "sentence"), BAD, ids=lambda value: str(value)[:50])
def test_a_mistake_is_one_sentence(changes, sentence):
  with pytest.raises(UserError) as raised:
    validation.check_run(Run(steps=3, data=Data(**changes)))
  assert sentence in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
  ("text", "sentence"),
  [
    ("manual=lots", "the weight of manual is 'lots'"),
    ("manual=nan,law=1", "the weight of manual is 'nan': nan is not a finite number"),
    ("=0.7,law=0.3", "has a corpus without a name"),
    ("manual=0.7,,law=0.3", "has a corpus without a name"),
    ("law=1 max often", "the most epochs of law is 'often'"),
    ("law=1 max 0 epochs", "the most epochs of law is 0; write law=0 to evaluate it alone"),
  ],
)
def test_text_that_is_no_mixture_is_one_sentence(text, sentence):
  with pytest.raises(UserError) as raised:
    overrides.check_overrides([f"--config.data.mixture={text}"], Run)
  assert sentence in str(raised.value) and "\n" not in str(raised.value)


def test_weights_that_do_not_sum_to_one_are_said():
  assert mixture.normalization_line(Data(mixture=TWO)) == ""
  line = mixture.normalization_line(Data(mixture="manual=3,law=1"))
  assert line == "the weights of data.mixture sum to 4; divided by that they are manual 0.75, law 0.25"
