"""Numbers of examples are drawn, and not cut from the front of a file that may be sorted."""

from gen.data.tasks import splits


def test_some_examples_of_a_sorted_part_are_of_every_class():
  classes = ["first"] * 60 + ["second"] * 40
  shares = [splits.draw_examples(classes, 50, seed).count("first") / 50 for seed in range(30)]
  # Without replacement the standard deviation of a mean of 30 such shares is about .01.
  assert abs(sum(shares) / 30 - 0.6) < 0.04 and len(set(shares)) > 3


def test_the_drawn_examples_keep_their_order_and_grow_with_their_number():
  few, more = splits.draw_examples(range(500), 7), splits.draw_examples(range(500), 20)
  assert few == sorted(few) and set(few) < set(more) and len(set(more)) == 20
  assert few == splits.draw_examples(range(500), 7) != splits.draw_examples(range(500), 7, seed=1)


def test_all_examples_are_kept_where_there_are_no_more():
  assert splits.draw_examples("abc", 3) == splits.draw_examples("abc", 9) == ["a", "b", "c"]
  assert splits.draw_examples("abc", 0) == []
