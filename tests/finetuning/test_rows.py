"""Examples as rows: first pieces of words, windows of contexts, packed dialogues, losses that ignore padding."""

import dataclasses

import jax
import numpy as np
import pytest

from gen.config.heads import HeadConfig
from gen.data.tasks import words as words_of_text
from gen.data.tasks.examples import Message, QuestionExample, TaggedExample, TextExample
from gen.errors import UserError
from gen.evaluation.metrics.answer_scores import AnswerPrediction
from gen.finetuning import trained_part, tuning_step
from gen.finetuning.dialogues import chat_form
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms import classify_form, encoded_rows, span_form, task_loss
from gen.finetuning.task_forms.classify_form import TaskPrediction
from gen.finetuning.task_forms.encoded_rows import EncodedRow, PaddedShape
from gen.finetuning.task_forms.tag_form import TagForm
from gen.generation import loaded_model, special_tokens
from gen.models import heads
from gen.optimizers import schedule_params

SETTINGS = FinetuneSettings("classify", "a run", "a file", max_length=24, stride=4, batch=8)
LABELS = ("other", "tree")


@pytest.fixture(scope="module")
def encoder(run_of):
  return loaded_model.load_model(run_of("encoder"))


def test_long_texts_are_an_error_are_cut_or_become_windows_as_settings_say(encoder):
  texts = [TextExample("short", "tree"), TextExample("a text of more than twenty-two bytes", "other")]

  def rows(long):
    form = classify_form.ClassifyForm(
      encoder, HeadConfig("classify", LABELS), dataclasses.replace(SETTINGS, long=long)
    )
    return form.rows(texts, "training")

  with pytest.raises(
    UserError, match=r"1 of 2 training texts are longer than the 22 tokens .*\(number 2 has 36\)"
  ):
    rows("")
  assert [len(row.inputs) for row in rows("truncate")] == [7, 24]
  windows = rows("windows")
  assert [row.owner for row in windows] == [0, 1, 1] and {len(row.inputs) for row in windows} <= {7, 24, 20}
  assert [row.targets for row in windows] == [(1,), (0,), (0,)]
  inner = [list(row.inputs[1:-1]) for row in windows[1:]]
  assert inner[0][-4:] == inner[1][:4]
  assert inner[0] + inner[1][4:] == encoder.tokenizer.encode(texts[1].text).tolist()


def test_of_two_long_texts_each_keeps_half_and_a_short_one_stays_whole(encoder):
  form = classify_form.ClassifyForm(
    encoder, HeadConfig("classify", LABELS), dataclasses.replace(SETTINGS, long="truncate")
  )
  both = form.rows([TextExample("a" * 30, "tree", "b" * 30), TextExample("a" * 30, "tree", "bb")], "training")
  counts = [[list(row.inputs).count(4 + ord(letter)) for letter in "ab"] for row in both]
  assert counts == [[10, 11], [19, 2]]


def test_the_first_piece_of_each_word_has_its_tag_and_no_other_piece(encoder):
  head = HeadConfig("tag", ("B-W", "O"))
  form = TagForm(encoder, head, SETTINGS)
  (row,) = form.rows([TaggedExample(("ash", "sun"), ("B-W", "O"))], "training")
  assert [place for place, weight in enumerate(row.weights) if weight] == [1, 4]
  assert [row.targets[place] for place in (1, 4)] == [0, 1]
  assert len(row.inputs) == len(row.targets) == 9


def test_words_of_windows_are_tagged_where_they_stand_furthest_from_an_end(encoder):
  form = TagForm(encoder, HeadConfig("tag", ("B-W", "O")), dataclasses.replace(SETTINGS, stride=12))
  example = TaggedExample(("ash", "bay", "oak", "sun", "yew", "elm", "fig"), ("O",) * 7)
  rows = form.rows([example], "training")
  assert len(rows) == 2
  # Each window votes for a class of its own: window 0 for B-W, window 1 for O.
  logits = [np.eye(2)[[number] * len(row.inputs)] for number, row in enumerate(rows)]
  (answer,) = form.predictions(rows, logits, [example])
  assert answer.value == ("B-W",) * 5 + ("O",) * 2


def long_question(answer="a red oak"):
  context = f"{'some words go first, ' * 2}and {answer} stands, with words after it."
  return QuestionExample("what?", context, (answer,), (context.index(answer),))


def test_an_answer_is_a_target_in_each_window_that_holds_it_and_nowhere_else(encoder):
  settings = dataclasses.replace(SETTINGS, max_length=36, stride=14)
  form = span_form.SpanForm(encoder, HeadConfig("span"), settings, answerless=False)
  example = long_question()
  rows = form.rows([example], "training")
  held = [row for row in rows if row.targets != (0, 0)]
  assert len(rows) > len(held) >= 1
  for row in held:
    first, last = row.targets
    assert encoder.tokenizer.decode(row.inputs[first : last + 1]).strip() == example.answers[0]


@pytest.mark.parametrize("answerless", [False, True])
def test_the_best_span_of_all_windows_answers_unless_none_is_likelier(encoder, answerless):
  settings = dataclasses.replace(SETTINGS, max_length=36, stride=14)
  form = span_form.SpanForm(encoder, HeadConfig("span"), settings, answerless)
  example = long_question()
  rows = form.rows([example], "training")
  logits = [np.zeros((len(row.inputs), 2)) for row in rows]
  number = next(n for n, row in enumerate(rows) if row.targets != (0, 0))
  first, last = rows[number].targets
  logits[number][first, 0] = logits[number][last, 1] = 5.0
  assert form.predictions(rows, logits, [example])[0].value == example.answers[0]
  for each in logits:
    each[0] = 6.0
  assert form.predictions(rows, logits, [example])[0].value == ("" if answerless else example.answers[0])


def test_where_no_answer_at_all_is_best_the_threshold_lets_none_stand(encoder):
  form = span_form.SpanForm(encoder, HeadConfig("span"), SETTINGS, answerless=True)
  # Two questions without an answer, and one whose answer was not found: each span would be wrong.
  examples = [QuestionExample("?", "a b", (), ()), QuestionExample("?", "a b", (), ()), long_question()]
  found = [TaskPrediction("a", 1.0, AnswerPrediction("b", score)) for score in (-7.0, -2.0, 3.0)]
  assert [each.value for each in form.choose_threshold(found, examples)] == ["", "", ""]
  assert form.threshold < -7.0
  right = [*found[:2], TaskPrediction("a red oak", 1.0, AnswerPrediction("a red oak", -9.0))]
  assert [each.value for each in form.choose_threshold(right, examples)] == ["", "", "a red oak"]


def test_words_keep_their_combining_marks_and_identifiers_are_apart(encoder):
  text = "Jose\u0301 हिन्दी my_name x2"
  (located,) = span_form.locate_pieces(encoder, [text], "training")
  words = {text[begin:end] for begin, end in zip(located.begins, located.ends, strict=True)}
  assert [match[0] for match in words_of_text.NAMED_WORDS.finditer(text)] == [
    "Jose\u0301", "हिन्दी", "my", "_", "name", "x2"
  ]  # fmt: skip
  assert "_" in words and max(located.ends) == len(text)


def test_windows_of_a_pair_go_over_the_longer_text_and_keep_the_shorter(encoder):
  settings = dataclasses.replace(SETTINGS, max_length=20, stride=3, long="windows")
  form = classify_form.ClassifyForm(encoder, HeadConfig("classify", LABELS), settings)
  long, short = "abcdefghijklmnopqrstuvwxyz", "12"
  for pair in ((long, short), (short, long)):
    rows = form.rows([TextExample(pair[0], "tree", pair[1])], "training")
    read = [encoder.tokenizer.decode(row.inputs) for row in rows]
    begin = 2 if pair[0] == short else 0
    assert [text.replace("12", "") for text in read] == [long[:15], long[12:27]]
    assert all(text.find("12") == (0 if begin else len(text) - 2) for text in read)
    assert max(len(row.inputs) for row in rows) == 20
  with pytest.raises(UserError, match="windows hold 9 tokens of text and share 9"):
    wide = dataclasses.replace(settings, stride=9)
    classify_form.ClassifyForm(encoder, HeadConfig("classify", LABELS), wide).rows(
      [TextExample(long, "tree", long)], "training"
    )


def test_pieces_of_one_letter_each_stand_for_their_own_characters(encoder):
  (located,) = span_form.locate_pieces(encoder, ["10km é!"], "training")
  texts = ["10km é!"[begin:end] for begin, end in zip(located.begins, located.ends, strict=True)]
  assert texts == ["1", "0", "k", "m", "", "", "é", "!"]


def test_packed_texts_have_the_loss_that_they_have_alone(run_of):
  decoder = loaded_model.load_model(run_of("decoder"))
  random, head = np.random.default_rng(0), HeadConfig("none")
  settings = FinetuneSettings("instruct", "a run", "a file").optimizer_config
  rows = []
  for owner, length in enumerate((5, 9, 7)):
    ids = random.integers(4, 200, length + 1).tolist()
    rows.append(EncodedRow(owner, ids[:-1], ids[1:], [0.0, *[1.0] * (length - 1)]))
  packed = chat_form.pack_rows(rows, 24)
  assert len(packed) == 1 and list(packed[0].segments) == [1] * 5 + [2] * 9 + [3] * 7

  def loss(these):
    batch = encoded_rows.stack_rows(these, 3, PaddedShape(24))
    return task_loss.batch_loss(decoder.model, head, settings, decoder.params, batch)

  alone, together = loss(rows), loss(packed)
  assert float(together.weight) == float(alone.weight) == 18
  assert float(together.loss) == pytest.approx(float(alone.loss), rel=1e-5)


@pytest.mark.parametrize("kind", ["classify", "span"])
def test_padding_and_microbatches_do_not_change_a_step(encoder, kind):
  head = HeadConfig(kind, LABELS if kind == "classify" else (), dropout=0.0)
  params = heads.attach_head(encoder.params, encoder.model, head, jax.random.key(1))
  random, targets = np.random.default_rng(3), 1 if kind == "classify" else 2
  rows = [
    EncodedRow(
      owner, random.integers(4, 200, 6 + owner).tolist(), [owner % 2] * targets, [1.0 + owner] * targets
    )
    for owner in range(4)
  ]

  def step(length, microbatches):
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-2, microbatches=microbatches, warmup=0.0)
    programs = tuning_step.tuning_programs(encoder.model, head, settings.optimizer_config, None)
    state = programs.initialize({trained_part.PARAMETERS: params}, 0)
    batch = encoded_rows.stack_rows(rows, 4, PaddedShape(length, targets=targets))
    state, sums = programs.train(state, {}, batch, schedule_params(settings.optimizer_config, 3))
    return float(sums.loss / sums.weight), state.opt_state[0].mu

  whole, parts = step(16, 1), step(24, 2)
  assert whole[0] == pytest.approx(parts[0], rel=1e-5)
  gaps = jax.tree.map(lambda a, b: float(abs(a - b).max()), whole[1], parts[1])
  assert max(jax.tree.leaves(gaps)) < 1e-6


def test_a_step_in_float16_scales_its_loss_and_recovers_from_an_overflow(encoder):
  model = dataclasses.replace(encoder.model, dtype="float16")
  head = HeadConfig("classify", LABELS, dropout=0.0)
  params = heads.attach_head(encoder.params, model, head, jax.random.key(1))
  optimizer = dataclasses.replace(SETTINGS, learning_rate=1e-2, warmup=0.0).optimizer_config
  programs = tuning_step.tuning_programs(model, head, optimizer, None)
  rows = [EncodedRow(owner, [5 + owner, 9, 30], [owner % 2], [1.0]) for owner in range(4)]
  batch = encoded_rows.stack_rows(rows, 4, PaddedShape(8, targets=1))
  state = programs.initialize({trained_part.PARAMETERS: params}, 0)
  planted = state.loss_scale._replace(scale=jax.numpy.float32(2.0**40))
  state, sums = programs.train(state._replace(loss_scale=planted), {}, batch, schedule_params(optimizer, 99))
  assert int(state.loss_scale.backoffs) == 1 and int(state.skipped) == 0
  losses = [float(sums.loss)]
  for _ in range(30):
    state, sums = programs.train(state, {}, batch, schedule_params(optimizer, 99))
    losses.append(float(sums.loss))
  assert losses[1] == losses[0] and losses[-1] < losses[0] / 2 and int(state.loss_scale.backoffs) < 30


@pytest.mark.parametrize(("method", "layers"), [("full", 0), ("head", 0), ("last", 1), ("lora", 0)])
def test_the_trained_and_the_frozen_part_make_the_complete_parameters(encoder, method, layers):
  head = HeadConfig("classify", LABELS)
  params = heads.attach_head(encoder.params, encoder.model, head, jax.random.key(1))
  trained, frozen = trained_part.split_parameters(params, encoder.model, head, method, layers)
  again = trained_part.complete_parameters(trained, frozen)
  assert jax.tree.structure(again) == jax.tree.structure(dict(params))
  assert jax.tree.all(jax.tree.map(np.array_equal, again, dict(params)))
  count = sum(leaf.size for leaf in jax.tree.leaves(trained))
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert count == total if method == "full" else 0 < count < total


def test_more_layers_than_there_are_cannot_be_trained(encoder):
  with pytest.raises(UserError, match="last:3 names more layers than the model's 2"):
    trained_part.split_parameters(encoder.params, encoder.model, HeadConfig("none"), "last", 3)


def test_balanced_weights_give_each_class_the_same_sum():
  weights = classify_form.balanced_weights([8, 2, 0])
  assert [8 * weights[0], 2 * weights[1], weights[2]] == [5.0, 5.0, 0.0]


def test_a_message_with_a_special_token_could_pass_for_a_mark_and_is_refused(run_of):
  loaded = special_tokens.allow_special(loaded_model.load_model(run_of("decoder")), True)
  mark = loaded.reading.special[0][0]
  chat_form.require_no_marks([Message("user", "plain text")], loaded, "dialogue 3")
  with pytest.raises(UserError, match="dialogue 3, message 2: the text contains"):
    chat_form.require_no_marks([Message("user", "a"), Message("assistant", f"b{mark}")], loaded, "dialogue 3")


def test_pairs_are_sorted_by_the_longer_text_so_neither_is_padded_far():
  sizes = [(5, 7), (6, 30), (30, 6), (12, 11), (4, 3)]  # tokens of source and target
  rows = [
    EncodedRow(n, [1] * target, [1] * target, [1.0] * target, source=[1] * source)
    for n, (source, target) in enumerate(sizes)
  ]
  assert [row.length for row in rows] == [7, 30, 30, 12, 4]
  shapes = encoded_rows.padded_shapes(rows, (8, 16, 32), 0)
  assert [(shape.source, shape.length) for shape in shapes] == [(8, 8), (16, 16), (32, 32)]
  batch = encoded_rows.stack_rows([rows[0], rows[4]], 3, shapes[0])
  assert batch.inputs_bt.shape == batch.source_bs.shape == (3, 8)
