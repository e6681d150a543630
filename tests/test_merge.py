"""The merge of the course's cells into the reader's: by example, and by property."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course.merge import merge, text
from course.notebooks import exercise_of
from tests.small_course import code, md, stub


def without_ids(cells):
    copies = [type(cell)(cell) for cell in cells]
    for cell in copies:
        del cell["id"]
    return copies


def edited(cell, source):
    return type(cell)(cell, source=source)


def texts(cells):
    return list(map(text, cells))


def sources(cells):
    return [cell.source for cell in cells]


@pytest.fixture(params=["ids kept", "ids dropped", "ids renewed"])
def saved(request):
    """How the reader's editor treats the ids of cells."""

    def save(cells):
        if request.param == "ids kept":
            return cells
        dropped = without_ids(cells)
        if request.param == "ids renewed":
            for number, cell in enumerate(dropped):
                cell.id = f"renewed-{number}"
        return dropped

    return save


def answered(cell):
    return edited(cell, cell.source.replace("...  # your turn", "return a + 1"))


def test_text_that_the_reader_left_alone_follows_the_course(saved):
    base = [md("A"), code("x = 1"), md("B")]
    theirs = [md("A better", "md-A"), code("x = 1"), md("new", "n"), code("x = 2", "c")]
    merged = merge(base, theirs, saved(base))
    assert texts(merged.cells) == texts(theirs)


def test_an_answer_and_all_else_the_reader_wrote_stays(saved):
    base = [md("A"), stub("f"), code("x = 1"), md("B")]
    mine = [md("top"), md("A"), answered(base[1]), code("try_it()"), code("x = 7"),
            md("B"), md("end")]  # fmt: skip
    theirs = [md("A better", "md-A"), stub("f"), code("x = 1"), md("B"), md("C")]
    merged = merge(base, theirs, saved(mine))
    assert sources(merged.cells) == [
        "top", "A better", mine[2].source, "try_it()", "x = 7", "B", "end", "C"
    ]  # fmt: skip
    assert (merged.answers, merged.both, merged.asked_again) == (1, [], [])


def test_what_both_changed_is_kept_twice_the_readers_first(saved):
    base = [md("A"), code("x = 1"), md("B")]
    mine = [md("A"), edited(base[1], "x = 10"), md("B")]
    theirs = [md("A"), edited(base[1], "x = 2"), md("B")]
    merged = merge(base, theirs, saved(mine))
    assert sources(merged.cells) == ["A", "x = 10", "x = 2", "B"]
    assert len({cell.id for cell in merged.cells}) == 4


def test_a_conflict_says_where_it_is():
    base = [md("A"), code("x = 1")]
    mine = [md("A"), edited(base[1], "x = 10")]
    assert merge(base, [md("A"), edited(base[1], "x = 2")], mine).both == [2]


def test_a_changed_exercise_keeps_the_answer_and_notes_the_new_text(saved):
    base = [stub("f"), code("f(1)")]
    mine = [answered(base[0]), base[1]]
    new = stub("f", "Add, and round.")
    merged = merge(base, [new, base[1]], saved(mine))
    answer, note, use = merged.cells
    assert answer.source == mine[0].source
    assert note.cell_type == "markdown"
    assert new.source in note.source
    assert use.source == "f(1)"
    assert merged.asked_again == [1]


def test_an_answer_that_holds_the_new_text_already_gets_no_note():
    base, new = [stub("f")], stub("f", "Add, and round.")
    assert texts(merge(base, [new], [answered(new)]).cells) == [text(answered(new))]


def test_an_untouched_exercise_takes_the_new_text(saved):
    base, new = [stub("f")], stub("f", "Add, and round.")
    assert texts(merge(base, [new], saved(base)).cells) == [text(new)]


def test_an_unfinished_answer_is_still_its_exercise(saved):
    base = [md("A"), stub("f")]
    mine = [md("A"), edited(base[1], "@exercise\ndef f(a:\n    return (")]
    assert texts(merge(base, base, saved(mine)).cells) == texts(mine)


def test_a_deleted_cell_stays_deleted_but_an_exercise_comes_back(saved):
    base = [md("A"), md("B"), stub("f"), md("C")]
    assert sources(merge(base, base, saved([base[0], base[3]])).cells) == [
        "A", base[2].source, "C"
    ]  # fmt: skip


def test_a_deleted_cell_comes_back_when_the_course_changed_it(saved):
    base = [md("A"), md("B"), md("C")]
    theirs = [md("A"), md("B better", "md-B"), md("C")]
    assert texts(merge(base, theirs, saved([base[0], base[2]])).cells) == texts(theirs)


def test_both_cells_of_a_doubled_exercise_stay(saved):
    base = [stub("f")]
    first, second = answered(base[0]), edited(base[0], "@exercise\ndef f(a): return 2")
    for theirs in (base, [stub("f", "Add, and round.")]):
        cells = texts(merge(base, theirs, saved([first, second])).cells)
        assert {text(first), text(second)} <= set(cells)


def test_both_cells_of_an_empty_doubled_exercise_stay():
    base, new = [stub("f")], stub("f", "Add, and round.")
    mine = [base[0], stub("f", id="copy")]
    merged = merge(base, [new], mine)
    assert texts(merged.cells) == [text(new), text(base[0])]
    assert texts(merge([new], [new], merged.cells).cells) == texts(merged.cells)


def test_an_exact_copy_that_the_reader_made_stays_when_the_original_leaves():
    base = [md("A"), md("B")]
    mine = [*base, md("B", "copy")]
    assert sources(merge(base, base[:1], mine).cells) == ["A", "B", "B"]


def test_the_note_on_a_changed_exercise_comes_once(saved):
    base, new = [stub("f")], [stub("f", "Add, and round.")]
    cut_short = merge(base, new, saved([answered(base[0])])).cells
    assert texts(merge(base, new, saved(cut_short)).cells) == texts(cut_short)


def test_a_second_change_of_an_exercise_replaces_the_note_on_the_first(saved):
    first, second, third = ([stub("f", text)] for text in ("One.", "Two.", "Three."))
    mine = merge(first, second, saved([answered(first[0])])).cells
    merged = merge(second, third, saved(mine))
    assert len(merged.cells) == 2
    assert third[0].source in merged.cells[1].source
    assert merged.asked_again == [1]
    mine[1].source += "\nMy own thought on this."
    merged = merge(second, third, saved(mine))
    assert sources(merged.cells)[2:] == [mine[1].source]
    assert third[0].source in merged.cells[1].source


def test_a_deleted_exercise_that_comes_back_is_named(saved):
    base = [md("A"), stub("f")]
    merged = merge(base, [*base, stub("g")], saved(base[:1]))
    assert (merged.back, merged.new) == (["f"], 1)


def test_an_exercise_is_not_taken_for_another_cell_with_its_id():
    base = [md("A"), stub("f", id="2")]
    mine = [md("A"), md("my own", "2")]
    assert sources(merge(base, base, mine).cells) == ["A", "my own", base[1].source]


def test_an_exercise_that_left_the_course_stays_where_there_is_an_answer():
    base = [stub("f"), stub("g")]
    merged = merge(base, [], [answered(base[0]), base[1]])
    assert texts(merged.cells) == [text(answered(base[0]))]


def test_a_renamed_exercise_is_a_new_exercise():
    base, new = [stub("f")], stub("g", id="stub-f")
    mine = [answered(base[0])]
    assert texts(merge(base, [new], mine).cells) == [text(mine[0]), text(new)]


def test_a_new_order_of_the_course_reaches_the_reader(saved):
    base = [md("A"), code("b"), md("C")]
    mine = [base[0], base[1], md("on b"), base[2]]
    theirs = [base[2], base[0], base[1]]
    assert sources(merge(base, theirs, saved(mine)).cells) == ["C", "A", "b", "on b"]


def test_the_readers_own_order_stays(saved):
    base = [md("A"), md("B"), md("C")]
    mine = [base[2], base[0], base[1]]
    theirs = [*base, md("D")]
    assert sources(merge(base, theirs, saved(mine)).cells) == ["C", "D", "A", "B"]


def test_with_no_base_both_versions_are_kept():
    mine = [md("A"), code("x = 1"), answered(stub("f")), answered(stub("g"))]
    theirs = [md("A"), code("x = 2", "code-x"), stub("f"), stub("g", "New."), md("D")]
    merged = merge([], theirs, mine)
    assert set(texts(mine)) <= set(texts(merged.cells))
    assert sources(merged.cells)[:4] == ["A", "x = 1", "x = 2", mine[2].source]
    assert theirs[3].source in merged.cells[5].source
    assert merged.cells[-1].source == "D"


def test_equal_cells_are_counted():
    line = "---"
    base = [md(line, "1"), md("A"), md(line, "2")]
    theirs = [*base, md(line, "3")]
    assert sources(merge(base, theirs, base).cells) == sources(theirs)
    assert sources(merge(base, base, [*base, md(line, "4")]).cells) == sources(theirs)


# By property: the course and the reader edit the same notebook at random.

KINDS = st.sampled_from(["markdown", "code", "exercise", "rule"])
CHANGES = st.sampled_from(["keep", "keep", "keep", "change", "delete", "copy", "move"])
IDS = st.sampled_from(["kept", "dropped", "renewed"])


def cell_of(kind, number, version=0):
    id = f"{kind}-{number}"
    if kind == "exercise":
        return stub(f"f{number}", f"Version {version}.", id)
    if kind == "rule":
        return md("---", id)  # the same text in many cells
    return (md if kind == "markdown" else code)(f"{kind}{number} = {version}", id)


@st.composite
def histories(draw):
    """A base, what the course made of it, and what the reader made of it."""
    kinds = draw(st.lists(KINDS, max_size=6))
    base = [cell_of(kind, number) for number, kind in enumerate(kinds)]
    theirs = draw(course_edits(base, kinds))
    scheme = draw(st.sampled_from(["kept", "renewed", "numbered"]))
    if scheme == "numbered":
        base = with_ids(scheme, base, "")
    mine = with_ids(draw(IDS), draw(reader_edits(base)), "m")
    return base, with_ids(scheme, theirs, "t"), mine


@st.composite
def course_edits(draw, base, kinds):
    cells = []
    for number, (cell, kind) in enumerate(zip(base, kinds, strict=True)):
        change = draw(CHANGES)
        if change in ("keep", "copy"):
            cells.append(cell)
        elif change == "change":
            cells.append(cell_of(kind, number, version=1))
        elif change == "move":
            cells.insert(0, cell)
        if draw(st.integers(0, 3)) == 0:
            cells.append(cell_of(draw(KINDS), 100 + number, version=1))
    return cells


@st.composite
def reader_edits(draw, base):
    cells = []
    for number, cell in enumerate(base):
        change = draw(CHANGES)
        if change == "change":
            cells.append(edited(cell, cell.source + f"\nmine{number}"))
        elif change == "move":
            cells.insert(0, cell)
        elif change != "delete":
            cells.append(cell)
            if change == "copy":
                cells.append(type(cell)(cell, id=f"copy-{number}"))
        if draw(st.integers(0, 3)) == 0:
            cells.append(draw(KINDS.map(lambda kind: cell_of(kind, 200, version=2))))
    return cells


def with_ids(how, cells, who):
    if how == "kept":
        return cells
    cells = without_ids(cells)
    for number, cell in enumerate(cells):
        if how == "renewed":
            cell.id = f"{who}-{number}"
        elif how == "numbered":
            cell.id = f"{number}"
    return cells


def found(cell, cells):
    return any(
        cell.source == other.source
        or (exercise_of(cell) and cell.source in other.source)
        for other in cells
    )


ANY = settings(max_examples=150, deadline=None)


@ANY
@given(histories())
def test_nothing_that_either_wrote_is_lost(history):
    base, theirs, mine = history
    result = merge(base, theirs, mine).cells
    given_before, now = Counter(texts(base)), Counter(texts(result))
    for words, count in (Counter(texts(mine)) - given_before).items():
        assert now[words] >= count, f"the reader's {words} is lost"
    for cell in theirs:
        if text(cell) not in given_before:
            assert found(cell, result), f"the course's {cell.source} is lost"
    names = {exercise_of(cell) for cell in result}
    assert {exercise_of(cell) for cell in theirs} - {None} <= names
    assert len({cell.id for cell in result}) == len(result)


@ANY
@given(histories())
def test_merging_again_changes_nothing(history):
    base, theirs, mine = history
    cells = merge(base, theirs, mine).cells
    once = texts(cells)
    assert texts(merge(theirs, theirs, cells).cells) == once
    # The base is lost: what is in doubt is doubled once, and not again and again.
    doubled = merge([], theirs, cells).cells
    assert texts(merge([], theirs, doubled).cells) == texts(doubled)


@ANY
@given(histories())
def test_a_reader_who_changed_nothing_has_what_the_course_gives(history):
    base, theirs, _ = history
    assert texts(merge(base, theirs, base).cells) == texts(theirs)


@ANY
@given(histories())
def test_a_course_that_changed_nothing_changes_nothing(history):
    base, _, mine = history
    names = {exercise_of(cell) for cell in mine}
    deleted = {text(cell) for cell in base if exercise_of(cell) not in names}
    result = [c for c in merge(base, base, mine).cells if text(c) not in deleted]
    assert texts(result) == [t for t in texts(mine) if t not in deleted]
