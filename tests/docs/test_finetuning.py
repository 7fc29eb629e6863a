"""The page on fine-tuning runs as it is written, in a folder with a few texts and a table of labels."""


def test_every_block_of_the_page_runs_in_order(walk, tmp_path):
  (tmp_path / "notes").mkdir()
  for number in range(25):
    (tmp_path / "notes" / f"{number}.txt").write_text(f"Note {number} says what note {number} says. " * 30)
  animals, plants = ("cat", "dog", "cow", "hen"), ("oak", "elm", "fig", "yew")
  rows = [
    f"the {size} {name} {verb} {place},{label}\n"
    for size in ("red", "old", "big")
    for verb in ("sleeps", "stands")
    for place in ("here", "there")
    for label, names in (("animal", animals), ("plant", plants))
    for name in names
  ]
  (tmp_path / "animals.csv").write_text("text,label\n" + "".join(rows))
  names = walk("finetuning.md")
  assert names["result"].examples["train"] > 60
  assert 0 <= names["result"].score.low <= names["result"].score.value <= 1
  assert (tmp_path / "runs" / "animals" / "finetune.html").is_file()
