"""The judges' page in a real browser, from file:// as a judge opens it. Needs the extra `browser` and a Chromium."""

import json
import os
import shutil

import pytest

from fairseq_ami import cli
from fairseq_ami.tools.human_eval.sheet import ANSWERS

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `browser`)")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HOSTILE = """<!-- <script >document.title = 'hacked'</script><img src=x onerror="document.title = 1"> </script> &amp;"""
ITEMS = 8


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = next(filter(None, map(shutil.which, BROWSERS)), own if os.path.exists(own) else None)
        if not path:
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
        running = playwright.chromium.launch(executable_path=path)
        yield running
        running.close()


@pytest.fixture
def study(tmp_path):
    """A study of eight histories with replies `good N` and `bad N`; one of them is hostile."""
    good, bad = ([f"{name} {line}" for line in range(ITEMS)] for name in ("good", "bad"))
    good[0] += f" {HOSTILE} \u2028 \U0001f600 {'long' * 60}"
    histories = [f"{HOSTILE} __eou__ turn {line} __eou__" for line in range(ITEMS)]
    for name, lines in {"histories": histories, "good": good, "bad": bad}.items():
        (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    systems = [part for name in ("bad", "good") for part in ("--system", f"{name.upper()}={tmp_path}/{name}")]
    common = ["--histories", f"{tmp_path}/histories", *systems, "--count", str(ITEMS), "--question", "<b>Which?</b>"]
    assert cli.main(["human-eval", "prepare", *common, "--out", f"{tmp_path}/study"]) == 0
    return tmp_path / "study"


@pytest.fixture
def page(browser, study):
    """The page as opened; fails the test on any error in it, and on any request but for itself."""
    opened = browser.new_context(viewport={"width": 1000, "height": 800}).new_page()
    errors, requests = [], []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto((study / "judges/set-1.html").as_uri())
    yield opened
    opened.context.close()
    assert errors == [] and all(url.startswith(("file://", "blob:file:")) for url in requests)


def position(page):
    return page.text_content("#position")


def pressed(page):
    return [choice.get_attribute("data-answer") for choice in page.query_selector_all("[aria-pressed=true]")]


def better(page):
    return "left" if page.text_content("#left").startswith("good") else "right"


def take(page, answer, by_key):
    page.keyboard.press(str(1 + ANSWERS.index(answer))) if by_key else page.click(f"[data-answer={answer}]")


def downloaded(page, button, path):
    with page.expect_download() as download:
        page.click(button)
    download.value.save_as(path)
    return download.value.suggested_filename


def tally(study, *files):
    out = study / "scores.json"
    assert cli.main(["human-eval", "score", "--key", f"{study}/key.json", *map(str, files), "--json", str(out)]) == 0
    (pair,) = json.loads(out.read_text())["pairs"]
    return [pair[name] for name in ("wins", "losses", "ties", "left_out")]


def test_judging_from_the_first_item_to_the_score(page, study, tmp_path):
    assert position(page) == f"Item 1 of {ITEMS}, 0 answered" and pressed(page) == []
    for at in range(ITEMS - 1):  # the better one by turns of click and key; the last is left for later
        take(page, better(page), by_key=at % 2)
    assert position(page) == f"Item {ITEMS} of {ITEMS}, {ITEMS - 1} answered" and page.is_disabled("#next")

    page.click("#back")
    page.keyboard.press("ArrowLeft")  # to the sixth: a tie, then to the seventh: the worse one
    assert position(page).startswith("Item 6 ") and pressed(page) == [better(page)]
    take(page, "tie", by_key=False)
    assert position(page).startswith("Item 7 ")
    take(page, {"left": "right", "right": "left"}[better(page)], by_key=True)

    page.click("#csv")  # nameless: nothing is saved, the field is asked for
    assert page.evaluate("document.activeElement.id") == "judge" and page.text_content("#saved") == ""
    page.keyboard.type('Zoë "1" 2,3')  # digits in a name are no answers
    page.reload()
    assert page.input_value("#judge") == 'Zoë "1" 2,3'
    assert position(page) == f"Item {ITEMS} of {ITEMS}, {ITEMS - 1} answered"
    assert page.get_attribute("#progress", "value") == str(ITEMS - 1)

    name = downloaded(page, "#csv", tmp_path / "part.csv")
    assert name.endswith("-set-1-Zoë-1-2-3.csv") and name in page.text_content("#saved")
    assert tally(study, tmp_path / "part.csv") == [ITEMS - 3, 1, 1, 1]
    take(page, better(page), by_key=True)
    assert page.is_visible("#done") and page.is_disabled("#unanswered")
    for button, file in (("#csv", "all.csv"), ("#json", "all.json")):
        downloaded(page, button, tmp_path / file)
        assert tally(study, tmp_path / file) == [ITEMS - 2, 1, 1, 0]
    assert '"Zoë ""1"" 2,3"' in (tmp_path / "all.csv").read_text(encoding="utf-8")


def test_texts_are_shown_and_never_run(page):
    assert page.title() == "Which reply is better?" and page.text_content("h1") == "<b>Which?</b>"
    assert page.text_content("#turns li:first-child .text") == HOSTILE
    while not any("\U0001f600" in page.text_content(side) for side in ("#left", "#right")):
        page.keyboard.press("ArrowRight")
    (text,) = (t for t in map(page.text_content, ("#left", "#right")) if t.startswith("good"))
    assert text == f"good 0 {HOSTILE} \u2028 \U0001f600 {'long' * 60}" and page.title() == "Which reply is better?"
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate("getComputedStyle(document.body).maxWidth") == "896px"  # the policy lets the style through


def test_no_sideways_scrolling_on_a_phone(page):
    page.set_viewport_size({"width": 320, "height": 640})
    for _ in range(ITEMS):
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        page.keyboard.press("ArrowRight")


def test_a_double_click_or_a_held_key_answers_one_item(page):
    page.dblclick("[data-answer=left]")
    assert position(page) == f"Item 2 of {ITEMS}, 1 answered"
    page.keyboard.down("2")
    page.keyboard.down("2")  # repeats, as the keyboard does
    assert position(page) == f"Item 3 of {ITEMS}, 2 answered"
    page.keyboard.up("2")
    page.keyboard.press("Control+3")
    assert position(page) == f"Item 3 of {ITEMS}, 2 answered"


def test_next_unanswered_and_start_over(page):
    take(page, "tie", by_key=True)
    page.click("#next")
    take(page, "tie", by_key=True)
    page.click("#unanswered")  # nothing is known of the fifth
    assert position(page).startswith("Item 5 ")
    for _ in range(4, ITEMS):
        take(page, "tie", by_key=True)
    page.click("#unanswered")
    assert position(page).startswith("Item 2 ")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("#reset")
    assert position(page) == f"Item 2 of {ITEMS}, {ITEMS - 2} answered"
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#reset")
    assert position(page) == f"Item 1 of {ITEMS}, 0 answered"
    page.reload()
    assert position(page) == f"Item 1 of {ITEMS}, 0 answered"


def test_everything_has_a_name_for_screen_readers(page):
    names = [page.get_by_label("Your name"), page.get_by_label("Items answered")]
    names += [page.get_by_role("button", name=name) for name in ("Left reply 1", "Right reply 2", "Tie")]
    assert all(found.count() == 1 for found in names)
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the first choice follows the name
    assert position(page) == f"Item 2 of {ITEMS}, 1 answered"


def test_a_browser_that_keeps_nothing_says_so(browser, study):
    context = browser.new_context()
    context.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    page = context.new_page()
    page.goto((study / "judges/set-1.html").as_uri())
    page.keyboard.press("1")
    assert page.is_visible("#not-kept") and position(page) == f"Item 2 of {ITEMS}, 1 answered"
    context.close()
