"""Proposing a change in a real browser: hostile text comes back as it was, and a change is made by keyboard alone."""

import pytest
from playwright.sync_api import Browser, expect

from lineclear.testing import hostile, manifests
from lineclear.testing.browser_calls import link
from lineclear.testing.browser_pages import Scheme, Visit, visit
from lineclear.testing.platform import Platform

WRONG = "Failed to load resource: the server responded with a status of 422 (Unprocessable Entity)"
"""What a browser notes of a page that tells of mistakes."""


def looked(one: Visit, axe: str) -> list[str]:
    found = [*one.violations(), *one.strangers(), *one.findings(axe)]
    if one.overflow_px():
        found.append(f"{one.overflow_px()} px too wide")
    return [text for text in found if text != WRONG]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1440, 320])
def test_hostile_text_is_edited_as_it_is(
    browser: Browser, axe: str, planted: Platform, scheme: Scheme, width_px: int
) -> None:
    path = planted.directory / "edited.yaml"
    noun = {"kind": "Prompt", "name": "edited", "text": "Be short.", "description": f"\n{hostile.TEXT}\nend\n"}
    path.write_text(manifests.text_of([noun]))
    assert planted.cli("apply", "-f", str(path), "--note", "a text", "--take-ownership").returncode == 0
    with visit(browser, link(planted), width_px=width_px, scheme=scheme) as one:
        one.go("/changes/propose?object=Prompt%2Fedited")
        assert looked(one, axe) == []
        text = one.page.get_by_label("Text")
        before = text.input_value()
        assert hostile.SCRIPT in before
        assert "U+202E" in one.page.inner_text("main")
        one.page.get_by_role("button", name="See what it would do").click()
        expect(one.page.get_by_text("Nothing: the text says what stands.")).to_be_visible()
        assert text.input_value() == before
        text.fill(f"{before}'{hostile.SCRIPT}': 2\nbudget: 3\n")
        one.page.get_by_role("button", name="See again what it would do").click()
        expect(one.page.get_by_role("heading", name="mistake").first).to_be_visible()
        assert hostile.SCRIPT in one.page.inner_text(".mistakes")
        assert looked(one, axe) == []
        text.fill(before.replace("end", f"{hostile.SCRIPT}\u202e {scheme} {width_px}"))
        one.page.get_by_role("button", name="See what it would do").click()
        expect(one.page.get_by_role("heading", name="What it would do")).to_be_visible()
        shown = one.page.inner_text(".decide")
        assert (hostile.SCRIPT in shown, "\u202e" in shown, "\\u202e" in shown) == (True, False, True)
        assert looked(one, axe) == []
        if width_px < 600:
            assert one.scrolling_tables() == []
        one.page.get_by_label("Why, for").fill(hostile.TEXT[:300])
        one.page.get_by_role("button", name="Carry it out").click()
        expect(one.page.get_by_role("heading", name="What it did")).to_be_visible()
        assert looked(one, axe) == []
    (stands,) = planted.admin("GET", "/api/v1/manifests?kind=Prompt&name=edited")["manifests"]
    assert stands["manifest"]["description"] == f"\n{hostile.TEXT}\n{hostile.SCRIPT}\u202e {scheme} {width_px}\n"
    assert stands["managed_by"] == "console"


def test_what_was_written_comes_back_after_the_session_ended(browser: Browser, axe: str, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        one.go("/changes/propose")
        written = f"kind: Prompt\nname: late\ntext: Be short.\ndescription: |\n  {hostile.LINE}\n"
        one.page.get_by_label("Text").fill(written)
        one.page.context.clear_cookies()
        one.page.get_by_role("button", name="See what it would do").click()
        expect(one.page.get_by_role("heading", name="You are signed out")).to_be_visible()
        assert one.findings(axe) == []
        with one.page.context.expect_page() as opened:
            one.page.get_by_role("link", name="Sign in in another window").click()
        other = opened.value
        other.goto(link(planted))
        other.close()
        one.page.get_by_role("button", name="Go on, signed in").click()
        expect(one.page.get_by_role("alert")).to_contain_text("nothing was done")
        assert one.page.get_by_label("Text").input_value() == written
        assert one.findings(axe) == []
        one.page.get_by_role("button", name="See what it would do").click()
        expect(one.page.get_by_role("heading", name="What it would do")).to_be_visible()


def test_without_a_script_a_change_is_made_all_the_same(browser: Browser, planted: Platform) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(link(planted))
        page.goto(f"{planted.admin_url}/console/changes/propose")
        page.get_by_label("Text").fill("kind: Team\nname: quiet\n")
        page.get_by_role("button", name="See what it would do").click()
        page.get_by_label("Why, for").fill("no script")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="No script")).to_be_visible()
    finally:
        context.close()
    assert planted.admin("GET", "/api/v1/manifests?kind=Team&name=quiet")["manifests"]
