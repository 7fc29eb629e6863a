"""An atlas: the studies must read one text, train in one pool, and say of each number what it rests on."""

import dataclasses
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from gen.config import ATLAS_FAMILIES, Atlas, Criteria, Data, Model, Sweep
from gen.errors import UserError
from gen.io import strict_json, typed_json
from gen.scaling.atlas import (
  atlas_checks,
  atlas_console,
  atlas_figures,
  atlas_page,
  atlas_records,
  atlas_study,
  atlas_tables,
  comparable,
)
from gen.scaling.laws import three_fits
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.workers.study import TrainedStudy
from gen.training.run_log import journal

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))
OBJECTIVES = {"encoder": "masked", "encoder_decoder": "span_corruption"}
BUDGETS = (4e11, 1e12, 2.5e12)
LAWS = {
  "decoder": ParametricLaw(1.0, 60.0, 800.0, 0.4, 0.4),
  "encoder": ParametricLaw(0.8, 60.0, 900.0, 0.45, 0.4),
  "encoder_decoder": ParametricLaw(1.4, 50.0, 700.0, 0.4, 0.42),
  "lstm": ParametricLaw(1.0, 75.0, 1000.0, 0.4, 0.4),
}


def sweep_of(family, **data):
  recurrent = family == "lstm"
  return Sweep(
    model=Model(family=family, depth=1, residual=recurrent, **({} if recurrent else {"heads": 2})),
    data=Data(objective=OBJECTIVES.get(family, "causal"), length=32, batch=2, **data),
    budgets=BUDGETS[:2],
    widths=((8, 16), (8, 16)),
    criteria=Criteria(min_steps=1),
  )


def atlas_of(**data):
  return Atlas(name="four", bootstraps=50, **{family: sweep_of(family, **data) for family in ATLAS_FAMILIES})


def test_families_come_in_one_order_and_share_the_atlas_s_draws():
  chosen = atlas_checks.check_atlas(atlas_of(), ("lstm", "decoder"))
  assert list(chosen) == ["decoder", "lstm"]
  assert all(one.bootstraps == 50 for one in chosen.values())


@pytest.mark.parametrize(
  ("change", "families", "sentence"),
  [
    (lambda a: None, ("decoder", "gru"), "--families=decoder,gru: choose from"),
    (lambda a: setattr(a.lstm.data, "corpus", "else"), ATLAS_FAMILIES, "config.lstm.data.corpus 'else'"),
    (lambda a: setattr(a.lstm.data, "length", 64), ATLAS_FAMILIES, "of an atlas read the same text"),
    (lambda a: setattr(a.encoder, "budgets", (1e9, 2e9)), ATLAS_FAMILIES, "have different budgets"),
    (lambda a: setattr(a.lstm.model, "family", "gru"), ATLAS_FAMILIES, "model.family is 'gru'"),
    (lambda a: setattr(a.decoder, "widths", ()), ATLAS_FAMILIES, "config.widths"),
  ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(change, families, sentence):
  atlas = atlas_of()
  change(atlas)
  with pytest.raises(UserError) as caught:
    atlas_checks.check_atlas(atlas, families)
  assert sentence in str(caught.value)


def test_all_studies_train_in_one_pool_and_each_keeps_its_own_record(tmp_path, monkeypatch):
  (tmp_path / "text").mkdir()
  for number in range(12):
    (tmp_path / "text" / f"{number}.txt").write_text(f"text {number} says something about its number. " * 40)
  data = {
    "corpus": str(tmp_path / "text" / "*.txt"),
    "cache": str(tmp_path / "cache"),
    "validation_fraction": 0.3,
  }
  atlas = atlas_of(**data)
  for one in atlas.studies.values():
    one.budgets = (1e7, 2e7)
  chosen, folder, screen = (
    atlas_checks.check_atlas(atlas, ("decoder", "lstm")),
    tmp_path / "atlas",
    io.StringIO(),
  )
  train = atlas_study.study.train_all
  monkeypatch.setattr(atlas_study.study, "train_all", lambda *given, **named: train(*given, COMMAND, **named))
  trained = atlas_study.train_studies(chosen, folder, Console(file=screen, soft_wrap=True), 2)
  assert "8 of 8 runs done" in screen.getvalue() and "lstm/C2e7-w16-s0" in screen.getvalue()
  assert {name: len(one.results) for name, one in trained.items()} == {"decoder": 4, "lstm": 4}
  for name in chosen:
    rows = journal.read_journal(folder / name / "journal.jsonl")
    assert sorted(row["name"] for row in rows if row["kind"] == "result") == [
      "C1e7-w16-s0", "C1e7-w8-s0", "C2e7-w16-s0", "C2e7-w8-s0",
    ]  # fmt: skip
  again = io.StringIO()
  second = atlas_study.train_studies(chosen, folder, Console(file=again, soft_wrap=True), 2)
  assert "all 8 runs are done" in again.getvalue()
  assert second["lstm"].results == trained["lstm"].results


def trained_of(family, seed=0):
  """Returns a study of five sizes and two seeds a budget, whose losses are those of the family's law with noise."""
  law, random, rows = LAWS[family], np.random.default_rng(seed), []
  for flops in BUDGETS:
    for m, size in enumerate(law.optimum(flops)[0] * np.geomspace(0.4, 2.5, 5)):
      for s in range(2):
        data = flops / 6 / size
        loss = float(law.loss(size, data) + random.normal(0, 0.004))
        name = f"C{flops:g}-{m}-s{s}"
        rows.append({
          "kind": "result", "run": name, "name": name, "family": family, "objective": OBJECTIVES.get(family, "causal"),
          "params": size, "tokens": data, "positions": 1.25 * data, "loss_tokens": 0.15 * data, "loss": loss,
          "flops": flops, "flops_6nd": flops, "budget": flops, "seed": s, "steps": 2000, "held_out": False,
          "seconds": flops / 4e10, "width": m, "depth": 1, "batch": 4, "gflops": 40.0,
        })  # fmt: skip
  corpus = SimpleNamespace(documents=3, bytes=9, validation_bytes=2, sha256="ab")
  loaded = SimpleNamespace(corpus=corpus, tokenizer=SimpleNamespace(vocab=268, hash="cd"))
  runs = [SimpleNamespace(seed=0, data=Data()), SimpleNamespace(seed=1, data=Data())]
  return TrainedStudy(loaded, runs, rows, [], {}, {"a": 0.5}, False, {"share": 0.9}, 60.0)


@pytest.fixture(scope="module")
def results():
  atlas = Atlas(name="four", bootstraps=60)
  chosen = {name: sweep_of(name) for name in ATLAS_FAMILIES}
  for one in chosen.values():
    one.budgets = BUDGETS
  made = atlas_study.collect_results(atlas, chosen, {name: trained_of(name) for name in ATLAS_FAMILIES})
  written = json.loads(strict_json.encode_json(typed_json.encode_record(made.results)))
  return atlas_records.read_atlas(written, "results.json")


def test_every_family_has_its_own_verdict_and_the_result_says_so_itself(results):
  assert set(results.credible) == set(results.families) == set(ATLAS_FAMILIES)
  assert not any(results.credible.values()), "nothing was held out, so no curve may pass"
  assert results.caution.startswith("No family's curve is credible")
  assert all(row.credible is False for row in results.differences)
  assert results.equal_loss.credible is False
  some = atlas_study._caution({"decoder": True, "encoder": False, "lstm": False})
  assert some.startswith("The curves of masked encoder and LSTM are not credible")
  assert atlas_study._caution({"decoder": True}).startswith("Every family's curve is credible")


def test_optima_carry_tokens_per_parameter_by_each_meaning(results):
  for name, family in results.families.items():
    assert len(family.optima) == 3 and len(family.points) == 30
    for row in family.optima:
      n, d, loss = LAWS[name].optimum(row.budget)
      ratios = {meaning: entry.value for meaning, entry in row.per_parameter.items()}
      assert ratios["tokens"] == pytest.approx(d / n, rel=0.3)
      assert ratios["positions"] / ratios["tokens"] == pytest.approx(1.25)
      assert ratios["loss_tokens"] / ratios["tokens"] == pytest.approx(0.15)
      assert row.loss.value == pytest.approx(loss, abs=0.01)
      low, high = row.N.interval
      assert low < row.N.value < high


def test_each_two_families_are_compared_and_only_equals_at_equal_loss(results):
  pairs = [tuple(row.families) for row in results.differences]
  assert len(set(pairs)) == 6
  for row in results.differences:
    low, high = row.a.interval
    assert low < row.a.value < high
  assert (results.equal_loss.of, results.equal_loss.over) == ("lstm", "decoder")
  ratios = [row.ratio for row in results.equal_loss.flops]
  # A and B times 1.25 at alpha = beta = .4: the same loss costs 1.25^(2 / .4) times the FLOPs.
  assert ratios == pytest.approx([1.25**5] * 5, rel=0.25)
  assert len(results.equal_compute.rows) == 3
  assert all(row.difference.value > 0 for row in results.equal_compute.rows)


def test_what_may_not_be_compared_is_part_of_the_result(results):
  said = {one.what: one.comparable for one in results.comparable}
  assert said["loss of the decoder and the LSTM"] and not said["loss of the masked encoder with any other"]
  assert "loss of the decoder and the LSTM" not in [
    one.what for one in comparable.comparison_statements(["lstm"])
  ]
  assert set(results.meanings_of_D) == {"tokens", "positions", "loss_tokens"}


def test_a_family_without_a_run_that_is_long_enough_is_named():
  chosen = {name: sweep_of(name) for name in ("decoder", "lstm")}
  chosen["lstm"].criteria.min_steps = 10_000
  trained = {name: trained_of(name) for name in chosen}
  made = atlas_study.collect_results(Atlas(name="two", bootstraps=20), chosen, trained)
  assert made.results.error.startswith("LSTM: none of the 30 runs")
  assert made.results.differences == [] and atlas_page.render_page(made.results)


def test_the_page_holds_itself_and_shows_every_family(results):
  page = atlas_page.render_page(results)
  assert "<script" not in page and "http" not in page.replace("http://www.w3.org", "").replace(
    "http-equiv", ""
  )
  assert page.count('<svg class="figure"') == len(atlas_figures.FIGURES)
  for name in ATLAS_FAMILIES:
    assert f"{comparable.family_title(name)}: not credible" in page
  assert results.caution.replace("'", "&#39;") in page
  identifiers = [part.split('"')[0] for part in page.split(' id="')[1:]]
  assert len(identifiers) == len(set(identifiers))


def test_the_tables_have_a_row_for_everything(results):
  assert len(atlas_tables.law_table(results).rows) == 4
  assert len(atlas_tables.optimum_table(results).rows) == 12
  assert len(atlas_tables.difference_table(results).rows) == 6
  assert len(atlas_tables.equal_loss(results).rows) == 5
  encoder = results.families["encoder"]
  optima = [atlas_records.FamilyOptimum(encoder.optima[0].budget, False), *encoder.optima[1:]]
  families = results.families | {"encoder": dataclasses.replace(encoder, optima=optima)}
  edge = dataclasses.replace(results, families=families)
  assert atlas_tables.optimum_table(edge).rows[3].cells[2].text == "at the edge"


def test_figures_are_drawn_and_say_what_is_missing(results, tmp_path):
  (tmp_path / "x").mkdir()
  for name in ("loss_by_flops", "equal_loss"):
    atlas_figures.FIGURES[name](results).savefig(tmp_path / f"{name}.png")
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
  laws = three_fits.failed_entries("there are too few runs")
  families = {
    name: dataclasses.replace(family, optima=[], laws=laws) for name, family in results.families.items()
  }
  empty = dataclasses.replace(results, equal_loss=None, families=families)
  texts = [text.get_text() for name in ("sizes", "equal_loss") for axes in atlas_figures.FIGURES[name](empty).axes
           for text in axes.texts]  # fmt: skip
  assert len(texts) == 4 and "No family gave a law." in texts


def test_the_terminal_shows_every_table_comparison_and_verdict(results):
  file = io.StringIO()
  atlas_console.print_atlas(Console(file=file, width=30, highlight=False, soft_wrap=True), results)
  text = file.getvalue()
  for comparison in results.comparable:
    answer = "may be" if comparison.comparable else "MAY NOT BE"
    assert f"{answer} compared: {comparison.what}: {comparison.why}" in text
  for family in results.families.values():
    assert f"\n{family.title}: {'credible' if family.verdict.credible else 'not credible'}" in text
  assert atlas_tables.law_table(results).caption in text and results.caution in text
