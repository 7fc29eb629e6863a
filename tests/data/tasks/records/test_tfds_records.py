"""Labelled sets of TFDS: presets name features that the sets have, and classes get their names."""

import numpy as np
import pytest

from gen.data.sources.tfds_sets import NamedSet
from gen.data.tasks.reading import load_task
from gen.data.tasks.records import tfds_records
from gen.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets")
CONFIGS = {"wikiann": "wikiann/en", "wmt16_translate": "wmt16_translate/de-en", "squad": "squad/v2.0"}


@pytest.mark.parametrize("name", tfds_records.PRESETS)
def test_a_preset_names_features_of_its_set(name):
  with tfds.testing.mock_data(num_examples=3):
    opened = NamedSet(CONFIGS.get(name, name), "train")
  assert set(tfds_records.PRESETS[name].columns.values()) <= set(opened.features)
  assert set(tfds_records.PRESETS[name].splits) >= {"train", "test"}


def test_classes_of_a_named_set_have_their_names():
  with tfds.testing.mock_data(num_examples=30):
    data = load_task("classify", "tfds:glue/mnli")
    news = load_task("classify", "tfds:ag_news_subset", limit=5)
  assert set(data.labels) <= {"entailment", "neutral", "contradiction"} and len(data.labels) > 1
  assert (len(data.train), len(data.development), len(data.test)) == (27, 3, 30) and data.train[0].second_text
  assert set(news.labels) <= {"World", "Sports", "Business", "Sci/Tech"} and len(news.train) == 5


def test_languages_are_those_of_the_name_unless_told():
  with tfds.testing.mock_data(num_examples=20):
    usual = load_task("translate", "tfds:wmt16_translate/de-en").train
    turned = load_task(
      "translate", "tfds:wmt16_translate/de-en", columns={"source": "en", "target": "de"}
    ).train
  assert [(pair.source, pair.target) for pair in usual] == [(pair.target, pair.source) for pair in turned]


def test_nested_values_become_plain_ones():
  names = tfds.features.ClassLabel(names=["O", "B-PER"])
  features = tfds.features.FeaturesDict({
    "tags": tfds.features.Sequence(names),
    "answers": tfds.features.Sequence({"text": tfds.features.Text(), "answer_start": np.int32}),
    "one": names,
  })  # fmt: skip
  record = {
    "tags": np.array([1, 0]),
    "answers": {"text": np.array([b"Ann"], object), "answer_start": np.array([4], np.int32)},
    "one": np.int64(-1),
  }
  plain = {key: tfds_records._plain_value(value, features[key]) for key, value in record.items()}
  assert plain == {"tags": ["B-PER", "O"], "answers": {"text": ["Ann"], "answer_start": [4]}, "one": None}


def test_a_set_that_is_not_prepared_is_one_sentence(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  with pytest.raises(UserError, match=r"^tfds:glue/sst2: not prepared in .*download_and_prepare\(\)"):
    load_task("classify", "tfds:glue/sst2")
  with pytest.raises(UserError, match="TFDS has no such set"):
    load_task("classify", "tfds:no_such_set")
