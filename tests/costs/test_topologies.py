"""Topologies are read from their names, and what cannot be is one sentence."""

import importlib.util

import pytest

from gen.costs import topologies
from gen.errors import UserError


@pytest.mark.parametrize(
  ("text", "chips"),
  [("v5p:4x4x4", 64), ("v5e:2x8", 16), ("v4:2x2x1", 4), ("v6e:1x1", 1), ("h100:6", 6), ("a100:24", 24)],
)
def test_a_topology_is_a_chip_and_its_grid(text, chips):
  found = topologies.parse_topology(text)
  assert (found.name, found.chips) == (text, chips)
  assert found.chip is topologies.CHIPS[text[: text.index(":")]]


@pytest.mark.parametrize(
  ("text", "sentence"),
  [
    (
      "b200:8",
      "unknown chip 'b200'; choose one of v4 .32 GiB., v5e .*, a100 .79 GiB., h100 .79 GiB., h200 .131 GiB.",
    ),
    ("h100", "give the number of GPUs, as in h100:8"),
    ("h200:8x8", "give the number of GPUs, as in h200:8"),
    ("a100:0", "give the number of GPUs"),
    ("h100:12", "give 8 GPUs or fewer, or a multiple of 8"),
    ("", "unknown chip ''"),
    ("v5p", "the grid of v5p chips has 3 axes; give 3 whole numbers, as in v5p:4x4x4"),
    ("v5p:4x4", "has 3 axes"),
    ("v5e:2x2x2", "has 2 axes; give 2 whole numbers, as in v5e:4x4"),
    ("v5e:0x2", "has 2 axes"),
    ("v5e:2x-2", "has 2 axes"),
    ("v5e:2x²", "has 2 axes"),
  ],
)
def test_a_topology_that_cannot_be_is_one_sentence(text, sentence):
  with pytest.raises(UserError, match=sentence):
    topologies.parse_topology(text)


def test_without_the_tpus_compiler_one_sentence_says_how_to_get_it(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match="--extra tpu"):
    topologies.topology_devices(topologies.parse_topology("v5e:2x2"))


def test_without_the_gpus_compiler_one_sentence_says_how_to_get_it(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match="--extra absent-gpus"):
    topologies.topology_devices(topologies.parse_topology("h100:8"))
