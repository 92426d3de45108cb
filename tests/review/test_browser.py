"""A person's work at the pages, in Chromium: by keyboard, with sound, and checked by axe-core."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.review.chromium import Demonstration, launched

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FORMS = {"light": {"width": 1360, "height": 900}, "dark": {"width": 400, "height": 860}}
# Tables of few columns: they fit, whatever the screen.
HIDDEN_COLUMNS = """[...document.querySelectorAll(".scroll")]
    .some((box) => box.matches(".rates, .places, .windows, .rates *") && box.scrollWidth > box.clientWidth)"""
# Wide, narrow, and what is left of the wide one at 200 % zoom.
SIZES = ((1360, 900), (400, 860), (680, 450))
MOVES = """[...document.querySelectorAll("*")].filter((one) => {
  const style = getComputedStyle(one);
  return style.transitionDuration !== "0s" || style.animationDuration !== "0s";
}).length"""


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demonstration]:
    with Demonstration.running(tmp_path_factory.mktemp("demo")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def signed_in(demonstration: Demonstration, browser: Any) -> list[Any]:
    """The cookies of a session, opened at the form with password and code."""
    context = browser.new_context()
    demonstration.sign_in(context.new_page())
    cookies: list[Any] = context.cookies()
    context.close()
    return cookies


def test_works_the_queue_by_keyboard(
    demonstration: Demonstration, browser: Any, signed_in: list[Any]
) -> None:
    context = browser.new_context()
    context.add_cookies(signed_in)
    page = context.new_page()
    page.set_default_timeout(90_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(demonstration.url + "/review?why=flagged")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-player][data-ready]")
    call = page.url
    page.wait_for_selector("[data-cues] table")
    page.keyboard.press("?")
    assert page.locator("#help[open]").count() == 1
    page.keyboard.press("Escape")
    # Play the next window, over and over.
    page.keyboard.press("n")
    page.keyboard.press("l")
    page.keyboard.press("+")
    page.evaluate("document.querySelector('[data-audio]').playbackRate = 8")
    page.wait_for_selector("[data-player][data-loops='2']")
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelector('[data-audio]').paused")
    # Decide, and find oneself at the next call.
    page.keyboard.press("1")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("Even rhythm, no breath.")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**done=*")
    assert page.url.split("?")[0] != call.split("?")[0]
    page.locator("#undo").wait_for()
    page.locator("h1").click()
    page.keyboard.press("u")
    page.wait_for_url(call.split("?")[0] + "*")
    assert page.locator(".history").get_by_text("Taken back").count() == 1
    # The campaign, decided whole.
    page.locator("a[href^='/review/campaigns/campaign_']").first.click()
    page.wait_for_url("**/review/campaigns/campaign_*")  # with its scripts: a key before them is lost
    page.keyboard.press("1")
    page.keyboard.press("ArrowDown")
    page.locator("#decide-note").fill("The same words in every call.")
    page.keyboard.press("Control+Enter")
    page.get_by_text("All of its calls are decided").wait_for()
    assert complaints == []
    context.close()


@pytest.mark.parametrize("scheme", sorted(FORMS))
def test_axe_finds_nothing_on_any_page(
    demonstration: Demonstration, browser: Any, signed_in: list[Any], axe: str, scheme: str
) -> None:
    context = browser.new_context(viewport=FORMS[scheme], color_scheme=scheme, reduced_motion="reduce")
    found = {}
    for name, path in {"sign-in": "/review/sign-in", **demonstration.pages()}.items():
        if name != "sign-in":
            context.add_cookies(signed_in)
        page = context.new_page()
        page.set_default_timeout(90_000)
        demonstration.open(page, path)
        if name == "call":
            page.keyboard.press("m")
            page.wait_for_selector(".map img")
        page.evaluate(axe + ";0")
        rules = {"runOnly": RULES}
        violations = page.evaluate("rules => axe.run(document, rules)", rules)["violations"]
        found[name] = [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations]
        # Nothing needs scrolling sideways, but for the tables that say so.
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            if page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0:
                found[name].append((f"overflow at {width}", []))
            if name in ("call", "agreement") and page.evaluate(HIDDEN_COLUMNS):
                found[name].append((f"columns beyond the edge at {width}", []))
        if page.evaluate(MOVES):
            found[name].append(("moves", []))
        page.close()
    context.close()
    assert {name: what for name, what in found.items() if what} == {}


def test_figures_print_on_one_page(demonstration: Demonstration, browser: Any, signed_in: list[Any]) -> None:
    context = browser.new_context()
    context.add_cookies(signed_in)
    page = context.new_page()
    demonstration.open(page, "/review/figures")
    printed = page.pdf(prefer_css_page_size=True)
    context.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, from npm."""
    import subprocess
    import tarfile

    folder: Path = tmp_path_factory.mktemp("axe")
    subprocess.run(
        ["npm", "pack", "--silent", "axe-core@4.14.1"], cwd=folder, check=True, capture_output=True
    )
    (package,) = folder.glob("*.tgz")
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()
