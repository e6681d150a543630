"""The quizzes in a browser, and what a page remembers of its reader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

CHAPTER = "chapters/week1/tokens"
OTHER = "chapters/week1/language-models"
ENTRY = f"five-sundays.marks:{CHAPTER}"

# As a browser does in which a reader has forbidden pages to keep anything.
REFUSED = """Object.defineProperty(window, "localStorage", {
  configurable: true, get() { throw new Error("refused") } })"""
# As some browsers do in private windows: all can be asked, nothing can be kept.
EMPTY = "Storage.prototype.setItem = () => { throw new Error('full') }"
NEARLY_FULL = """const keep = Storage.prototype.setItem
Storage.prototype.setItem = function (key, value) {
  if (value.length > 9) throw new Error("full")
  keep.call(this, key, value)
}"""


@contextmanager
def reader(
    browser: Browser, script: str = "", javascript: bool = True
) -> Iterator[tuple[Page, list[str]]]:
    """A tab of a browser that has kept nothing yet, and the errors thrown in it."""
    context = browser.new_context(java_script_enabled=javascript)
    if script:
        context.add_init_script(script)
    tab = context.new_page()
    thrown: list[str] = []
    tab.on("pageerror", lambda error: thrown.append(f"{error}\n{error.stack}"))
    yield tab, thrown
    context.close()


@pytest.fixture
def tab(browser, address) -> Iterator[Page]:
    """The chapter, opened by a new reader; whatever it throws fails the test."""
    with reader(browser) as (page, thrown):
        page.goto(f"{address}{CHAPTER}.html")
        yield page
        assert not thrown


def question(tab: Page, number: int) -> Locator:
    return tab.locator("form.fs-quiz").nth(number - 1)


def option(tab: Page, number: int, letter: str) -> Locator:
    return question(tab, number).locator(f"input[value={letter}]")


def answer(tab: Page, number: int) -> Locator:
    return tab.locator("form.fs-quiz + details").nth(number - 1)


def right_letter(tab: Page, number: int) -> str:
    """As the folded answer says it, not as the script has understood it."""
    text = answer(tab, number).locator(".sd-summary-content").text_content()
    return re.match(r"\s*([a-z])\.", text)[1]


def wrong_letter(tab: Page, number: int) -> str:
    return next(c for c in "abc" if c != right_letter(tab, number))


def is_open(details: Locator) -> bool:
    return details.evaluate("details => details.open")


def kept(tab: Page) -> dict:
    return json.loads(tab.evaluate(f"localStorage.getItem('{ENTRY}')") or "{}")


def forget(tab: Page, words: str) -> str:
    tab.get_by_role("button", name=words).click()
    return tab.locator("#your-marks [role=status]").inner_text()


# ---- the quiz ---------------------------------------------------------------------


def test_a_quiz_is_a_group_of_native_radio_buttons_for_each_question(tab):
    groups = tab.get_by_role("group", name="how many merges did its training make?")
    assert groups.count() == 1
    assert groups.get_by_role("radio").count() == 4
    assert groups.get_by_role("radio", name="It depends on the training text").count()
    assert tab.locator(".fs-quiz").count() == 6
    assert tab.locator(".fs-score").inner_text().startswith("Answered right: 0 of 6.")


def test_nothing_in_the_form_tells_the_right_option_before_it_is_chosen(tab):
    html = question(tab, 1).evaluate("form => form.outerHTML")
    labels = re.findall(r"<label>.*?</label>", html, re.S)
    shapes = {re.sub(r"value=.\w.|<strong>.*?</span>", "", label) for label in labels}
    assert len(labels) == 4
    assert len(shapes) == 1


def test_the_right_option_says_so_opens_the_answer_and_counts(tab):
    letter = right_letter(tab, 2)
    option(tab, 2, letter).check()
    chosen = question(tab, 2).locator("label", has=tab.locator(":checked"))
    expect(chosen).to_contain_text("✓ right")
    expect(question(tab, 2).get_by_role("status")).to_contain_text("Right.")
    assert is_open(answer(tab, 2))
    assert not is_open(answer(tab, 1))
    expect(tab.locator(".fs-score")).to_contain_text("Answered right: 1 of 6.")


def test_a_wrong_option_says_not_yet_and_leaves_the_answer_folded(tab):
    wrong, right = wrong_letter(tab, 1), right_letter(tab, 1)
    option(tab, 1, wrong).check()
    form = question(tab, 1)
    expect(form.get_by_role("status")).to_contain_text(f"Not yet: {wrong} is not it.")
    assert form.get_by_text("✗ not yet").count() == 1
    assert not is_open(answer(tab, 1))
    expect(tab.locator(".fs-score")).to_contain_text("0 of 6")
    option(tab, 1, right).check()
    assert form.get_by_text("not yet").count() == 0
    expect(tab.locator(".fs-score")).to_contain_text("1 of 6")
    option(tab, 1, wrong).check()
    expect(tab.locator(".fs-score")).to_contain_text("0 of 6")


def test_every_question_of_the_course_can_be_answered_right(browser, address):
    for page in (CHAPTER, OTHER, "chapters/week1/session"):
        with reader(browser) as (tab, thrown):
            tab.goto(f"{address}{page}.html")
            count = tab.locator(".fs-quiz").count()
            assert count == tab.locator("summary", has_text="Answer ").count()
            for number in range(1, count + 1):
                option(tab, number, right_letter(tab, number)).check()
            expect(tab.locator(".fs-score")).to_contain_text(f"{count} of {count}.")
            assert not thrown


def test_with_the_keyboard_arrows_pass_over_options_and_enter_answers(tab):
    letter = right_letter(tab, 1)
    form = question(tab, 1)
    option(tab, 1, "a").focus()
    while not option(tab, 1, letter).is_checked():
        tab.keyboard.press("ArrowDown")
        expect(form.get_by_role("status")).to_contain_text("Press Enter")
        assert form.locator("[data-judged]").count() == 0
        assert kept(tab) == {}
    assert not is_open(answer(tab, 1))
    tab.keyboard.press("Enter")
    expect(form.get_by_role("status")).to_contain_text("Right.")
    assert tab.url.endswith(".html")  # and no form was sent anywhere
    expect(tab.locator(".fs-score")).to_contain_text("1 of 6")
    tab.keyboard.press("ArrowDown")
    expect(tab.locator(".fs-score")).to_contain_text("0 of 6")
    tab.keyboard.press("Space")
    expect(form.get_by_role("status")).to_contain_text("Not yet")


# ---- what is remembered -----------------------------------------------------------


def leave_marks(tab: Page) -> None:
    """A right and a wrong choice, two hints of one exercise, and a solution."""
    option(tab, 1, right_letter(tab, 1)).check()
    option(tab, 3, wrong_letter(tab, 3)).check()
    card = tab.locator(".fs-verdict", has_text="train_bpe").first
    card.get_by_text("Hint 1 of 3").click()
    card.get_by_text("Hint 2 of 3").click()
    tab.get_by_text("Solution: merge").click()
    expect(tab.locator("details[open]")).to_have_count(4)
    tab.wait_for_function(
        f"Object.keys(JSON.parse(localStorage.getItem('{ENTRY}'))).length === 6"
    )


def marks_shown(tab: Page) -> list[str]:
    opened = tab.locator("details[open] > summary").all_inner_texts()
    judged = tab.locator(".fs-quiz [data-judged]").all_inner_texts()
    return [" ".join(text.split()) for text in opened + judged]


def test_what_was_chosen_and_opened_is_there_after_a_reload(tab):
    leave_marks(tab)
    before = marks_shown(tab)
    assert len(before) == 6
    tab.reload()
    assert marks_shown(tab) == before
    expect(tab.locator(".fs-score")).to_contain_text("1 of 6")


def test_an_answer_that_was_closed_again_stays_closed(tab):
    option(tab, 1, right_letter(tab, 1)).check()
    answer(tab, 1).locator("summary").click()
    tab.wait_for_function(
        f"Object.keys(JSON.parse(localStorage.getItem('{ENTRY}'))).length === 1"
    )
    tab.reload()
    assert option(tab, 1, right_letter(tab, 1)).is_checked()
    assert not is_open(answer(tab, 1))


def test_marks_outlive_an_edit_of_the_page(tab, address):
    """Another question comes first, options change places, a hint's words change."""
    leave_marks(tab)

    def edited(route) -> None:
        html = route.fetch().text()
        first = html.index("<p><strong>1.</strong>")
        second = html.index("<p><strong>2.</strong>")
        third = html.index("<p><strong>3.</strong>")
        one, two = html[first:second], html[second:third]
        one = one.replace("1.</strong>", "2.</strong>")
        two = two.replace("2.</strong>", "1.</strong>")
        texts = re.findall(r"<li><p><strong>\w(.*?)</li>", one, re.S)
        for old, new in zip(texts, [*texts[1:], texts[0]], strict=True):
            one = one.replace(old, f"<!-- {new} -->", 1)
        one = one.replace("<!-- ", "").replace(" -->", "")
        html = html[:first] + two + one + html[third:]
        html = html.replace("Hint 2 of 3</summary><p>", "Hint 2 of 4</summary><p>New: ")
        route.fulfill(body=html, content_type="text/html")

    tab.route("**/*.html", edited)
    tab.reload()
    checked = question(tab, 2).locator("label", has=tab.locator(":checked"))
    expect(checked).to_contain_text("744")
    assert question(tab, 1).locator(":checked").count() == 0
    assert "Hint 2 of 4" in marks_shown(tab)


def test_a_second_window_of_the_page_overwrites_nothing(tab, address):
    second = tab.context.new_page()
    second.goto(f"{address}{CHAPTER}.html")
    option(tab, 1, wrong_letter(tab, 1)).check()
    option(second, 2, wrong_letter(second, 2)).check()
    option(tab, 3, wrong_letter(tab, 3)).check()
    assert len(kept(tab)) == 3


# ---- forgetting -------------------------------------------------------------------


def test_the_page_forgets_and_says_so_and_other_pages_keep_theirs(tab, address):
    leave_marks(tab)
    tab.goto(f"{address}{OTHER}.html")
    option(tab, 1, wrong_letter(tab, 1)).check()
    tab.goto(f"{address}{CHAPTER}.html")
    assert forget(tab, "Forget this page") == "Forgotten: your marks on this page."
    for _ in range(2):
        assert marks_shown(tab) == []
        assert tab.locator(".fs-quiz :checked").count() == 0
        expect(tab.locator(".fs-score")).to_contain_text("0 of 6")
        tab.reload()
    assert forget(tab, "Forget this page").startswith("There was nothing to forget")
    tab.goto(f"{address}{OTHER}.html")
    assert tab.locator(".fs-quiz :checked").count() == 1


def test_the_whole_course_forgets_once_the_reader_has_agreed(tab, address):
    leave_marks(tab)
    tab.evaluate("localStorage.setItem('mine', 'of another program')")
    tab.goto(f"{address}{OTHER}.html")
    option(tab, 1, wrong_letter(tab, 1)).check()
    tab.once("dialog", lambda dialog: dialog.dismiss())
    assert forget(tab, "Forget the whole course") == "Kept."
    assert tab.locator(".fs-quiz :checked").count() == 1
    tab.once("dialog", lambda dialog: dialog.accept())
    said = forget(tab, "Forget the whole course")
    assert said == "Forgotten: your marks on 2 pages of the course."
    assert marks_shown(tab) == []
    tab.goto(f"{address}{CHAPTER}.html")
    assert marks_shown(tab) == []
    assert tab.evaluate("localStorage.getItem('mine')") == "of another program"
    assert forget(tab, "Forget the whole course") == "There was nothing to forget."


def test_what_is_said_of_forgetting_can_be_reached_from_the_quiz(tab):
    tab.get_by_role("link", name="What this page remembers").click()
    expect(tab.get_by_role("button", name="Forget this page")).to_be_in_viewport()


def test_a_page_with_nothing_to_remember_says_nothing_of_it(tab, address):
    tab.goto(f"{address}chapters/reference/notation.html")
    assert tab.locator("#your-marks").count() == 0


# ---- where nothing can be remembered ----------------------------------------------


def use_without_a_memory(tab: Page, address: str) -> None:
    tab.goto(f"{address}{CHAPTER}.html")
    option(tab, 1, right_letter(tab, 1)).check()
    expect(tab.locator(".fs-score")).to_contain_text("1 of 6")
    tab.get_by_text("Solution: merge").click()
    expect(tab.locator("details[open]")).to_have_count(2)
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("script", [REFUSED, EMPTY], ids=["refused", "empty"])
def test_a_page_works_without_storage_and_says_that_it_forgets(
    browser, address, script
):
    with reader(browser, script) as (tab, thrown):
        use_without_a_memory(tab, address)
        expect(tab.locator("#your-marks")).to_contain_text("Your browser keeps nothing")
        assert tab.get_by_role("button", name="Forget").count() == 0
        # The theme asks before any file of the book is loaded; nothing else may fail.
        assert [e for e in thrown if "_static" in e] == []
        assert len(thrown) <= 1


def test_a_page_works_where_storage_is_full(browser, address):
    with reader(browser, NEARLY_FULL) as (tab, thrown):
        use_without_a_memory(tab, address)
        assert not thrown


@pytest.mark.parametrize(
    "nonsense", ['{"chosen', "null", "7", '"text"', "[1, 2]", '{"hint: merge 1": {}}']
)
def test_nonsense_in_the_storage_is_as_good_as_nothing(browser, address, nonsense):
    script = f"if (!localStorage.begun) {{ localStorage.setItem({json.dumps(ENTRY)}, "
    script += f"{json.dumps(nonsense)}); localStorage.begun = 1 }}"
    with reader(browser, script) as (tab, thrown):
        tab.goto(f"{address}{CHAPTER}.html")
        assert marks_shown(tab) == []
        option(tab, 1, wrong_letter(tab, 1)).check()
        tab.reload()
        assert tab.locator(".fs-quiz :checked").count() == 1
        assert not thrown


def test_without_scripts_the_quiz_is_a_list_with_folded_answers(browser, address):
    with reader(browser, javascript=False) as (tab, _thrown):
        tab.goto(f"{address}{CHAPTER}.html#quiz")
        quiz = tab.locator("section#quiz")
        assert quiz.locator("li").count() >= 18
        assert tab.locator("input[type=radio], .fs-score, #your-marks").count() == 0
        explanation = quiz.get_by_text("The 256 bytes are there")
        assert not explanation.is_visible()
        quiz.get_by_text("Answer 1").click()
        assert explanation.is_visible()
