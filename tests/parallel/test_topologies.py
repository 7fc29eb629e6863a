"""Topologies are read from their names, and what cannot be is one sentence."""

import importlib.util

import pytest

from gen.errors import UserError
from gen.parallel import topologies


@pytest.mark.parametrize(
  ("text", "chips"), [("v5p:4x4x4", 64), ("v5e:2x8", 16), ("v4:2x2x1", 4), ("v6e:1x1", 1)]
)
def test_a_topology_is_a_chip_and_its_grid(text, chips):
  found = topologies.parse(text)
  assert (found.name, found.chips) == (text, chips)
  assert found.chip is topologies.CHIPS[text[: text.index(":")]]


@pytest.mark.parametrize(
  ("text", "sentence"),
  [
    ("h100:8", "no chip 'h100' is known; there are v4 .32 GiB., v5e"),
    ("", "no chip ''"),
    ("v5p", "chips of v5p make a grid of 3 whole numbers, as in v5p:4x4x4"),
    ("v5p:4x4", "a grid of 3"),
    ("v5e:2x2x2", "a grid of 2 whole numbers, as in v5e:4x4"),
    ("v5e:0x2", "a grid of 2"),
    ("v5e:2x-2", "a grid of 2"),
    ("v5e:2x²", "a grid of 2"),
  ],
)
def test_a_topology_that_cannot_be_is_one_sentence(text, sentence):
  with pytest.raises(UserError, match=sentence):
    topologies.parse(text)


def test_without_the_tpus_compiler_one_sentence_says_how_to_get_it(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match="--extra tpu"):
    topologies.devices(topologies.parse("v5e:2x2"))
