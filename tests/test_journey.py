"""The whole journey: three members, five Sundays, an update of the course in between.

Ada does everything. Ben leaves gaps, writes wrong answers, is killed in the middle of
his work, and shares no name. Chloe joins in the third week with an old copy of the
course, is killed in the middle of its update, and changes her name.

What each of them runs stands in `STORY`: every number that the course shows must follow
from it. What the boards must say was worked out from it by hand.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path

import nbformat
import openai

from course.case import Exercise
from course.checks import chapters, find, of_chapter
from course.notebooks import _as_answer, exercise_of, solved, spoiled
from course.weeks import Week, week_of, weeks
from tests.answers import everything
from tests.journey import Course, Done, copied, environment, opened

# Five Sundays from 6 December, without the one after Christmas.
DAYS = [
    date(2026, 12, 6),
    date(2026, 12, 13),
    date(2026, 12, 20),
    date(2027, 1, 3),
    date(2027, 1, 10),
]
PLAN = ["--start", "2026-12-06", "--skip", "2026-12-27", "--zone", "Europe/Berlin"]
TOTAL = sum(map(len, chapters().values()))

ALL = {
    week.number: [
        exercise.name
        for chapter in (*week.chapters, *week.bonus)
        for exercise in chapters().get(chapter, ())
    ]
    for week in weeks()
}
"""The exercises of each week."""

# Every run of a written answer: o passes, x does not; ! is ended by the system, as for
# all the memory that it takes.
STORY: dict[str, dict[int, dict[str, str]]] = {
    "Ada": {
        1: dict.fromkeys(ALL[1], "o") | {"generate": "xxo"},
        2: dict.fromkeys(ALL[2], "o"),
        3: {"bits_per_character": "xo"} | dict.fromkeys(ALL[3], "o"),
        4: dict.fromkeys(ALL[4], "o"),
        5: dict.fromkeys(ALL[5], "o"),
    },
    "Ben": {
        1: {
            "bigram_counts": "o",
            "bigram_probabilities": "o",
            "sample_next": "xo",
            "generate": "xxxx",
            "bits_per_character": "o",
            "pair_counts": "o",
            "merge": "o",
            "train_bpe": "x",
        },
        2: {
            "cross_entropy": "o",
            "generate": "o",
            "softmax": "xo",
            "softmax_gradient": "xx",
            "attention_weights": "!o",
            "causal_mask": "o",
            "masked_weights": "x",
        },
        3: {
            "softmax_gradient": "o",
            "split_heads": "o",
            "merge_heads": "o",
            "MultiHeadAttention": "xxx",
            "LayerNorm": "o",
            "RMSNorm": "xo",
            "swap_norms": "x",
        },
        4: {
            "MultiHeadAttention": "o",
            "gelu": "o",
            "gelu_tanh": "o",
            "FeedForward": "xx",
            "Block": "xx",
            "next_token_loss": "o",
            "learning_rate": "o",
        },
        5: {
            "masked_weights": "o",
            "FeedForward": "o",
            "quantize": "o",
            "StopAt": "xx",
            "memory": "o",
            "dialogue": "o",
        },
    },
    "Chloe": {
        3: {
            "bigram_counts": "o",
            "bigram_probabilities": "o",
            "sample_next": "x",
            "bits_per_character": "o",
            "pair_counts": "o",
            "merge": "o",
            "softmax": "x",
            "split_heads": "o",
            "MultiHeadAttention": "xx",
            "LayerNorm": "o",
            "swap_norms": "x",
        },
        4: {
            "bits_per_character": "xo",
            "merge_heads": "o",
            "MultiHeadAttention": "o",
            "gelu": "o",
            "FeedForward": "x",
            "Block": "xx",
            "next_token_loss": "o",
            "learning_rate": "x",
        },
        5: {
            "softmax": "o",
            "Block": "o",
            "quantize": "o",
            "StopAt": "x",
            "memory": "o",
        },
    },
}

# What to talk about first, what then, and how the reason goes. An exercise that two
# tried and did not pass weighs two times the median of all runs; of three runs and four
# the lower counts.
MEDIAN = "3 of 3 tried it, 1 passed; the median took {} so far."
ONE, TWO = MEDIAN.format("1 run"), MEDIAN.format("2 runs")
FIRST: dict[int, dict[str, str]] = {
    1: {"generate: ": "No two of you are stuck"},
    2: {"softmax_gradient: ": "No two of you are stuck"},
    3: {"MultiHeadAttention: ": TWO, "Then swap_norms: ": ONE},
    4: {"Block: ": TWO, "Then FeedForward: ": ONE},
    5: {"StopAt: ": ONE},
}

# Who can help whom with what. The helper is who passed it in the last 14 days, or else
# anybody who passed it; who helps less comes first, then who passed it later.
HELP: dict[int, dict[tuple[str, str], str]] = {
    1: {("Ada", "Ben"): "generate train_bpe"},
    2: {("Ada", "Ben"): "softmax_gradient masked_weights train_bpe"},
    3: {
        ("Ada", "Chloe"): "MultiHeadAttention swap_norms",
        ("Ada", "Ben"): "MultiHeadAttention swap_norms train_bpe masked_weights",
        ("Ben", "Chloe"): "sample_next softmax",
    },
    4: {
        ("Ada", "Chloe"): "Block FeedForward swap_norms",
        ("Ada", "Ben"): "Block FeedForward swap_norms train_bpe masked_weights",
        ("Ben", "Chloe"): "learning_rate sample_next softmax",
    },
    5: {
        ("Ada", "Chloe"): "StopAt swap_norms",
        ("Ada", "Ben"): "StopAt swap_norms train_bpe",
        ("Ben", "Chloe"): "sample_next FeedForward learning_rate",
        ("Chloe", "Ben"): "Block",
    },
}

# ---- the update ---------------------------------------------------------------------

CHANGED = "bits_per_character"
STUB_SAYS = "Raises ValueError where there are no characters."
NEW_SENTENCE, NEW_CELL = "This sentence is better now.", "This cell is new."
UPDATE = {
    "week1/language-models.ipynb": STUB_SAYS,
    "week1/tokens.ipynb": NEW_CELL,
    "week2/attention.ipynb": NEW_SENTENCE,
}
NEW_CHECK = f'''

def _refuses() -> Iterator[Case]:
    from course.refusal import is_refused, refusal, refused

    yield from {CHANGED}()
    yield Case(
        "a text without characters",
        args=(2.0, 50, 0),
        call=refusal,
        judge=is_refused,
        mistakes=refused("There is nothing to divide by."),
    )


EXERCISES = tuple(
    Exercise(e.name, e.difficulty, e.minutes, e.hints, _refuses)
    if e.name == "{CHANGED}"
    else e
    for e in EXERCISES
)
'''
SHORT = f"""\
@exercise
def {CHANGED}(nats, tokens, characters):
    return nats / math.log(2) * tokens / characters
"""
"""Right until the course asks for a ValueError, which its solution raises already."""


def updated(root: Path) -> Path:
    """Make a copy of the course the next version of it."""

    def book(name: str) -> tuple[Path, nbformat.NotebookNode]:
        path = root / "chapters" / f"{name}.ipynb"
        return path, nbformat.read(path, as_version=4)

    path, notebook = book("week2/attention")
    notebook.cells[0].source += f"\n\n{NEW_SENTENCE}"
    nbformat.write(notebook, path)
    path, notebook = book("week1/tokens")
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(NEW_CELL))
    nbformat.write(notebook, path)
    path, notebook = book("week1/language-models")
    (stub,) = (cell for cell in notebook.cells if exercise_of(cell) == CHANGED)
    before = stub.source
    stub.source = before.replace('"""\n', f'\n\n    {STUB_SAYS}\n    """\n')
    assert stub.source != before
    nbformat.write(notebook, path)
    with (root / "course" / "checks" / "language_models.py").open("a") as checks:
        checks.write(NEW_CHECK)
    return root


# ---- a member -----------------------------------------------------------------------

Step = tuple[str, str]  # an exercise and one run of it: o, x or !


@dataclass
class Reader:
    """A member, and what must be known of them by what they have done."""

    name: str
    home: Path
    course: Course
    day: timedelta  # before each Sunday, on which they work
    runs: dict[str, list[bool]] = field(default_factory=dict)
    passed: dict[str, date] = field(default_factory=dict)
    wrote: dict[str, str] = field(default_factory=dict)  # exercise -> its cell
    kept: list[str] = field(default_factory=list)  # what any answer file ever said
    noted: str = ""  # in their notes of the first Sunday

    def at(self, sunday: int) -> datetime:
        """When they work for a Sunday."""
        return datetime.combine(DAYS[sunday - 1] - self.day, time(18), UTC)

    def tries(self, name: str) -> int:
        runs = self.runs.get(name, [])
        if name not in self.passed:
            return len(runs)
        return runs.index(True) + 1 if True in runs else 1

    def sundays(self, *arguments: str, at: datetime, **more) -> Done:
        # What a machine knows of its user must not reach the group.
        user = dict.fromkeys(["USER", "LOGNAME"], self.name)
        done = self.course.run(*arguments, home=self.home, at=at, **user, **more)
        self.nothing_is_lost()
        return done

    def nothing_is_lost(self) -> None:
        """Every answer that passed, every cell and the notes are there."""
        folder = self.home / "answers"
        there = [path.read_text() for path in sorted(folder.rglob("*.py"))]
        assert [text for text in self.kept if text not in there] == []
        self.kept = there
        for name, text in self.wrote.items():
            assert text in sources(self.home / place_of(name))
        if self.noted:
            assert (self.home / "notes" / "sunday-1.md").read_text() == self.noted

    def note(self, text: str) -> None:
        self.noted = text
        (self.home / "notes" / "sunday-1.md").write_text(text)

    # -- working ----------------------------------------------------------------------

    def work(self, sunday: int, *dies: tuple[str, str] | None) -> None:
        """Do what the story says for a Sunday; killed several times, go on each time.

        After a kill all that passed in this week is run again first, as by "Restart the
        kernel and run all cells". `dies`: for each attempt, see `Course.run`.
        """
        script = STORY[self.name][sunday]
        todo = [(name, kind) for name, kinds in script.items() for kind in kinds]
        attempts = iter(dies)
        again: list[Step] = []
        while todo:
            die = next(attempts, None)
            done = self.attempt(again + todo, sunday, die)
            finished = len(done.verdicts) - len(again)
            assert finished >= 0
            assert done.killed or finished == len(todo)
            again += [step for step in todo[:finished] if step[1] == "o"]
            todo = todo[finished:]
            if die and die[0] == "after":  # it is kept, and nothing else is known
                self.passed[todo[0][0]] = self.at(sunday).date()
            elif done.killed and todo[0][1] == "!":
                del todo[0]
            self.progress_is_right(sunday)
        assert next(attempts, None) is None

    def attempt(
        self, steps: Sequence[Step], sunday: int, die: tuple[str, str] | None
    ) -> Done:
        """Run cells in one process, and note what became of them."""
        cells = [(place_of(name), name, self.text(name, how)) for name, how in steps]
        done = self.course.work(cells, home=self.home, at=self.at(sunday), die=die)
        killed = die is not None or "!" in [how for _, how in steps]
        assert done.status == (-signal.SIGKILL if killed else 0), done.said
        for (name, how), (told, verdict) in zip(steps, done.verdicts, strict=False):
            assert told == name
            assert verdict == {"o": "passed", "x": "not yet"}[how], done.said
            self.runs.setdefault(name, []).append(how == "o")
            if how == "o":
                self.passed.setdefault(name, self.at(sunday).date())
        in_a_cell = done.killed and (die or ("!",))[0] != "cell"
        ran = cells[: len(done.verdicts) + in_a_cell]
        self.wrote |= {name: text for _, name, text in ran if "SIGKILL" not in text}
        self.nothing_is_lost()
        return done

    def text(self, name: str, how: str) -> str:
        """What they write: right, wrong, or too much for the machine."""
        if how == "!":
            return (
                f"@exercise\ndef {name}(*given):\n    import os, signal\n"
                "    os.kill(os.getpid(), signal.SIGKILL)\n"
            )
        if name == CHANGED:  # only Ben thinks of a text without characters at once
            first = self.name != "Ben" and not self.runs.get(name)
            return SHORT if first or how == "x" else right(name)
        if how == "x":
            return wrong(name)
        return differently(name) if self.name == "Ben" else right(name)

    # -- looking ----------------------------------------------------------------------

    def progress_is_right(self, sunday: int) -> None:
        """`sundays progress` says what follows from the runs, and counts none twice."""
        told = self.sundays("progress", at=self.at(sunday)).said
        row = (
            r"^[ ▸] [1-5 ] ([a-z-]+)(?: \(bonus\))? +[●◐○]+ +(\d+)/(\d+) +(\d+) +(\d+)$"
        )
        rows = {c: tuple(map(int, n)) for c, *n in re.findall(row, told, re.MULTILINE)}
        wanted = {}
        for chapter, known in chapters().items():
            names = [exercise.name for exercise in known]
            left = sum(e.minutes for e in known if e.name not in self.passed)
            wanted[chapter.replace("_", "-")] = (
                sum(name in self.passed for name in names),
                len(names),
                sum(map(self.tries, names)),
                left,
            )
        assert rows == wanted, told
        assert f"\n▸ {sunday} " in told
        lines = (self.home / "tries.jsonl").read_text().splitlines()
        noted: dict[str, list[bool]] = {}
        for line in map(json.loads, lines):
            noted.setdefault(line["exercise"], []).append(line["passed"])
        assert noted == self.runs

    def own_parts(self, at: datetime) -> int:
        """How many parts of their GPT are theirs, as `serve --mine` would say."""
        told = self.sundays(action="report", at=at).said
        return int(re.match(r"(?:All )?(\d+) (?:of|parts are yours)", told)[1])

    def lab(self, sunday: int, **more) -> str:
        """Open the workbook for a Sunday, as far as JupyterLab's own start."""
        done = self.sundays("lab", "--no-browser", at=self.at(sunday), **more)
        if more:
            assert done.killed, done.said
            return done.said
        assert done.status == 0, done.said
        assert "JupyterLab: --notebook-dir=" in done.said
        day = DAYS[sunday - 1]
        todo = [e for e in exercises(weeks()[sunday - 1]) if e.name not in self.passed]
        minutes = sum(exercise.minutes for exercise in todo)
        assert re.search(
            rf"^Sunday {sunday} \({day.day} {day:%B} {day.year}, 14:00\) needs .*: "
            rf"about {minutes} minutes of exercises to go\.$",
            done.said,
            re.MULTILINE,
        ), done.said
        count = f"You have passed {len(self.passed)} of {TOTAL} exercises."
        assert f"{count} Next: {todo[0].name}, in " in done.said
        assert f"default_url=/lab/tree/{place_of(todo[0].name)}" in done.said
        return done.said

    def lab_after_the_update(self, sunday: int) -> str:
        """The same where the kept answer to the changed exercise no longer passes."""
        file = self.home / "answers" / "language_models" / f"{CHANGED}.py"
        before = file.read_bytes()
        del self.passed[CHANGED]
        told = self.lab(sunday)
        line = rf"^{CHANGED} no longer passes: in the case “a text without characters”"
        assert len(re.findall(line, told, re.MULTILINE)) == 1, told
        assert file.read_bytes() == before
        self.has_the_update()
        self.progress_is_right(sunday)
        progress = self.sundays("progress", at=self.at(sunday)).said
        assert f"Your answer to {CHANGED} is kept, and does not count: " in progress
        check = self.sundays("check", at=self.at(sunday))
        assert check.status == 1
        assert f"{len(self.passed)} of {TOTAL} parts are yours." in check.said
        assert self.own_parts(self.at(sunday)) == len(self.passed)
        return told

    def has_the_update(self) -> None:
        """What is new is in the notebooks, once."""
        for place, text in UPDATE.items():
            found = [text in source for source in sources(self.home / place)]
            assert sum(found) == 1, place

    def share(self, sunday: int, group: Path, *options: str) -> Path:
        """Write the file for the group on the Sunday's morning; where it is."""
        at = datetime.combine(DAYS[sunday - 1], time(9), UTC)
        done = self.sundays("progress", "--share", str(group), *options, at=at)
        assert done.status == 0, done.said
        path = group / f"{self.id}.toml"
        assert str(path) in done.said
        shared = tomllib.loads(path.read_text())
        assert at <= shared.pop("written") < at + timedelta(minutes=5)
        assert shared["passed"] == self.passed
        assert shared["tries"] == {n: self.tries(n) for n in [*self.runs]}
        assert {*shared} == {"format", "id", "name", "course", "passed", "tries"}
        assert self.id == shared["id"]
        return path

    @property
    def id(self) -> str:
        return tomllib.loads((self.home / "member.toml").read_text())["id"]


def sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


def place_of(name: str) -> str:
    """The notebook of an exercise, in a workbook."""
    chapter = find(name)[0]
    return f"week{week_of(chapter).number}/{chapter.replace('_', '-')}.ipynb"


def exercises(week: Week) -> list[Exercise]:
    """What a week's Sunday needs, without a bonus."""
    return [e for c in week.chapters if c in chapters() for e in of_chapter(c)]


right, wrong = cache(solved), cache(spoiled)


@cache
def differently(name: str) -> str:
    """A right answer that is not the course's own, where the collection has one."""
    for written in everything():
        function = inspect.isfunction(written.code)
        if written.exercise == name and written.says is None and function:
            return _as_answer(written.code, name)
    return right(name)


# ---- the board ----------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A board as its leader reads it."""

    text: str

    def under(self, heading: str) -> list[str]:
        """The lines below a heading, up to an empty one."""
        _, _, rest = self.text.partition(f"\n{heading}\n")
        return [line.strip() for line in rest.split("\n\n")[0].splitlines()]

    def help(self) -> set[tuple[str, str, str]]:
        """Who can help whom with what."""
        return {
            (helper, one, exercise)
            for line in self.under("Who can help whom")
            for helper, helped, names in re.findall("(.+) can help (.+): (.+)", line)
            for one in re.split(", | and ", helped)
            for exercise in names.split(", ")
        }

    def signs(self, label: str) -> str:
        """Of a member: this Sunday's exercises, and the five Sundays."""
        (line,) = re.findall(rf"^ *{re.escape(label)} +([●◐○ ]+)$", self.text, re.M)
        return line.replace(" ", "")

    def counts(self, name: str) -> list[int]:
        """Of an exercise: who passed, tried, has not begun; zeros are not shown."""
        (head,) = re.findall(r"^ +exercise .*$", self.text, re.M)
        (line,) = re.findall(rf"^ *\w +{name} +\d+ .*$", self.text, re.M)
        found = {number.end(): int(number[0]) for number in re.finditer(r"\d+", line)}
        heads = ["passed", "tried", "not begun"]
        return [found.get(head.index(one) + len(one), 0) for one in heads]


def signs_of(reader: Reader, sunday: int) -> str:
    """What must stand in a member's row."""

    def sign(name: str) -> str:
        if name in reader.passed:
            return "●"
        return "◐" if reader.runs.get(name) else "○"

    def together(week: Week) -> str:
        signs = {sign(exercise.name) for exercise in exercises(week)}
        return signs.pop() if len(signs) == 1 else "◐"

    return "".join([*map(sign, ALL[sunday]), *map(together, weeks())])


def meet(sunday: int, group: Path, leader: Reader, members: dict[str, Reader]) -> Shown:
    """Half an hour before it begins the leader reads the board."""
    at = datetime.combine(DAYS[sunday - 1], time(12, 30), UTC)
    done = leader.sundays("group", str(group), at=at)
    assert done.status == 0, done.said
    board = Shown(done.said)
    title = weeks()[sunday - 1].title
    assert done.said.startswith(f"Sunday {sunday}: {title}\n{len(members)} members; ")
    ben = f"member {members[''].id[:4]}"
    talk = board.under("Talk about this first")
    for line, (name, why) in zip(talk, FIRST[sunday].items(), strict=True):
        assert line.startswith(name)
        assert why in line
    labels = {reader.name: label or ben for label, reader in members.items()}
    assert board.help() == {
        (labels[helper], labels[helped], exercise)
        for (helper, helped), names in HELP[sunday].items()
        for exercise in names.split()
    }
    for label, reader in members.items():
        assert board.signs(label or ben) == signs_of(reader, sunday)
    for name in ALL[sunday]:
        states = [
            "passed" if name in r.passed else "tried" if r.runs.get(name) else "open"
            for r in members.values()
        ]
        wanted = [states.count(one) for one in ("passed", "tried", "open")]
        assert board.counts(name) == wanted
    for file in group.iterdir():
        assert "Ben" not in file.read_text()
    assert "Ben" not in done.said
    return board


def runs_of_one_are_not_told(group: Path, leader: Reader, one: Reader) -> None:
    """The board is the same after a member needs ten times as many runs.

    The medians of three stay as they are.
    """
    other = group.parent / "other-group"
    shutil.copytree(group, other)
    file = other / f"{one.id}.toml"
    text = file.read_text()
    tries = tomllib.loads(text)["tries"]
    assert (tries["generate"], tries["Block"], tries["StopAt"]) == (5, 2, 2)
    head, _, rest = text.partition("[tries]")
    for name in "generate", "Block", "StopAt":
        rest = re.sub(rf"^{name} = (\d+)$", rf"{name} = \g<1>0", rest, flags=re.M)
    file.write_text(head + "[tries]" + rest)
    assert tomllib.loads(file.read_text())["tries"]["StopAt"] == 20
    shown = []
    for folder in group, other:
        page = folder.parent / f"{folder.name}.html"
        at = datetime.combine(DAYS[4], time(12, 30), UTC)
        board = leader.sundays("group", str(folder), at=at)
        done = leader.sundays("group", str(folder), "--html", str(page), at=at)
        assert done.status == board.status == 0, board.said + done.said
        shown.append((board.said, page.read_text()))
    assert shown[0] == shown[1]
    assert "Chloé K." in shown[0][1]
    assert "Ben" not in shown[0][1]


# ---- serving ------------------------------------------------------------------------


def served(reader: Reader) -> tuple[str, str]:
    """Serve a reader's GPT: what is said of its parts, and an answer that it gives."""
    command = [sys.executable, "-P", "-m", "course.cli", "serve", "--mine"]
    with subprocess.Popen(
        [*command, "--port", "0"],
        cwd=reader.course.root,
        env=environment(reader.course.root, reader.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            told, found = "", None
            while not found and (line := process.stdout.readline()):
                told += line
                found = re.search(r'base_url="([^"]+)"', line)
            assert found, process.stderr.read()
            with openai.OpenAI(base_url=found[1], api_key="any") as client:
                reply = client.chat.completions.create(
                    model="yours",
                    messages=[{"role": "user", "content": "Where is the key?"}],
                    temperature=0,
                    max_tokens=6,
                )
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    return told, reply.choices[0].message.content


def parts_are_right(reader: Reader, told: str) -> None:
    """The number of own parts, and exactly the names of the others."""
    if len(reader.passed) == TOTAL:
        assert told.startswith(f"All {TOTAL} parts are yours.\n")
        return
    assert told.startswith(f"{len(reader.passed)} of {TOTAL} parts are yours.")
    rest = told.split("so far:\n")[1].split("The chat page")[0]
    names = {exercise.name for known in chapters().values() for exercise in known}
    assert {*re.findall(r"\w+", rest)} & names == names - {*reader.passed}


# ---- the journey --------------------------------------------------------------------


def get_the_plan(reader: Reader, group: Path) -> None:
    """Copy the plan of the group into the workbook, as the page for groups says."""
    reader.home.mkdir(parents=True, exist_ok=True)
    shutil.copy(group / "plan.toml", reader.home)


def record(rows: Sequence[tuple[int, str, int, int, int]]) -> Iterator[str]:
    """The journey as a table."""
    yield f"{'Sunday':<8}{'member':<8}{'passed':>7}{'tries':>7}{'own parts':>11}"
    for sunday, name, *numbers in rows:
        passed, tries, own = numbers
        yield f"{sunday:<8}{name:<8}{passed:>7}{tries:>7}{own:>11}"


def test_three_members_through_five_weeks(tmp_path):
    old = copied(tmp_path / "old" / "course")
    new = updated(copied(tmp_path / "new" / "course"))
    group = tmp_path / "our-group"
    group.mkdir()
    with opened(old) as before, opened(new) as after:
        ada, ben, chloe = (
            Reader(name, tmp_path / place / "workbook", before, timedelta(days=days))
            for name, place, days in [
                ("Ada", "one", 4),
                ("Ben", "two", 3),
                ("Chloe", "three", 2),
            ]
        )
        members = {"Ada": ada, "": ben}
        rows = []

        def keep_a_record(sunday: int) -> None:
            for reader in members.values():
                own = reader.own_parts(reader.at(sunday))
                assert own == len(reader.passed)
                tries = sum(map(reader.tries, reader.runs))
                rows.append((sunday, reader.name, len(reader.passed), tries, own))

        # ---- Sunday 1: a plan for all, and a first week.
        for out in [group, ada.home]:
            done = ada.sundays("plan", *PLAN, "--out", str(out), at=ada.at(1))
            assert done.status == 0, done.said
        for number, day in enumerate(DAYS, 1):
            assert re.search(rf"^Sunday {number} +Sun {day} ", done.said, re.MULTILINE)
        assert "2026-12-27  no meeting" in done.said
        get_the_plan(ben, group)
        for reader in ada, ben:
            assert "new in your workbook" in reader.lab(1)
            reader.note(f"{reader.name}: why 0.5 more bits?")
            reader.work(1)
        ada.share(1, group, "--name", "Ada")
        # Ben gives his name, and changes his mind before anybody sees it.
        own = ben.home.parent
        assert "Ben" in ben.share(1, own, "--name", "Ben").read_text()
        ben.share(1, group, "--no-name")
        board = meet(1, group, ada, members)
        assert "Note:" not in board.text
        keep_a_record(1)

        # ---- Sunday 2: Ben's machine fails him again and again.
        ada.lab(2)
        ada.work(2)
        ben.lab(2)
        file = "answers/attention/attention_weights.py"
        ben.work(2, ("cell", "softmax"), None, ("before", file), ("after", file))
        for reader in ada, ben:
            reader.share(2, group)
        stranger = group / "stranger.toml"
        stranger.write_text("[passed\nthis is no file of ours")
        board = meet(2, group, ada, members)
        assert board.text.count("Note:") == 1
        assert "Note: stranger.toml: it is no TOML: " in board.text
        stranger.unlink()
        keep_a_record(2)

        # ---- Sunday 3: two update; Chloe joins with a copy of the old course.
        ada.course = ben.course = after
        told = ada.lab_after_the_update(3)
        for line in [
            "language-models: exercise changed: see the note under cell ",
            "tokens: 1 cell new, your 7 answers kept",
            "attention: 1 cell changed, your 6 answers kept",
        ]:
            assert re.search(f"^{line}", told, re.MULTILINE), told
        ada.work(3)
        for die in [
            ("before", "workbook/week1/language-models.ipynb"),
            ("after", "workbook/week1/tokens.ipynb"),
            ("before", ".course/checked.json"),
        ]:
            ben.lab(3, die=die)
            ben.progress_is_right(3)
        told = ben.lab(3)
        assert (
            "The checks of language-models have changed: all your answers there still "
            "pass (6)."
        ) in told
        ben.has_the_update()
        ben.work(3)
        get_the_plan(chloe, group)
        chloe.lab(3)
        chloe.work(3)
        members = {"Ada": ada, "Chloe": chloe, "": ben}
        for reader, options in [(ada, ()), (ben, ()), (chloe, ("--name", "Chloe"))]:
            reader.share(3, group, *options)
        board = meet(3, group, ada, members)
        assert board.text.count("Note:") == 1
        assert "With another version of the course than yours: Chloe." in board.text
        keep_a_record(3)

        # ---- Sunday 4: Chloe updates, too, and is killed while she does.
        ada.lab(4)
        ada.work(4)
        ben.lab(4)
        ben.work(4)
        chloe.course = after
        for die in [
            ("after", ".course/before/week1/language-models.ipynb"),
            ("after", "workbook/week1/language-models.ipynb"),
            ("before", "workbook/week2/attention.ipynb"),
            ("before", ".course/checked.json"),
        ]:
            chloe.lab(4, die=die)
            chloe.progress_is_right(4)
        chloe.lab_after_the_update(4)
        chloe.work(4)
        for reader, options in [(ada, ()), (ben, ()), (chloe, ("--name", "Chloé K."))]:
            reader.share(4, group, *options)
        members = {"Ada": ada, "Chloé K.": chloe, "": ben}
        board = meet(4, group, ada, members)
        assert "Note:" not in board.text
        assert "Chloe" not in board.text  # she is known by her new name alone
        keep_a_record(4)

        # ---- Sunday 5: the last week, and three GPTs.
        for reader in ada, ben, chloe:
            reader.lab(5)
            reader.work(5)
            reader.share(5, group)
        board = meet(5, group, ada, members)
        assert "Note:" not in board.text
        keep_a_record(5)
        runs_of_one_are_not_told(group, ada, ben)
        for reader in ada, ben, chloe:
            done = reader.sundays("check", at=reader.at(5))
            count = f"{len(reader.passed)} of {TOTAL} parts are yours."
            assert done.status == 0, done.said
            assert count in done.said

    assert len(ada.passed) == TOTAL
    replies = set()
    for reader in ada, ben, chloe:
        told, reply = served(reader)
        parts_are_right(reader, told)
        replies.add(reply)
    # All parts are right: so the same weights say the same, whoever wrote the parts.
    assert len(replies) == 1
    assert replies.pop().strip()
    print("", *record(rows), sep="\n")
