"""An exercise cell in a notebook: the verdict, what goes on, and what is kept."""

from __future__ import annotations

import re

import nbformat
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from nbclient import NotebookClient

import solutions.language_models as reference
from course import answers, checked, progress
from course.case import Exercise
from course.checks import UnknownExercise
from course.exercise import begin, exercise, hint, hints_given, verdicts
from course.verdict import Verdict

NAME = "bigram_probabilities"
RIGHT = """\
@exercise
def bigram_probabilities(counts, alpha=0.0):
    smoothed = counts.double() + alpha
    return (smoothed / smoothed.sum(dim=-1, keepdim=True)).float()
"""
WRONG = RIGHT.replace("dim=-1", "dim=0")
STUB = (
    "@exercise\ndef bigram_probabilities(counts, alpha=0.0):\n    '''Doc.'''\n    ...\n"
)


@pytest.fixture
def notebook(monkeypatch, tmp_path):
    """Runs cells as a kernel does; returns what the cell displayed."""
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(tmp_path))
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    # Cells run in the module `__main__`, as in a kernel.
    shell.run_cell("import torch\nfrom course.exercise import begin, exercise")

    def run(cell: str) -> str:
        with capture_output() as captured:
            run.result = shell.run_cell(cell)
        shown = "".join(o.data.get("text/plain", "") for o in captured.outputs)
        run.html = "".join(o.data.get("text/html", "") for o in captured.outputs)
        return captured.stdout + captured.stderr + shown

    run.names = shell.user_ns
    yield run
    InteractiveShell.clear_instance()
    verdicts.clear()
    hints_given.clear()


def test_a_stub_is_not_started_and_the_solution_goes_on(notebook):
    notebook(STUB)
    assert verdicts[NAME].status == "not started"
    assert notebook.names[NAME] is reference.bigram_probabilities


def test_a_wrong_answer_is_explained_and_the_solution_goes_on(notebook):
    notebook(WRONG)
    text = repr(verdicts[NAME])
    assert verdicts[NAME].status == "not yet"
    for part in ("Case:", "expected:", "got:", "Likely:"):
        assert part in text
    assert notebook.names[NAME] is reference.bigram_probabilities


def test_a_right_answer_goes_on_and_is_kept(notebook):
    notebook(RIGHT)
    assert verdicts[NAME].status == "passed", verdicts[NAME]
    assert notebook.names[NAME] is not reference.bigram_probabilities
    kept = answers.find("language_models", NAME)
    assert kept.passed is not None
    assert "smoothed = counts.double()" in kept.source
    assert "@exercise" not in kept.source


def test_a_wrong_try_never_replaces_a_kept_answer(notebook):
    notebook(RIGHT)
    before = answers.find("language_models", NAME)
    notebook(WRONG)
    assert answers.find("language_models", NAME) == before


@pytest.mark.parametrize("attempt", [STUB, WRONG])
def test_an_answer_that_passed_before_goes_on(notebook, attempt):
    notebook(RIGHT.replace("smoothed", "mine"))
    notebook(attempt)
    assert "passed before goes on" in verdicts[NAME].note
    assert "mine" in notebook.names[NAME].__code__.co_varnames


def test_begin_binds_what_passed_before_and_the_hints(notebook):
    notebook(RIGHT.replace("smoothed", "mine"))
    notebook.names.pop(NAME)
    notebook('begin("language_models")')
    assert "mine" in notebook.names[NAME].__code__.co_varnames
    assert "Hint 1 of 3" in notebook(f'hint("{NAME}")')


def test_an_unknown_name_is_one_line_in_a_notebook(notebook):
    text = notebook(RIGHT.replace("bigram_probabilities", "bigram_probabilitys"))
    assert text.strip() == (
        "no exercise is called `bigram_probabilitys`; did you mean "
        "`bigram_probabilities`? Keep the name that stands in the chapter."
    )


def test_the_answer_that_a_newer_one_replaces_is_set_aside(notebook):
    notebook(RIGHT)
    first = answers.find("language_models", NAME).source
    notebook(RIGHT.replace("smoothed", "table"))
    (earlier,) = (answers.home() / "answers" / "earlier").iterdir()
    assert first in earlier.read_text()
    assert "table = counts" in answers.find("language_models", NAME).source


def test_the_same_answer_again_keeps_its_date_and_sets_nothing_aside(notebook):
    notebook(RIGHT)
    before = answers.find("language_models", NAME)
    notebook("# the same cell, run once more\n" + RIGHT)
    assert answers.find("language_models", NAME) == before
    assert not (answers.home() / "answers" / "earlier").exists()


def test_helpers_imports_and_constants_of_the_notebook_come_along(notebook):
    notebook("import math\nLOG2 = 0.5\ndef half(x):\n    return x * LOG2 * math.exp(0)")
    notebook(RIGHT.replace("counts.double()", "2 * half(counts.double())"))
    assert verdicts[NAME].status == "passed", verdicts[NAME]
    source = answers.find("language_models", NAME).source
    assert "import math" in source
    assert "LOG2 = 0.5" in source
    assert "def half(x):" in source


def test_an_answer_that_needs_the_notebook_passes_but_says_why_it_is_not_kept(notebook):
    notebook("one = torch.ones(1)")
    notebook(RIGHT.replace("+ alpha", "* one + alpha"))
    assert verdicts[NAME].status == "passed"
    assert "`one`, which exists only in this notebook" in verdicts[NAME].note
    assert answers.find("language_models", NAME) is None


def test_a_folder_that_cannot_be_written_is_one_clear_line(notebook, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(answers, "write_atomically", full)
    notebook(RIGHT)
    assert verdicts[NAME].status == "passed"
    assert "could not be kept" in verdicts[NAME].note
    assert "No space left" in verdicts[NAME].note


def test_an_exception_is_shown_at_the_readers_line(notebook):
    notebook(RIGHT.replace("counts.double()", "counts.doubled()"))
    finding = verdicts[NAME].finding
    assert "AttributeError" in finding.complaint
    assert "line 3, in bigram_probabilities" in finding.trace
    assert "counts.doubled()" in finding.trace


def test_a_gap_that_is_left_is_the_likely_cause(notebook):
    notebook(RIGHT.replace("counts.double() + alpha", "..."))
    assert "still a `...` to fill in, in line 2" in verdicts[NAME].finding.hint


def test_after_a_syntax_error_the_names_are_bound(notebook):
    notebook('begin("language_models")')
    notebook(RIGHT.replace("return (", "return (("))
    assert notebook.result.error_before_exec is not None
    assert notebook.names[NAME] is reference.bigram_probabilities


def test_begin_says_how_far_the_reader_is(notebook):
    assert notebook('begin("language_models")').startswith("0 of ")
    notebook(RIGHT)
    assert notebook('begin("language_models")').startswith("1 of ")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.partition("\n")[2],
        lambda text: text + "syntax error\n",
        lambda text: text + "1 / 0\n",
    ],
    ids=["no first line", "no Python", "does not load"],
)
@pytest.mark.filterwarnings("ignore:Your answer to")
def test_begin_does_not_count_an_answer_that_is_damaged(notebook, damage):
    notebook(RIGHT)
    path = answers.find("language_models", NAME).path
    path.write_text(damage(path.read_text()))
    assert "0 of 6 exercises passed." in notebook('begin("language_models")')
    assert f"Your answer to {NAME} is kept" in notebook('begin("language_models")')
    notebook(RIGHT)
    assert "1 of 6 exercises passed." in notebook('begin("language_models")')


def tries() -> list[tuple[str, int]]:
    return [(p.exercise.name, p.tries) for p in progress.parts() if p.tries]


def test_every_run_of_a_written_answer_is_a_try_and_a_stub_is_none(notebook):
    notebook(STUB)
    assert tries() == []
    notebook(WRONG)
    notebook(WRONG)
    assert tries() == [(NAME, 2)]
    notebook(RIGHT)
    notebook(WRONG)
    assert tries() == [(NAME, 3)]


def test_an_answer_that_passes_again_counts_again(notebook):
    notebook(RIGHT)
    checked.record("language_models", [(NAME, False)])
    assert "0 of 6 exercises passed." in notebook('begin("language_models")')
    notebook(RIGHT)
    assert "1 of 6 exercises passed." in notebook('begin("language_models")')


def test_in_a_kernel_the_card_of_the_first_cell_grows(monkeypatch, tmp_path):
    monkeypatch.setenv("FIVE_SUNDAYS_HOME", str(tmp_path))
    cells = [
        'from course.exercise import begin, exercise\nbegin("language_models")',
        STUB,
        WRONG,
        RIGHT,
    ]

    def first_cell_after(number: int) -> str:
        code = [nbformat.v4.new_code_cell(cell) for cell in cells[:number]]
        notebook = nbformat.v4.new_notebook(cells=code)
        NotebookClient(notebook, timeout=120).execute()
        (output,) = notebook.cells[0].outputs
        assert output.metadata == {}
        return output.data["text/plain"] + output.data["text/html"]

    untouched = first_cell_after(2)
    assert untouched.startswith("0 of 6")
    assert 'class="fs-tried"' not in untouched
    grown = first_cell_after(4)
    assert grown.startswith("1 of 6 exercises passed.\nNext: bigram_counts.")
    assert grown.count('class="fs-passed"') == 1


def test_an_unknown_name_says_which_may_be_meant():
    def bigram_probabilitys(counts):
        return counts

    with pytest.raises(UnknownExercise, match="did you mean `bigram_probabilities`"):
        exercise(bigram_probabilitys)


def test_an_unknown_chapter_says_which_may_be_meant():
    with pytest.raises(UnknownExercise, match="did you mean `language_models`"):
        begin("language_model")


def test_hints_come_one_at_a_time(capsys):
    hints_given.clear()
    for _ in range(4):
        hint(NAME)
    shown = capsys.readouterr().out
    assert re.findall(r"Hint (\d) of 3", shown) == ["1", "2", "3", "1"]


def test_the_third_hint_keeps_its_lines_and_its_indentation():
    spec = Exercise(
        "f", 1, 5, ("nudge", "more `x`", "for x < y:\n    `go`"), lambda: iter(())
    )
    card = Verdict(spec, "not started")._repr_html_()
    assert "<pre>for x &lt; y:\n    `go`</pre>" in card
    assert "<p>more <code>x</code></p>" in card


def test_the_card_is_html_with_folded_hints_and_nothing_unescaped(notebook):
    notebook(WRONG)
    html = verdicts[NAME]._repr_html_()
    assert html.count("<details>") == html.count("</details>") == 3
    assert html.count("<div") == html.count("</div>")
    assert "<script" not in html
    notebook(RIGHT.replace("counts.double()", "int('<b>')"))
    assert "<b>" not in verdicts[NAME]._repr_html_()


def test_checking_does_not_disturb_the_notebooks_random_numbers(notebook):
    def drawn(cell: str) -> float:
        torch.manual_seed(3)
        notebook(cell)
        return torch.rand(1).item()

    assert drawn(STUB) == drawn(WRONG) == drawn(RIGHT)
