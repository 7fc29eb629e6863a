"""Spans survive every tagging scheme, and a scheme is told from its tags."""

import random

import pytest

from gen.data.tasks import tag_schemes
from gen.data.tasks.reading import load_task
from gen.data.tasks.tag_schemes import Span


def draw_spans(rng, length):
  """Returns random spans that do not overlap; neighbours often touch."""
  spans, start = [], 0
  while start < length:
    if rng.random() < 0.6:
      end = min(start + rng.randint(0, 3), length - 1)
      spans.append(Span(rng.choice(("PER", "L-C")), start, end))
      start = end
    start += 1
  return spans


def write_tags(spans, length, scheme):
  """Returns the tags of spans by the scheme's definition."""
  tags = ["O"] * length
  for span in spans:
    for index in range(span.start, span.end + 1):
      first, last = index == span.start, index == span.end
      touches_before = any(other.end == span.start - 1 and other.label == span.label for other in spans)
      touches_after = any(other.start == span.end + 1 and other.label == span.label for other in spans)
      prefix = {
        "IOB1": "B" if first and touches_before else "I",
        "IOB2": "B" if first else "I",
        "IOE1": "E" if last and touches_after else "I",
        "IOE2": "E" if last else "I",
        "BIOES": "S" if first and last else "B" if first else "E" if last else "I",
        "BILOU": "U" if first and last else "B" if first else "L" if last else "I",
      }[scheme]
      tags[index] = f"{prefix}-{span.label}"
  return tags


@pytest.mark.parametrize("scheme", tag_schemes.SCHEMES)
def test_spans_are_read_back_from_their_tags(scheme):
  rng = random.Random(scheme)
  drawn = [(draw_spans(rng, length), length) for length in rng.choices(range(1, 14), k=300)]
  sequences = [write_tags(spans, length, scheme) for spans, length in drawn]
  assert tag_schemes.detect_scheme(sequences) == scheme
  for (spans, length), tags in zip(drawn, sequences, strict=True):
    assert tag_schemes.read_spans(tags, scheme) == (spans, [])
    assert list(tag_schemes.as_iob2(spans, length)) == write_tags(spans, length, "IOB2")


@pytest.mark.parametrize("scheme", tag_schemes.SCHEMES)
def test_a_file_in_any_scheme_gives_the_same_examples(tmp_path, scheme):
  rng = random.Random(7)
  lines = {"IOB2": "", scheme: ""}
  for number in range(60):
    spans = draw_spans(rng, 6)
    for name in lines:
      tags = write_tags(spans, 6, name)
      lines[name] += "".join(f"w{number}.{i} {tag}\n" for i, tag in enumerate(tags)) + "\n"
  found = {}
  for name, text in lines.items():
    path = tmp_path / f"{name}.conll"
    path.write_text(text)
    found[name] = load_task("tag", str(path))
  assert found[scheme].sha256 == found["IOB2"].sha256
  assert any(f"the tagging scheme is {scheme}, detected" in note for note in found[scheme].notes)


@pytest.mark.parametrize("scheme", tag_schemes.SCHEMES)
def test_a_tag_of_another_scheme_is_a_fault(scheme):
  wrong = {"IOB1": "E", "IOB2": "E", "IOE1": "B", "IOE2": "B", "BIOES": "U", "BILOU": "S"}[scheme]
  (fault, *_) = tag_schemes.read_spans(["O", f"{wrong}-PER", "O"], scheme)[1]
  assert fault.index == 1 and scheme in fault.reason
