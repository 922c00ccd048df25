"""Journeys by keyboard alone, keys made and revoked, sign-out, and the console below a path prefix."""

import re
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from lineclear.testing.browser_calls import ask, chat, link
from lineclear.testing.browser_pages import visit
from lineclear.testing.platform import Platform

TABS_MAX = 60
COMPARED = ("Evals", "Replays", "Policies")
"""Pages about what a candidate is held to."""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the thing with this name has the focus, as somebody without a mouse would."""
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(document.activeElement.labels?.[0]?.innerText ?? document.activeElement.innerText ?? '').trim()"
        )
        if focused.startswith(name):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{name!r} does not show that it has the focus"
            return
    raise AssertionError(f"{name!r} is out of the keyboard's reach")


def test_from_sign_in_to_a_request_by_keyboard_alone(browser: Browser, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        one.page.context.clear_cookies()
        one.go("/sign-in")
        tab_to(one.page, "Admin token")
        one.page.keyboard.type(str(planted.facts["admin_token"]))
        one.page.keyboard.press("Enter")
        expect(one.page.get_by_role("heading", name="Home")).to_be_visible()
        one.page.keyboard.press("Tab")
        assert one.page.evaluate("document.activeElement.innerText") == "Skip to the page"
        tab_to(one.page, "Requests")
        one.page.keyboard.press("Enter")
        expect(one.page.get_by_role("heading", name="Requests")).to_be_visible()
        one.page.keyboard.press("j")
        one.page.keyboard.press("j")
        one.page.keyboard.press("k")
        assert one.page.evaluate("document.activeElement.closest('tr').rowIndex") == 1
        one.page.keyboard.press("Enter")
        expect(one.page.get_by_role("heading", name="In short")).to_be_visible()
        one.page.go_back()
        one.page.keyboard.press("/")
        assert one.page.evaluate("document.activeElement.name") == "find"


def test_narrow_screens_have_the_menu_behind_a_button(browser: Browser, planted: Platform) -> None:
    with visit(browser, link(planted), width_px=320) as one:
        one.go("/")
        expect(one.page.get_by_role("link", name="Keys")).to_be_hidden()
        one.page.get_by_role("button", name="Menu").click()
        one.page.get_by_role("link", name="Keys").click()
        expect(one.page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()


def test_key_is_shown_once_works_and_ends_on_a_phone_too(browser: Browser, axe: str, planted: Platform) -> None:
    with visit(browser, link(planted), width_px=320) as one:
        one.go("/keys")
        one.page.locator("form[method=post] select[name=app]").select_option("caller")
        one.page.get_by_role("button", name="Make a key").click()
        key = one.page.locator("#key-text").inner_text()
        assert re.fullmatch(r"lc_test_[a-z2-7]{12}_\S+", key)
        ask(planted, key, chat("simulated"))
        assert one.findings(axe) == []
        key_id = key.split("_")[2]
        one.go(f"/keys/{key_id}")
        assert key not in one.page.content()
        expect(one.page.get_by_text("It was used for 1 request within")).to_be_visible()
        one.page.get_by_label("Reason, for the audit trail").fill("no longer needed")
        one.page.get_by_role("button", name=f"Revoke key {key_id}").click()
        one.go(f"/keys/{key_id}")
        expect(one.page.get_by_text("revoked").first).to_be_visible()
        assert one.violations() == []
    refused = ask(planted, key, chat("simulated"))
    assert refused
    event = planted.trail()[-1]
    assert (event["action"], event["object"], event["reason"]) == ("key.revoked", f"key/{key_id}", "no longer needed")


def test_copy_puts_the_text_on_the_clipboard(browser: Browser, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        one.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        one.go("/requests?outcome=ok&since=7d")
        one.page.get_by_role("button", name="Copy as CLI").click()
        expect(one.page.get_by_role("button", name="Copied")).to_be_visible()
        assert one.page.evaluate("navigator.clipboard.readText()") == "lineclear logs --outcome ok --since 7d"


def test_sign_out_closes_every_page(browser: Browser, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        one.go("/")
        one.page.get_by_role("button", name="Sign out").click()
        expect(one.page.get_by_role("heading", name="Sign in")).to_be_visible()
        one.go("/requests")
        expect(one.page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_console_below_a_prefix(browser: Browser, tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    with Platform(tmp_path, environment={**child_environment, "LINECLEAR_ROOT_PATH": "/a/b/"}) as platform:
        assert platform.facts["console_url"].startswith(platform.admin_url + "/a/b/console/sign-in?token=")
        ask(platform, platform.keys["live"], chat("simulated"))
        with visit(browser, str(platform.facts["console_url"])) as one:
            (cookie,) = one.page.context.cookies()
            assert cookie["path"] == "/a/b"
            for word in (
                "Get started",
                "Requests",
                "Routes",
                "Models and runtimes",
                "Cost",
                "Catalogue",
                "Keys",
                *COMPARED,
            ):
                one.page.get_by_role("link", name=word, exact=True).first.click()
                expect(one.page.get_by_role("heading", name=word, exact=True, level=1)).to_be_visible()
                leads_to = one.page.evaluate(
                    """["href", "src", "action"].flatMap((name) =>
                         [...document.querySelectorAll(`[${name}]`)].map((it) => it.getAttribute(name)))"""
                )
                assert len(leads_to) > 10
                assert [place for place in leads_to if not place.startswith(("/a/b/console/", "#"))] == []
            one.go("/requests")
            one.page.locator("#rows a").first.click()
            expect(one.page.get_by_role("heading", name="In short")).to_be_visible()
            assert [url for url in one.asked if "/a/b/console/" not in url] == []
            assert one.violations() == []
