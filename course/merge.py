"""A three-way merge of notebooks, cell by cell.

    base     what the course gave last time
    theirs   what the course gives now
    mine     the reader's notebook

A cell is told by the exercise it holds, or by its text, or by its id; by an id alone
only in the end, because other editors drop and renew ids. The rules, in short: what the
reader wrote stays; what the reader left as it was follows the course; where both
changed, both are kept, the reader's first.

What is merged is not doubled when it is merged again.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import nbformat
from nbformat import NotebookNode

from course.notebooks import exercise_of

ASKED_AGAIN = """\
**The exercise `{name}` has changed.** Your answer above is as you left it: compare it \
with the new text of the exercise, then run it again.

````python
{stub}
````"""


@dataclass
class Merged:
    """The cells of the merged notebook, and what happened to them."""

    cells: list[NotebookNode] = field(default_factory=list)
    new: int = 0
    changed: int = 0
    gone: int = 0
    back: list[str] = field(default_factory=list)
    """Exercises that the reader had deleted."""
    answers: int = 0
    """Exercises that the reader has written something for."""
    both: list[int] = field(default_factory=list)
    """Numbers, from 1, of the reader's cells that the course's version follows."""
    asked_again: list[int] = field(default_factory=list)
    """Numbers of the answers that a note on the exercise's new text follows."""


def merge(
    base: list[NotebookNode], theirs: list[NotebookNode], mine: list[NotebookNode]
) -> Merged:
    """Bring the course's changes since `base` into the reader's cells.

    With an empty base nothing is known of the past: both versions are kept of every
    cell that differs. The cells that are passed in are not changed.
    """
    outdated = _notes(base) - _notes(theirs)
    mine = [cell for cell in mine if text(cell) not in outdated]
    known, wanted, present = (Counter(map(text, c)) for c in (base, theirs, mine))
    merged = Merged(answers=_answers(mine, known | wanted))
    # The reader's order stays, unless it is only the course's old one.
    keeps_order = not base or (_reordered(base, mine) and not _reordered(base, theirs))
    mine, untouched = _recognised(base, theirs, mine)
    partner = pair(theirs, mine, SAME)

    # Each cell of the course leads a block: itself, and what the reader put under it.
    # Blocks are named by the cell's place in the course; -1 is what stands above all.
    blocks: dict[int, list[NotebookNode]] = {-1: []}
    order = [-1]
    second: list[NotebookNode] = []
    for place, cell in enumerate(mine):
        if place in partner:
            new = theirs[partner[place]]
            first, *below = _settle(cell, new, place in untouched, text(new) in known)
            # An earlier merge may have put it there already.
            below = [c for c in below if text(c) not in present]
            merged.changed += first is new
            second += below
            order.append(partner[place])
            blocks[order[-1]] = [first, *below]
        # Of a cell and the reader's exact copies of it, none is the copy.
        elif place in untouched and present[text(cell)] <= known[text(cell)]:
            merged.gone += 1
        else:
            blocks[order[-1]].append(cell)

    if not keeps_order:
        order.sort()
    old_names = set(map(exercise_of, base)) - {None}
    for k, cell in enumerate(theirs):
        name, is_new = exercise_of(cell), wanted[text(cell)] > known[text(cell)]
        # A cell that the reader deleted stays deleted, unless it asks for an answer.
        if k not in blocks and (is_new or name is not None):
            blocks[k] = [cell]
            order.insert(order.index(max(p for p in order if p < k)) + 1, k)
            if name in old_names:
                merged.back.append(name)
            else:
                merged.new += 1
    cells = [cell for k in order for cell in blocks[k]]
    for number, cell in enumerate(cells):
        if any(cell is one for one in second):
            (merged.both if cell in theirs else merged.asked_again).append(number)
    merged.cells = _with_own_ids(cells)
    return merged


def text(cell: NotebookNode) -> tuple[str, str]:
    """What makes two cells the same: their kind and their source."""
    return cell.cell_type, cell.source


def pair(
    old: list[NotebookNode],
    new: list[NotebookNode],
    keys: Sequence[Callable[[NotebookNode], Hashable | None]],
) -> dict[int, int]:
    """Which cell of `old` each cell of `new` is, as {place in new: place in old}.

    The keys are tried one after the other. Of cells with the same key those go together
    that stand in the same surroundings, and then the first with the first.
    """
    pairs: dict[int, int] = {}
    for key in keys:
        olds, news = list(map(key, old)), list(map(key, new))
        same = SequenceMatcher(None, olds, news, autojunk=False).get_matching_blocks()
        aligned = [(i + n, j + n) for i, j, size in same for n in range(size)]
        free = defaultdict(list)
        for i, value in enumerate(olds):
            free[value].append(i)
        moved = [(i, j) for j, value in enumerate(news) for i in free[value]]
        taken = set(pairs.values())
        for i, j in aligned + moved:
            if news[j] is not None and i not in taken and j not in pairs:
                pairs[j] = i
                taken.add(i)
    return pairs


def _id(cell: NotebookNode) -> str | None:
    # An exercise is never told by its id: it may have been taken for another.
    return cell.get("id") if exercise_of(cell) is None else None


def _id_and_text(cell: NotebookNode) -> Hashable | None:
    return (cell.id, *text(cell)) if "id" in cell else None


def _id_and_exercise(cell: NotebookNode) -> Hashable | None:
    name = exercise_of(cell)
    return (cell.id, name) if name is not None and "id" in cell else None


SAME = (_id_and_text, _id_and_exercise, exercise_of, text, _id)
"""How two versions of a cell are told, the surest sign first."""


def _recognised(
    base: list[NotebookNode], theirs: list[NotebookNode], mine: list[NotebookNode]
) -> tuple[list[NotebookNode], set[int]]:
    """`mine` with the course's ids, and the places that the reader left untouched.

    The reader's editor may have dropped or renewed the ids, and so may the course: the
    text tells which cell of the base it is, and what has become of that.
    """
    # A stub is no original where the answer beside it is: the reader copied it.
    origin = pair(base, mine, (_id_and_text, _id_and_exercise, text))
    origin = {j: i for j, i in origin.items() if text(mine[j]) == text(base[i])}
    successor = {i: theirs[k] for k, i in pair(base, theirs, SAME).items()}
    settled = pair(theirs, mine, (_id_and_text,))
    cells = list(map(nbformat.from_dict, mine))
    for place, cell in enumerate(cells):
        new = successor.get(origin.get(place, -1), {})
        if place not in settled and "id" in new:
            cell.id = new.id
    return cells, set(origin)


def _reordered(before: list[NotebookNode], after: list[NotebookNode]) -> bool:
    """Whether cells of `before` stand in another order in `after`."""
    pairs = pair(before, after, SAME)
    places = [pairs[j] for j in sorted(pairs)]
    return places != sorted(places)


def _settle(
    mine: NotebookNode, theirs: NotebookNode, untouched: bool, unchanged: bool
) -> list[NotebookNode]:
    """What becomes of a cell: `untouched` by the reader, `unchanged` by the course."""
    if text(mine) == text(theirs):
        return [mine]
    if untouched:
        return [theirs]
    if unchanged:
        return [mine]
    name = exercise_of(mine)
    if name is None or name != exercise_of(theirs):
        return [mine, theirs]
    # The course's stub, run below the answer, would put it out of use.
    if _still_asked(theirs.source, mine.source):
        return [mine]
    return [mine, _note(theirs)]


def _note(stub: NotebookNode) -> NotebookNode:
    """What stands below an answer whose exercise has changed to `stub`."""
    words = ASKED_AGAIN.format(name=exercise_of(stub), stub=stub.source)
    return nbformat.v4.new_markdown_cell(words)


def _notes(cells: list[NotebookNode]) -> set[tuple[str, str]]:
    return {text(_note(cell)) for cell in cells if exercise_of(cell) is not None}


def _still_asked(stub: str, answer: str) -> bool:
    """Whether the answer holds every line of the stub: there is nothing to tell."""
    lines = {line.strip() for line in answer.splitlines()}
    asked = (line.strip() for line in stub.splitlines())
    return all(line in lines for line in asked if not line.startswith("..."))


def _answers(mine: list[NotebookNode], given: Counter) -> int:
    return len({exercise_of(c) for c in mine if text(c) not in given} - {None})


def _with_own_ids(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Copies of the cells; a cell whose id is missing or taken gets a new one."""
    seen: set[str] = set()
    copies = list(map(nbformat.from_dict, cells))
    for cell in copies:
        if cell.get("id") is None or cell.id in seen:
            cell.id = uuid.uuid4().hex[:8]
        seen.add(cell.id)
    return copies
