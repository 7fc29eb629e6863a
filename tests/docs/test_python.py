"""The page on Python runs as it is written, in a folder with a few texts."""


def test_every_block_of_the_page_runs_in_order(walk, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "notes").mkdir()
  for number in range(25):
    (tmp_path / "notes" / f"{number}.txt").write_text(f"Note {number} says what note {number} says. " * 30)
  names = walk("python.md")
  assert 0.4 < names["law"].a < 0.55
  assert names["best"].params > 1e8 and names["result"].steps == 20
  assert names["bert"].params > 1e8 > names["mine"].params > 1e7
  assert "N* grows as C^0.4" in capsys.readouterr().out
