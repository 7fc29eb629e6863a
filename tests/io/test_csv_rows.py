import csv

import pytest

from gen.io.csv_rows import RowReader


def test_each_table_keeps_its_own_limit_and_the_process_its():
  before = csv.field_size_limit()
  wide = RowReader(["a,b\n", "1," + "x" * 40 + "\n", "2,y\n"], ",", max_field=50)
  narrow = RowReader(["a,b\n", "1," + "x" * 40 + "\n"], ",", max_field=30)
  assert next(wide) == next(narrow) == ["a", "b"]
  assert next(wide) == ["1", "x" * 40]
  with pytest.raises(csv.Error, match="field larger than field limit"):
    next(narrow)
  assert list(wide) == [["2", "y"]] and wide.line_num == 3
  assert csv.field_size_limit() == before
