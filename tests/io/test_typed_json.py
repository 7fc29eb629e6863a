"""Records go to JSON and come back the same; what cannot be one is a sentence with file and field."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from gen.errors import UserError
from gen.io import typed_json


@dataclasses.dataclass(frozen=True)
class Spot:
  """A place with a loss."""

  loss: float
  sizes: list[int]
  span: tuple[float, float] = (0.0, 1.0)
  note: str | None = None


@dataclasses.dataclass(frozen=True)
class Survey:
  """Spots by name, and what may be missing."""

  spots: dict[str, Spot]
  best: Spot | None
  limit: float | list[float] | None = None
  found: bool = True


SURVEY = Survey({"a": Spot(2.5, [3, 7]), "b": Spot(1.5, [], (2.0, 5.0), "far")}, None, [0.25, 0.5])


def through_json(survey):
  return typed_json.decode_record(Survey, json.loads(json.dumps(typed_json.encode_record(survey))), "x.json")


@pytest.mark.parametrize("limit", [None, 0.75, 3, [0.25, 0.5]])
def test_records_come_back_as_they_were(limit):
  survey = dataclasses.replace(SURVEY, limit=limit)
  assert through_json(survey) == survey


def test_a_field_without_a_value_is_left_out_only_if_none_is_its_default():
  assert typed_json.encode_record(dataclasses.replace(SURVEY, limit=None)) == {
    "spots": {
      "a": {"loss": 2.5, "sizes": [3, 7], "span": [0.0, 1.0]},
      "b": {"loss": 1.5, "sizes": [], "span": [2.0, 5.0], "note": "far"},
    },
    "best": None,
    "found": True,
  }


def test_numbers_that_json_lacks_are_null_and_come_back_as_nan():
  values = typed_json.encode_record(Spot(math.inf, [1], (math.nan, 2.0)))
  assert values["loss"] is None and values["span"] == [None, 2.0]
  spot = typed_json.decode_record(Spot, values, "x.json")
  assert math.isnan(spot.loss) and math.isnan(spot.span[0]) and spot.span[1] == 2.0


def test_numbers_of_numpy_become_those_of_python():
  values = typed_json.encode_record(Spot(np.float64(0.1), np.array([3, 5]), (np.float32(0.5), 1.0)))
  assert json.dumps(values) == '{"loss": 0.1, "sizes": [3, 5], "span": [0.5, 1.0]}'


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    ({"found": 1}, "x.json: found is '1', which is not of type bool"),
    ({"best": {"sizes": []}}, "x.json: best lacks the field 'loss'"),
    ({"best": 7}, "x.json: best is '7'; it must be an object"),
    ({"limit": "low"}, "x.json: limit is 'low', which is not of type float or list[float]"),
    ({"spots": {"c": {"loss": True, "sizes": []}}}, "x.json: spots.c: loss is 'True', which is not of type float"),
    ({"spots": {"c": {"loss": 1, "sizes": [1, 2.5]}}}, "x.json: spots.c: sizes[1] is '2.5', which is not of type int"),
    ({"spots": {"c": {"loss": 1, "sizes": [], "span": [1]}}}, "is '[1]', which is not of type tuple[float, float]"),
    ({"worst": 1}, "x.json has no field 'worst'; it has spots, best, limit, found"),
  ],
)  # fmt: skip
def test_what_is_no_such_record_is_one_sentence(change, sentence):
  with pytest.raises(UserError, match=re.escape(sentence)):
    typed_json.decode_record(Survey, typed_json.encode_record(SURVEY) | change, "x.json")


def test_a_value_that_is_no_object_is_named():
  with pytest.raises(UserError, match=re.escape("x.json is '[3]'; it must be an object")):
    typed_json.decode_record(Survey, [3], "x.json")
