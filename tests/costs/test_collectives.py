"""What a program sends is read from its text, each loop as often as it runs."""

import re

import pytest

from gen.costs import collectives

TEXT = """
HloModule jit_step, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%inner (p: (s32[], f32[6,4])) -> (s32[], f32[6,4]) {
  %p = (s32[], f32[6,4]{1,0}) parameter(0)
  %part = f32[6,2]{1,0} copy(%p)
  %all-gather.3 = f32[6,4]{1,0} all-gather(%part), channel_id=3, replica_groups=[2,2]<=[4], dimensions={1}
  ROOT %t = (s32[], f32[6,4]{1,0}) tuple(%p, %all-gather.3)
}

%body (p: (s32[], f32[6,4])) -> (s32[], f32[6,4]) {
  %p = (s32[], f32[6,4]{1,0}) parameter(0)
  %while.2 = (s32[], f32[6,4]) while(%p), condition=%cond, body=%inner, backend_config={"known_trip_count":{"n":"5"}}
  %all-reduce.1 = (f32[6,4]{1,0}, bf16[10]{0}) all-reduce(%a, %b), replica_groups={{0,1,2,3}}, to_apply=%add
  %reduce-scatter.1 = f32[3,4]{1,0} reduce-scatter(%c), replica_groups={{0,1},{2,3}}, dimensions={0}, to_apply=%add
  ROOT %t = (s32[], f32[6,4]{1,0}) tuple(%p, %all-reduce.1)
}

%cond (p: (s32[], f32[6,4])) -> pred[] {
  ROOT %c = pred[] constant(true)
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %while.1 = (s32[], f32[6,4]{1,0}) while(%t), condition=%cond, body=%body
  %permuted = f32[8]{0} collective-permute(%x), source_target_pairs={{0,1},{1,0}}
  ROOT %r = f32[8]{0} copy(%permuted)
}
"""


def test_collectives_are_counted_inside_loops_and_their_bytes_by_the_ring():
  found = {each.kind: each for each in collectives.collectives_of_program(TEXT)}
  assert found["all-gather"] == ("all-gather", ("f32[6,4]",), 2, 5, 5 * 96 / 2)
  assert found["all-reduce"] == ("all-reduce", ("f32[6,4]", "bf16[10]"), 4, 1, 2 * (96 + 20) * 3 / 4)
  assert found["reduce-scatter"] == ("reduce-scatter", ("f32[3,4]",), 2, 1, 48)
  assert found["collective-permute"].bytes == 32
  assert len(found) == 4


def test_a_program_says_whether_all_its_loops_are_counted():
  assert collectives.loops_are_known(TEXT)  # while.1, which states no number, runs steps
  unstated = re.sub(', backend_config={"known.*', "", TEXT)
  assert unstated != TEXT and not collectives.loops_are_known(unstated)
  assert collectives.loops_are_known(unstated.replace("body=%inner", "body=%add"))  # nothing is sent in it


@pytest.mark.parametrize(
  ("groups", "parts"),
  [
    ("{{0,1,2},{3,4,5}}", 3),
    ("[2,4]<=[8]", 4),
    ("[2,4]<=[4,2]T(1,0)", 4),
    ("mesh['axis_0'=4,'axis_1'=1,'axis_2'=2] {'axis_2'}", 2),
    ("mesh['axis_0'=4,'axis_1'=3], device_ids=([3,4]T(1,0)) {'axis_0','axis_1'}", 12),
    ("mesh['axis_0'=8] {'axis_0':(2)4}", 4),
  ],
)
def test_groups_are_read_however_they_are_written(groups, parts):
  line = f"  ROOT %all-reduce.1 = f32[12]{{0}} all-reduce(%x), replica_groups={groups}, to_apply=%add"
  text = f"ENTRY %main (x: f32[12]) -> f32[12] {{\n{line}\n}}"
  (found,) = collectives.collectives_of_program(text)
  assert found.parts == parts and found.bytes == pytest.approx(2 * 48 * (parts - 1) / parts)


def test_bytes_are_summed_by_kind():
  totals = collectives.by_kind(collectives.collectives_of_program(TEXT))
  assert totals["all-gather"] == 240 and "all-to-all" not in totals


@pytest.mark.parametrize(
  ("line", "shapes", "sent"),
  [
    ("((f32[8,6], bf16[8]), (f32[2,6], bf16[2])) reduce-scatter-start", ("f32[2,6]", "bf16[2]"), 208 * 3 / 4),
    ("(f32[2,6], f32[8,6]) all-gather-start", ("f32[8,6]",), 192 * 3 / 4),
    ("((s8[2,2,8]), s8[2,2,8]) all-to-all-start", ("s8[2,2,8]",), 32 * 3 / 4),
    ("(f32[6], f32[2]) all-reduce-start", ("f32[6]", "f32[2]"), 2 * 32 * 3 / 4),
  ],
)
def test_what_is_started_names_its_operands_too_but_for_an_all_reduce(line, shapes, sent):
  text = f"ENTRY %main (x: f32[8]) -> f32[8] {{\n  %x = {line}(%a), replica_groups={{{{0,1,2,3}}}}\n}}"
  (found,) = collectives.collectives_of_program(text)
  assert found.shapes == shapes and found.bytes == pytest.approx(sent)
