"""The page about a study: complete, self-contained, and honest about what it lacks."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from gen.scaling.report import corpora, study_page, tables, view

HOSTILE = "</script><img src=x onerror=alert(1)>{{7*7}}"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "br", "link", "img", "input", "hr", "path", "use"}


class Page(HTMLParser):
  """Reads tags, attributes and text, and whether tags are balanced."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.text, self._open = [], "", []
    self.feed(text)
    assert self._open == []

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in VOID:
      self._open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    if tag not in VOID:
      assert self._open.pop() == tag

  def handle_data(self, data):
    if self._open[-1:] not in (["script"], ["style"]):
      self.text += data


@pytest.fixture(scope="module")
def path(whole_study, tmp_path_factory):
  return study_page.write_page(*whole_study, tmp_path_factory.mktemp("report") / "new")


@pytest.fixture(scope="module")
def page(path):
  return Page(path.read_text("utf-8"))


def test_the_page_shows_every_part_of_a_whole_study(path, page):
  assert path.name == "report.html"
  assert path.stat().st_size < 3e6
  figures = [attributes["data-figure"] for tag, attributes in page.tags if tag == "svg"]
  assert sorted(figures) == [
    "agreement",
    "curves",
    "data",
    "residuals_data",
    "residuals_size",
    "size",
    "valleys",
  ]
  for words in ("Not credible", "Approaches 2 and 3 differ by 0.061", "not met", "Prediction", "1 envelope",
                "2 IsoFLOP", "3 parametric", "decoder-", "Corpus", "Tokenizer", "Versions", "Machine", "Seeds",
                "Configuration", "4210", "abababab"):  # fmt: skip
    assert words in page.text


def test_the_page_asks_no_network_for_anything(path, page):
  text = path.read_text("utf-8")
  for _, attributes in page.tags:
    for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
      assert re.fullmatch(r"#[\w.-]+|", attributes.get(name) or "")
  assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|https?:", text)
  assert "default-src 'none'" in text


def test_ids_are_unique_and_every_reference_finds_its_own(page):
  ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
  assert len(ids) == len(set(ids))
  for _, attributes in page.tags:
    wanted = [
      attributes.get("href") or "",
      *re.findall(r"url\((#[^)]*)\)", " ".join(map(str, attributes.values()))),
    ]
    assert all(one[1:] in ids for one in wanted if one)


def test_every_colour_of_the_figures_is_set_for_both_grounds(path):
  text = path.read_text("utf-8")
  used = set(re.findall(r"var\((--k[0-9a-f]{6})\)", text))
  day, night = re.findall(r":root \{ (--k.*?)\}", text)[:2]
  assert used <= set(re.findall(r"(--k[0-9a-f]{6}):", day))
  assert used <= set(re.findall(r"(--k[0-9a-f]{6}):", night))


def test_without_scripts_the_marks_carry_titles_and_the_table_stands(page, whole_study):
  results, _ = whole_study
  marks = [attributes["data-run"] for tag, attributes in page.tags if attributes.get("class") == "run"]
  rows = [attributes["data-run"] for tag, attributes in page.tags if tag == "tr" and "data-run" in attributes]
  assert rows == [str(index) for index in range(len(results["points"]))]
  assert set(marks) == set(rows)
  assert page.text.count(f"{results['points'][3]['name']}\nbudget C: 5e11") >= 5


def test_names_from_outside_are_shown_as_text_and_never_run(smoke):
  smoke["name"] = smoke["points"][0]["name"] = HOSTILE
  smoke["corpus"] = {HOSTILE: HOSTILE}
  smoke["verdict"]["reasons"][0]["sentence"] = HOSTILE
  smoke["laws"]["parametric"] = {"error": HOSTILE}
  smoke["laws"]["envelope"]["warnings"] = [HOSTILE]
  smoke["leave_one_budget_out"] = [{HOSTILE: HOSTILE}]
  text = study_page.render_page(smoke, [])
  page = Page(text)
  assert "<img" not in text
  assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)
  assert page.text.count("<img src=x onerror=alert(1)>{{7*7}}") >= 6
  assert sum(tag == "script" for tag, _ in page.tags) == 2


def test_a_path_that_is_no_text_is_shown_with_replacements(smoke, tmp_path):
  smoke["name"] = "study \udcff\udcfe"
  assert "study ??" in study_page.write_page(smoke, [], tmp_path / "study \udcff").read_text("utf-8")


def test_what_a_study_lacks_is_said_in_words(smoke):
  smoke["laws"]["parametric"] = {"warnings": ["12 runs cannot carry five constants"]}
  del smoke["prediction"]["parametric"]
  text = Page(study_page.render_page(smoke, [])).text
  assert "No budget was held out of the fits" in text
  assert "Approach 3 parametric gave no law: 12 runs cannot carry five constants" in text
  assert "No budget was left out in turn" in text


@pytest.mark.parametrize("results", [{}, {"points": [], "laws": {}, "verdict": None, "prediction": None}])
def test_an_empty_study_still_has_a_page(results):
  text = Page(study_page.render_page(results, [])).text
  for words in ("Not judged", "No run of this sweep has finished", "nothing is predicted", "not recorded"):
    assert words in text


def test_a_credible_study_is_green():
  reasons = [{"name": "valleys", "passed": True, "sentence": "Every valley is one."}]
  page = Page(study_page.render_page({"verdict": {"credible": True, "reasons": reasons}}, []))
  assert any(attributes.get("class") == "verdict good" for _, attributes in page.tags)
  assert not any(attributes.get("class") == "bad" for _, attributes in page.tags)


def test_the_held_out_budget_is_shown_as_measured_and_as_each_approach_predicted_it(results):
  entry = results["held_out"]
  entry["isoflop"] |= {"N_factor": 1.37, "loss_error": -0.0123, "loss": 1.2345}
  del entry["parametric"]
  table = tables.held_out_table(view.read_results(results))
  words = [[cell.text for cell in row.cells] for row in table.rows]
  assert [row[0] for row in words] == ["measured", "1 envelope", "2 IsoFLOP"]
  assert words[2][3:5] == ["1.37", "1.2345"] and words[2][6] == "-1.23 %"
  assert words[0][4] == f"{entry['valley']['vertex_loss']:.4f}" and "1.5e13" in table.caption
  assert "at the edge" not in table.caption
  entry["valley"]["inside"] = False
  assert "at the edge" in tables.held_out_table(view.read_results(results)).caption
  for nothing in (None, {}, {"budget": 1e13, "error": "no valley"}):
    assert tables.held_out_table(view.read_results(results | {"held_out": nothing})) is None


def test_tables_say_the_level_of_their_intervals(results):
  assert "90 % of a" in tables.interval_table(view.read_results(results)).head
  assert "80 % of a" in tables.interval_table(view.read_results(results | {"confidence": 0.8})).head


PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const mark = document.querySelector('[data-figure="size"] .run'), box = mark.getBoundingClientRect();
  const where = { clientX: box.x + box.width / 2 + 3, clientY: box.y + box.height / 2, bubbles: true };
  mark.closest("svg").dispatchEvent(new PointerEvent("pointermove", where));
  const card = document.getElementById("card"), table = document.querySelector("table.sortable");
  const said = { card: card.hidden ? "" : card.textContent };
  said.chosen = document.querySelectorAll("svg .run.chosen").length;
  const loss = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[5].dataset.value));
  table.tHead.querySelectorAll("button")[5].click();
  said.up = loss();
  table.tHead.querySelectorAll("button")[5].click();
  said.down = loss();
  said.width = innerWidth;
  said.overflow = document.documentElement.scrollWidth - innerWidth;
  said.figures = [...document.querySelectorAll("svg.figure")].map((one) => one.getBoundingClientRect().width);
  said.letters = Math.min(...[...document.querySelectorAll("svg.figure")].map((one) => 9 * one.getScreenCTM().a));
  console.log("PROBE" + JSON.stringify(said));
}, 50));
</script></body>"""


@pytest.mark.skipif(
  CHROMIUM is None, reason="chromium is not installed, so the page is not opened in a browser"
)
def test_a_browser_draws_the_page_at_two_widths_without_complaint(path, tmp_path):
  (tmp_path / "report.html").write_text(path.read_text("utf-8").replace("</body>", PROBE), encoding="utf-8")
  frames = "".join(
    f'<iframe src="report.html" style="width:{width}px;height:900px;border:0"></iframe>'
    for width in (390, 1440)
  )
  (tmp_path / "both.html").write_text(f"<!DOCTYPE html><body>{frames}</body>", encoding="utf-8")
  flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync",
           "--enable-logging=stderr", "--virtual-time-budget=3000", f"--user-data-dir={tmp_path / 'profile'}",
           "--dump-dom", (tmp_path / "both.html").as_uri()]  # fmt: skip
  ended = subprocess.run([CHROMIUM, *flags], capture_output=True, text=True, timeout=100, check=True)
  console = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
  probes = [json.loads(json.loads(f'"{found}"')) if "\\" in found else json.loads(found)
            for line in console for found in re.findall(r"PROBE(\{.*\})", line)]  # fmt: skip
  assert len(console) == len(probes) == 2, console
  assert sorted(said["width"] for said in probes) == [390, 1440]
  for said in probes:
    assert "decoder-" in said["card"]
    assert "loss (nats)" in said["card"]
    assert said["chosen"] >= 6
    assert said["up"] == sorted(said["up"])
    assert said["down"] == said["up"][::-1]
    assert said["overflow"] <= 0
    assert min(said["figures"]) > 300
    assert said["letters"] >= 10  # pixels


def test_a_study_on_a_mixture_has_the_loss_of_each_corpus(whole_study, tmp_path):
  results, lines = whole_study
  points = [dict(point) for point in results["points"]]
  assert corpora.corpora_table(view.read_results(results)) is None
  points[1]["corpora"] = {
    HOSTILE: {"loss": 2.25, "share": 0.7, "epochs": 1.5},
    "law": {"loss": 3.125, "share": 0.3, "epochs": 9.0},
  }
  mixed = {**results, "points": points}
  table = corpora.corpora_table(view.read_results(mixed))
  assert table.head == ["Run", HOSTILE, "law"] and len(table.rows) == len(points)
  assert [(cell.text, cell.small) for cell in table.rows[1].cells[1:]] == [
    ("2.2500", "70.0%, 1.5"),
    ("3.1250", "30.0%, 9"),
  ]
  assert [cell.text for cell in table.rows[0].cells[1:]] == ["–", "–"]
  page = Page(study_page.write_page(mixed, lines, tmp_path).read_text("utf-8"))
  assert "Validation loss of each corpus" in page.text and "3.1250" in page.text
