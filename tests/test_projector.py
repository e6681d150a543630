"""The five sessions as they are written, and their projector view in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from course.checks import chapters
from course.notebooks import ROOT
from tests.browser import FRAMES, PAGES, axe_faults

WEEKS = (1, 2, 3, 4, 5)
TIMED = re.compile(r"^## (\d+)-(\d+): (.+)$", re.M)


def written(week: int) -> str:
    return (ROOT / f"chapters/week{week}/session.md").read_text("utf-8")


def sections(text: str) -> dict[str, str]:
    """The text below each heading of the second level."""
    found = re.split(r"^## (.+)\n", text, flags=re.M)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def section(week: int, name: str) -> str:
    (found,) = [
        body
        for title, body in sections(written(week)).items()
        if re.sub(r"^\d+-\d+: ", "", title).startswith(name)
    ]
    return found


def parts(week: int) -> list[tuple[int, int, str]]:
    return [(int(a), int(b), name) for a, b, name in TIMED.findall(written(week))]


# ---- as they are written ------------------------------------------------------------


@pytest.mark.parametrize("week", WEEKS)
def test_the_parts_of_a_session_fill_120_minutes_as_its_plan_says(week):
    ends = [0]
    for start, end, _name in parts(week):
        assert start == ends[-1]
        ends.append(end)
    assert ends[-1] == 120
    rows = re.findall(r"^\| (\d+)-(\d+) \| ", section(week, "The plan"), re.M)
    assert [(int(a), int(b)) for a, b in rows] == [(a, b) for a, b, _ in parts(week)]


@pytest.mark.parametrize("week", WEEKS)
def test_the_sessions_are_alike(week):
    plain = [re.sub(r"^\d+-\d+: ", "", name) for name in sections(written(week))]
    common = (
        "The plan, Roles, Arrive, Opening quiz, Who is stuck where, The one hard idea"
    )
    assert plain[:6] == common.split(", ")
    assert plain[6:8] == ["Pause", "Pair work"]
    assert [name.partition(":")[0] for name in plain[-2:]] == ["Catch-up", "Stretch"]
    assert plain[-3].startswith("Next time" if week < 5 else "What was true")
    assert any("claims of the week" in name for name in plain)
    roles = re.findall(r"^- \*\*(.+?):\*\* ", section(week, "Roles"), re.M)
    assert roles == ["Leader", "Timekeeper", "Scribe", "Stuck first"]
    assert "`workbook/notes/`" in section(week, "Roles")
    before = written(week).partition("## The plan")[0]
    assert "`.venv/bin/sundays progress --share FOLDER`" in before
    assert "`.venv/bin/sundays group FOLDER`" in section(week, "Who is stuck")


@pytest.mark.parametrize("week", WEEKS)
def test_the_steps_fit_into_their_part_and_the_catch_up_takes_45_minutes(week):
    steps = re.findall(r"^\*\*Step .+ \((\d+) minutes\)", written(week), re.M)
    (length,) = [b - a for a, b, name in parts(week) if name == "The one hard idea"]
    assert length - 5 <= sum(map(int, steps)) <= length
    catching_up = re.findall(r"\*\((\d+) minutes\)\*", section(week, "Catch-up"))
    assert sum(map(int, catching_up)) == 45


@pytest.mark.parametrize("week", WEEKS)
def test_the_minutes_of_an_exercise_are_those_of_the_exercise(week):
    known = {e.name: e.minutes for exercises in chapters().values() for e in exercises}
    named = re.findall(r"`(\w+)` \((\d+)(?: minutes|\))", written(week))
    assert len(named) >= 3
    assert named == [(name, str(known[name])) for name, _minutes in named]


@pytest.mark.parametrize("week", WEEKS[:4])
def test_what_a_session_asks_for_next_time_is_what_the_next_one_expects(week):
    asked = re.findall(r"`(\w+)` \(\d+", section(week, "Next time"))
    before = written(week + 1).partition("## The plan")[0]
    assert asked == re.findall(r"`(\w+)` \(\d+", before)


@pytest.mark.parametrize("week", WEEKS)
def test_every_question_of_the_hard_idea_has_an_answer_that_can_be_folded(week):
    _, *questions = section(week, "The one hard idea").split("*Question:*")
    assert len(questions) >= 4
    for question in questions:
        asked, mark, _rest = question.partition("]{.answer}")
        assert mark, question
        assert "? [(" in " ".join(asked.split()), question


# ---- in a browser -------------------------------------------------------------------


@contextmanager
def projected(
    browser: Browser,
    url: str,
    size: tuple[int, int] = (1280, 720),
    theme: str = "light",
    script: str = "",
    time: datetime | None = None,
) -> Iterator[Page]:
    """The view of a session, opened by its address; whatever it throws fails.

    With a `time` the clock of the page stands at it, and goes when the test says so.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=theme,
        reduced_motion="reduce",
    )
    tab = context.new_page()
    thrown: list[str] = []
    tab.on("pageerror", lambda error: thrown.append(f"{error}\n{error.stack}"))
    if script:
        context.add_init_script(script)
    if time:
        tab.clock.install(
            time=time - timedelta(hours=1)
        )  # it goes while the page loads
    try:
        tab.goto(url)
        if "#projector" in url:
            expect(view(tab)).to_be_visible()
        if time:
            tab.clock.pause_at(time)
        yield tab
        assert not thrown
    finally:
        context.close()


def page_of(address: str, week: int) -> str:
    return f"{address}chapters/week{week}/session.html"


def view(tab: Page) -> Locator:
    return tab.locator("dialog.fs-projector")


def stage(tab: Page) -> Locator:
    return tab.locator(".fs-stage")


def button(tab: Page, name: str) -> Locator:
    return view(tab).get_by_role("button", name=name, exact=True)


def titles(tab: Page) -> list[str]:
    options = view(tab).locator("select option").all_text_contents()
    return [re.sub(r"^\s*\d+\. ", "", title) for title in options]


def address_of(tab: Page) -> str:
    """As the page has it: `tab.url` learns of a new hash a moment later."""
    return tab.evaluate("location.href")


def at(tab: Page) -> int:
    """The screen that is shown, counted from 1."""
    return int(re.search(r"screen=(\d+)", address_of(tab))[1])


def go(tab: Page, title: str) -> None:
    tab.get_by_label("All screens").select_option(str(titles(tab).index(title)))


def press(tab: Page, *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def plain(markdown: str) -> str:
    """Words as a page shows them, without the typographer's quotes."""
    words = re.sub(r"[*`\[\]]|\{\.\w+\}|\(\S+?\.(?:ipynb|md)\)", "", markdown)
    return " ".join(words.split())


def ascii_quotes(words: str) -> str:
    for fine, typed in ("“", '"'), ("”", '"'), ("‘", "'"), ("’", "'"), ("…", "..."):
        words = words.replace(fine, typed)
    return " ".join(words.split())


def expected_titles(week: int) -> list[str]:
    """What the screens of a session are, from its text alone."""
    text = written(week)
    found = [re.match(r"# (.+)\n", text)[1], "The plan", "Roles"]
    extras = ["Before Sunday"]
    for heading, body in sections(text).items():
        body = re.sub(
            r"^:::\{dropdown\} (?!If).*?^:::$", "", "\n" + body, flags=re.M | re.S
        )
        if heading.startswith(("Catch-up", "Stretch")):
            extras.append(plain(heading))
        if heading.startswith("Stretch"):
            items = re.findall(r"^- \*\*(.+?)\*\*", body, re.M | re.S)
            extras += [re.sub(r"[.:]$", "", plain(item)) for item in items]
        if not re.match(r"\d", heading):
            continue
        name = heading.partition(": ")[2]
        found.append(plain(name))
        starts = r"(?<=\n\n)\*\*.+?\*\*|^:::\{dropdown\} If.+?$"
        if name.startswith("Who is stuck"):
            starts = r"^- \*\*.+?\*\*"
        elif "\n- " in body and not re.search(r"^\*\*", body, re.M):
            found.append(plain(name))
        for begun in re.findall(starts, body, re.M | re.S):
            begun = plain(re.sub(r"^(- |:::\{dropdown\} )", "", begun))
            begun = re.sub(r"[.:]$", "", begun)
            found.append(re.sub(r"^(\d+)$", r"Question \1", begun))
    return found + extras


# What is seen of the screen's text lies within it, and nothing has to be scrolled.
CUT_OFF = """() => {
  const stage = document.querySelector(".fs-stage")
  const box = stage.getBoundingClientRect()
  const faults = []
  if (stage.scrollHeight > stage.clientHeight + 1) faults.push("it scrolls")
  if (parseFloat(getComputedStyle(stage).fontSize) < 0.029 * innerHeight)
    faults.push("its type is small: " + stage.style.fontSize)
  const walker = document.createTreeWalker(stage, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const node = walker.currentNode
    if (!node.data.trim() || !node.parentElement.checkVisibility()) continue
    if (node.parentElement.closest("mjx-assistive-mml")) continue
    const range = document.createRange()
    range.selectNodeContents(node)
    for (const {left, right, top, bottom} of range.getClientRects())
      if (left < box.left || right > box.right
          || top < box.top - 1 || bottom > box.bottom + 1)
        faults.push("cut off: " + node.data.trim().slice(0, 40))
  }
  return faults
}"""


@pytest.mark.parametrize("week", WEEKS)
def test_every_screen_of_a_session_is_seen_whole_folded_and_unfolded(
    browser, address, week
):
    folded = re.findall(r"^:::\{dropdown\} (?:Answer|What|If)", written(week), re.M)
    folded += re.findall(r"\]\{\.answer\}", written(week))
    notes = re.findall(
        r"^:::\{dropdown\} Notes for the leader\n(?:- )?(?:\*\*)?(.{20})",
        written(week),
        re.M,
    )
    notes += [
        plain(n)[:20] for n in re.findall(r"\[([^\]]+)\]\{\.leader\}", written(week))
    ]
    assert len(notes) >= 3
    with projected(browser, page_of(address, week) + "#projector") as tab:
        expected = [ascii_quotes(title) for title in expected_titles(week)]
        assert [ascii_quotes(title) for title in titles(tab)] == expected
        faults, unfolded, seen = [], 0, ""
        for number, title in enumerate(expected, start=1):
            assert at(tab) == number
            assert stage(tab).locator("details[open], .answer:visible").count() == 0
            seen += stage(tab).inner_text()
            count = stage(tab).locator("details, .answer").count()
            for opened in range(count + 1):
                if opened:
                    press(tab, "a")
                    unfolded += 1
                    assert f"open={opened}" in address_of(tab)
                shown = stage(tab).locator("details[open], .answer:visible")
                assert shown.count() == opened
                faults += [
                    f"{number} {title} {opened}: {f}" for f in tab.evaluate(CUT_OFF)
                ]
            press(tab, "ArrowRight")
        assert at(tab) == len(expected)
    assert not faults, "\n".join(faults)
    assert unfolded == len(folded)
    seen = ascii_quotes(seen)
    assert [note for note in notes if ascii_quotes(note) in seen] == []


@pytest.mark.parametrize(
    "size", [(1920, 1080), (1024, 768)], ids="{0[0]}x{0[1]}".format
)
def test_the_fullest_screens_are_seen_whole_on_other_projectors(browser, address, size):
    for week in WEEKS:
        with projected(browser, page_of(address, week) + "#projector", size) as tab:
            for title in titles(tab):
                if title in ("The plan", "Roles", "Pair work") or title[:5] in (
                    "Befor",
                    "Catch",
                ):
                    go(tab, title)
                    assert tab.evaluate(CUT_OFF) == [], f"{week}: {title}"


def test_a_question_stands_alone_and_its_right_option_shows_with_the_answer(
    browser, address
):
    url = page_of(address, 2)
    with projected(browser, url) as tab:
        tab.locator(".fs-quiz").nth(1).get_by_role(
            "radio"
        ).last.check()  # the leader tried
        tab.get_by_role("button", name="Projector view").click()
        go(tab, "Question 2")
        options = stage(tab).locator(".fs-options li")
        assert options.count() == 4
        assert stage(tab).locator("input, form").count() == 0
        assert stage(tab).locator(".fs-right").count() == 0
        assert "Answer 2" in stage(tab).inner_text()
        assert "Itself and everything before" not in stage(tab).inner_text()
        button(tab, "Answer").click()
        assert stage(tab).locator(".fs-right").inner_text().startswith("d.")
        assert "Itself and everything before" in stage(tab).inner_text()
        stage(tab).locator("summary").click()
        assert stage(tab).locator("details[open]").count() == 0
        assert stage(tab).locator(".fs-right").count() == 0


# ---- the countdown ------------------------------------------------------------------

SUNDAY = datetime(2025, 3, 9, 14, 0)


def left(tab: Page) -> Locator:
    return tab.get_by_role("timer")


def test_a_part_is_counted_down_and_over(browser, address):
    with projected(browser, page_of(address, 2) + "#projector", time=SUNDAY) as tab:
        assert left(tab).inner_text() == ""
        go(tab, "Opening quiz")
        expect(left(tab)).to_have_text("10:00")
        tab.clock.run_for(5_000)
        expect(left(tab)).to_have_text("10:00")  # it waits for the leader
        press(tab, "t")
        tab.clock.run_for(61_000)
        expect(left(tab)).to_have_text("8:59")
        button(tab, "Pause").click()
        tab.clock.run_for(60_000)
        expect(left(tab)).to_have_text("8:59")
        press(tab, "t")
        tab.clock.fast_forward("08:59")
        expect(left(tab)).to_have_text("0:00")
        tab.clock.fast_forward("01:20")
        expect(left(tab)).to_have_text("over by 1:20")
        press(tab, "r")
        expect(left(tab)).to_have_text("over by 1:20")  # not while it runs
        press(tab, "t", "r")
        expect(left(tab)).to_have_text("10:00")


def test_one_countdown_runs_and_is_seen_from_every_screen(browser, address):
    with projected(browser, page_of(address, 2) + "#projector", time=SUNDAY) as tab:
        go(tab, "Pair work")
        press(tab, "t")
        tab.clock.fast_forward("05:00")
        go(tab, "A window")  # of the stretch
        expect(left(tab)).to_have_text("20:00")
        expect(tab.locator(".fs-whose")).to_have_text("Pair work")
        go(tab, "The doubts of the beginning")
        expect(left(tab)).to_have_text("20:00")
        button(tab, "Start this part").click()
        expect(left(tab)).to_have_text("5:00")
        expect(tab.locator(".fs-whose")).to_be_empty()
        tab.clock.fast_forward("01:00")
        expect(left(tab)).to_have_text("4:00")
        press(tab, "t")
        go(tab, "Pair work")
        expect(left(tab)).to_have_text("20:00")  # it was paused by the other
        button(tab, "Go on").click()
        button(tab, "Pause").click()
        button(tab, "Set the countdown back").click()
        expect(left(tab)).to_have_text("25:00")


def test_a_line_says_what_comes_next_and_where_the_plan_is(browser, address):
    with projected(browser, page_of(address, 2) + "#projector", time=SUNDAY) as tab:
        line = tab.locator(".fs-head p")
        go(tab, "The plan")
        assert line.inner_text() == ""
        tab.get_by_label("We began at").fill("13:30")
        expect(line).to_contain_text("By the plan: minute 30, The one hard idea")
        tab.clock.fast_forward("24:59")
        expect(line).to_contain_text("By the plan: minute 54, The one hard idea")
        tab.clock.fast_forward("00:01")
        expect(line).to_contain_text("By the plan: minute 55, Pause")
        button(tab, "Now").click()
        expect(line).to_contain_text("By the plan: minute 0, Arrive")
        tab.get_by_label("We began at").fill("15:00")
        expect(line).to_contain_text("By the plan: begins at 15:00")
        tab.get_by_label("We began at").fill("12:00")
        expect(line).to_contain_text("By the plan: over")
        tab.get_by_label("We began at").fill("")
        expect(line).to_be_empty()
        go(tab, "Opening quiz")
        expect(line).to_have_text("Next: 20–30 Who is stuck where")
        go(tab, "Next time")
        expect(line).to_have_text("Next: the end")


def test_the_first_countdown_says_when_the_meeting_began(browser, address):
    with projected(browser, page_of(address, 2) + "#projector", time=SUNDAY) as tab:
        go(tab, "Arrive")
        press(tab, "t")
        tab.clock.fast_forward("12:00")
        go(tab, "Opening quiz")
        press(tab, "t")  # this one is late by two minutes, the plan is not
        expect(tab.locator(".fs-head p")).to_contain_text("minute 12, Opening quiz")


# ---- keys, and the address ----------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "screen"),
    [
        ("ArrowRight", 6),
        ("PageDown", 6),
        ("Space", 6),
        ("ArrowLeft", 4),
        ("PageUp", 4),
        ("Shift+Space", 4),
        ("ArrowDown", 9),
        ("ArrowDown ArrowUp", 5),
        ("ArrowRight ArrowUp", 5),
        ("Home", 1),
        ("Home ArrowLeft", 1),
        ("End", 49),
        ("End ArrowRight", 49),
    ],
)
def test_keys_lead_from_screen_to_screen(browser, address, keys, screen):
    with projected(browser, page_of(address, 2) + "#projector?screen=5") as tab:
        assert titles(tab)[4] == "Opening quiz"
        press(tab, *keys.split())
        assert at(tab) == screen
        assert address_of(tab).startswith(
            page_of(address, 2)
        )  # no key of the page was meant


def test_help_shows_the_keys_and_closes_first(browser, address):
    with projected(browser, page_of(address, 1) + "#projector") as tab:
        keys = tab.locator(".fs-keys")
        press(tab, "?")
        expect(keys).to_be_visible()
        expect(button(tab, "Keys")).to_have_attribute("aria-expanded", "true")
        assert "the next screen" in keys.inner_text()
        press(tab, "Escape")
        expect(keys).to_be_hidden()
        expect(view(tab)).to_be_visible()
        button(tab, "Keys").click()
        expect(keys).to_be_visible()


def test_full_screen_shows_the_view_and_ends_with_it(browser, address):
    with projected(browser, page_of(address, 1) + "#projector") as tab:
        press(tab, "f")
        tab.wait_for_function("document.fullscreenElement !== null")
        expect(stage(tab)).to_be_visible()
        tab.evaluate(FRAMES)
        middle = "document.elementFromPoint(innerWidth / 2, innerHeight / 2)"
        assert tab.evaluate(f"{middle}.closest('dialog') !== null")
        button(tab, "Leave").click()
        tab.wait_for_function("document.fullscreenElement === null")


def test_keys_work_while_hangul_is_typed(browser, address):
    with projected(browser, page_of(address, 1) + "#projector?screen=6") as tab:
        stage(tab).dispatch_event(
            "keydown", {"key": "ㅁ", "code": "KeyA", "bubbles": True}
        )
        assert stage(tab).locator("details[open]").count() == 1


def test_a_focused_control_keeps_its_own_keys(browser, address):
    with projected(browser, page_of(address, 1) + "#projector?screen=6") as tab:
        button(tab, "Answer").focus()
        press(tab, "Space")
        assert at(tab) == 6
        assert stage(tab).locator("details[open]").count() == 1
        button(
            tab, "The screen before"
        ).click()  # by mouse: the keys are the stage's again
        press(tab, "Space")
        assert at(tab) == 6
        press(tab, "Control+ArrowRight")
        assert at(tab) == 6


def test_a_reload_shows_the_same_screen_and_the_same_countdown(browser, address):
    with projected(browser, page_of(address, 1) + "#projector", time=SUNDAY) as tab:
        go(tab, "Question 2")
        press(tab, "a", "t")
        before = stage(tab).inner_text()
        for later, said in ((2, "8:00"), (12, "over by 2:00"), (800, "10:00")):
            tab.clock.resume()  # a page needs time to load
            tab.reload()
            expect(view(tab)).to_be_visible()
            tab.clock.pause_at(SUNDAY + timedelta(minutes=later))
            if later == 800:  # on another day nobody wants to see it
                tab.clock.resume()
                tab.reload()
                expect(view(tab)).to_be_visible()
            expect(left(tab)).to_have_text(said)
            assert stage(tab).inner_text() == before
            assert stage(tab).locator("details[open]").count() == 1


@pytest.mark.parametrize(
    ("state", "screen"),
    [
        ("", 1),
        ("?screen=", 1),
        ("?screen=0", 1),
        ("?screen=-3&open=x&began=soon&clock=1:2:3:4,9,a:b,99:1:1", 1),
        ("?screen=999&open=99", 45),
        ("?screen=6&open=99&clock=%20", 6),
        ("<b>", 1),
    ],
)
def test_nonsense_in_the_address_shows_a_screen_all_the_same(
    browser, address, state, screen
):
    with projected(browser, f"{page_of(address, 1)}#projector{state}") as tab:
        assert at(tab) == screen
        assert re.fullmatch(
            r"#projector\?screen=\d+(&open=1)?(&clock=1:2)?",
            tab.evaluate("location.hash"),
        )


def test_escape_leads_back_to_the_same_place_of_the_page(browser, address):
    with projected(browser, page_of(address, 1)) as tab:
        opener = tab.get_by_role("button", name="Projector view")
        place = 40
        for leave in ("Escape", "the button", "Back", "after a reload"):
            tab.evaluate(f"scrollTo({{top: {place}, behavior: 'instant'}})")
            opener.focus()
            press(tab, "Enter")
            expect(view(tab)).to_be_visible()
            assert tab.evaluate("document.activeElement.closest('dialog') !== null")
            press(tab, "ArrowDown", "ArrowDown", "ArrowDown")
            if leave == "the button":
                button(tab, "Leave").click()
            elif leave == "Back":
                tab.go_back()
            elif leave == "after a reload":
                tab.reload()
                expect(view(tab)).to_be_visible()
            press(tab, *["Escape"] * (leave in ("Escape", "after a reload")))
            expect(view(tab)).to_be_hidden()
            tab.wait_for_function("location.hash === ''")
            # After a reload the browser itself comes back to within a few pixels.
            near = 8 if leave == "after a reload" else 0
            assert abs(tab.evaluate("scrollY") - place) <= near, leave
            expect(opener).to_be_focused()


def test_leaving_keeps_the_screen_and_the_countdown(browser, address):
    with projected(browser, page_of(address, 1) + "#projector", time=SUNDAY) as tab:
        go(tab, "Pair work")
        press(tab, "t", "Escape")
        expect(view(tab)).to_be_hidden()
        tab.clock.fast_forward("03:00")  # the leader reads the notes on the page
        tab.get_by_role("button", name="Projector view").click()
        assert titles(tab)[at(tab) - 1] == "Pair work"
        expect(left(tab)).to_have_text("22:00")


def test_rows_of_the_plan_and_links_to_sections_lead_to_screens(browser, address):
    with projected(browser, page_of(address, 1) + "#projector") as tab:
        go(tab, "The plan")
        rows = stage(tab).locator("tbody tr")
        assert rows.locator("a").count() == rows.count() == len(parts(1))
        rows.locator("a").nth(6).click()
        assert titles(tab)[at(tab) - 1] == "The claims of the week"
        tab.get_by_label("All screens").select_option("25")
        stage(tab).get_by_role("link", name="stretch").click()
        assert titles(tab)[at(tab) - 1] == "Stretch: for someone who did everything"


# ---- where it is, and for whom ------------------------------------------------------


def test_the_view_belongs_to_sessions_alone(browser, address):
    others = ["index", "chapters/week1/tokens", "chapters/reference/glossary"]
    assert {*others, "chapters/week5/session"} <= set(PAGES)
    for page in [*others, "chapters/week5/session"]:
        with projected(browser, f"{address}{page}.html") as tab:
            there = tab.locator(".fs-project, .fs-projector").count()
            assert there == (2 if page.endswith("/session") else 0), page


def test_without_scripts_the_page_is_as_it_was(browser, address):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page_of(address, 1) + "#projector")
    assert tab.locator("dialog.fs-projector, .fs-project").count() == 0
    assert "(Infinity. That is why one" in tab.locator("article").inner_text()
    context.close()


def test_the_view_works_from_a_file_without_any_server(browser, book):
    url = (book / "chapters/week1/session.html").as_uri()
    with projected(browser, f"{url}#projector") as tab:
        go(tab, "If someone asks: cross-entropy, entropy, KL divergence?")
        press(tab, "a")
        formulas = stage(tab).locator("mjx-container")
        assert formulas.count() >= 5
        assert formulas.first.bounding_box()["height"] > 20
        press(tab, "Escape")
        expect(view(tab)).to_be_hidden()
        assert address_of(tab) == url


def test_paper_shows_the_page_and_not_the_view(browser, address):
    with projected(browser, page_of(address, 1)) as tab:
        tab.emulate_media(media="print")
        lines = tab.locator("article").inner_text()
        tab.emulate_media(media="screen")
        tab.get_by_role("button", name="Projector view").click()
        expect(view(tab)).to_be_visible()
        tab.emulate_media(media="print")
        expect(view(tab)).to_be_hidden()
        expect(tab.locator(".fs-project")).to_be_hidden()
        assert tab.locator("article").inner_text() == lines
        height = "document.documentElement.scrollHeight > 3 * innerHeight"
        assert tab.evaluate(height)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_fault_in_the_view(browser, address, theme):
    url = page_of(address, 1) + "#projector"
    with projected(browser, url, theme=theme, time=SUNDAY) as tab:
        ground = tab.evaluate(
            "getComputedStyle(document.querySelector('.fs-projector')).backgroundColor"
        )
        assert (
            ground == {"light": "rgb(255, 253, 250)", "dark": "rgb(22, 24, 29)"}[theme]
        )
        found = []
        for title in (
            "The plan",
            "Opening quiz",
            "Question 1",
            "Step 1: one surprise (5 minutes)",
            "Pair work",
            "Before Sunday",
        ):
            go(tab, title)
            press(tab, "t", "a")
            tab.clock.fast_forward("26:00")
            tab.clock.resume()  # axe waits
            found += [f"{title}: {fault}" for fault in axe_faults(tab)]
        press(tab, "?")
        found += axe_faults(tab)
        tab.set_viewport_size({"width": 390, "height": 844})
        found += axe_faults(tab)
    assert not found, "\n".join(found)


def test_the_view_is_a_dialog_with_a_name_and_the_page_behind_it_is_out_of_reach(
    browser, address
):
    with projected(browser, page_of(address, 1) + "#projector") as tab:
        name = "Projector view of Sunday 1: what a language model is, and what it reads"
        dialog = tab.get_by_role("dialog", name=name)
        expect(dialog).to_be_visible()
        for _ in range(20):
            press(tab, "Tab")
            inside = "document.activeElement === document.body"
            inside += " || document.activeElement.closest('dialog') !== null"
            assert tab.evaluate(inside)


def test_on_a_phone_everything_is_reached(browser, address):
    with projected(browser, page_of(address, 2) + "#projector", (390, 844)) as tab:
        for control in view(tab).locator("button:visible, select").all():
            box = control.bounding_box()
            assert min(box["width"], box["height"]) >= 36
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
        go(tab, "Before Sunday")
        assert tab.evaluate("document.querySelector('.fs-stage').scrollWidth") <= 390
        tab.set_viewport_size({"width": 390, "height": 500})
        tab.wait_for_function("document.querySelector('.fs-stage').tabIndex === 0")
        press(tab, "ArrowDown")  # what does not fit is scrolled
        tab.wait_for_function("document.querySelector('.fs-stage').scrollTop > 0")
        assert titles(tab)[at(tab) - 1] == "Before Sunday"


def test_the_screen_stays_lit_while_the_view_is_open(browser, address):
    script = """window.lit = []
      navigator.wakeLock.request = async (kind) => {
        lit.push(kind); return { release: () => lit.push("out") } }"""
    with projected(browser, page_of(address, 1) + "#projector", script=script) as tab:
        assert tab.evaluate("lit") == ["screen"]
        press(tab, "Escape")
        tab.wait_for_function("lit.length === 2")
        assert tab.evaluate("lit") == ["screen", "out"]
