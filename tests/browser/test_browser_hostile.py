"""Text that tries to be more stays text: in fields, answers, addresses, and rows that come in live."""

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, expect

from lineclear.testing import hostile, manifests
from lineclear.testing.browser_calls import ask, chat, link
from lineclear.testing.browser_pages import Scheme, visit
from lineclear.testing.platform import Platform

SHOWN = hostile.SCRIPT
"""As a reader sees it: the markup itself, written out."""


def test_text_is_shown_as_it_is_and_marks_of_direction_are_written_out(browser: Browser, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        (rollout,) = planted.admin("GET", "/api/v1/rollouts")["rollouts"]
        rollouts = ("/rollouts", f"/rollouts/{rollout['id']}", "/emergency", "/access/ann", "/")
        for path in ("/catalogue", "/routes/hostile/route:1", "/providers", "/catalogue/second", *rollouts):
            one.go(path)
            text = one.page.inner_text("main")
            assert SHOWN in text, path
            assert "{{7*7}}" in text
            assert "\u202e" not in text
            assert "\\u202egnp.exe\\u2066" in text
            assert one.violations() == []


def test_policies_evals_and_replays_stay_text(browser: Browser, planted: Platform) -> None:
    (replay,) = [one for one in planted.admin("GET", "/api/v1/replays")["replays"] if one["purpose"] == "replay"]
    (run,) = planted.admin("GET", "/api/v1/eval-runs")["runs"]
    compared = (f"/replays/{replay['id']}", f"/replays/{replay['id']}/cases/2", f"/evals/{run['id']}")
    with visit(browser, link(planted)) as one:
        for path in ("/policies", "/evals", *compared):
            one.go(path)
            assert SHOWN in one.page.inner_text("main"), path
            assert "\u202e" not in one.page.inner_text("main")
            assert one.violations() == []


def test_answer_of_a_model_stays_text(browser: Browser, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        one.go("/start?route=hostile%2Froute%3A1")
        one.page.get_by_role("textbox", name="Message").fill(hostile.TEXT)
        one.page.get_by_label("As app").select_option("caller")
        one.page.get_by_label("Route").select_option("hostile/route:1")
        one.page.get_by_role("button", name="Send a test message").click()
        expect(one.page.get_by_role("heading", name="What came back")).to_be_visible()
        assert one.page.inner_text("main").count(SHOWN) >= 2
        assert one.violations() == []
        one.page.get_by_role("link", name="See why it went there").click()
        assert SHOWN in one.page.inner_text("main")
        assert one.violations() == []


def test_vendor_under_test_stays_text(browser: Browser, axe: str, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        one.go("/providers")
        one.page.get_by_role("button", name="Test vendor").click()
        expect(one.page.get_by_role("heading", name="Test of vendor")).to_be_visible()
        assert one.violations() == []
        assert one.findings(axe) == []


def test_addresses_hold_no_script(browser: Browser, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        for path in ("/requests", "/catalogue"):
            one.page.goto(one.home + path)
            field = one.page.locator("input[name=find]")
            field.fill(hostile.TEXT)
            field.press("Enter")
            one.page.wait_for_load_state()
            assert one.page.locator("input[name=find]").input_value().startswith(SHOWN)
            assert one.violations() == []
        one.page.goto(f"{one.home}/cost?{urlencode({'app': hostile.TEXT})}")
        assert one.page.locator("select[name=app]").input_value().startswith(SHOWN)
        assert one.violations() == []
        for href in one.page.evaluate("[...document.links].map((link) => link.href)"):
            assert href.startswith(one.home)


def test_rows_that_come_in_live_stay_text(browser: Browser, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        one.go("/requests")
        one.page.get_by_role("button", name="Live").click()
        expect(one.page.locator("#live-says")).to_contain_text("new requests appear here")
        request_id = ask(planted, planted.keys["live"], chat(hostile.TEXT))
        row = one.page.locator(f"a[href$='{request_id}']")
        expect(row).to_be_visible()
        assert SHOWN[:20] in one.page.inner_text("#rows tr:first-child")
        assert one.violations() == []
        assert one.strangers() == []
        row.click()
        expect(one.page.get_by_text("before any model was called").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1440, 320])
def test_changes_releases_and_the_trail_stay_text(
    browser: Browser, axe: str, planted: Platform, scheme: Scheme, width_px: int
) -> None:
    documents = [
        {"kind": "Prompt", "name": "planted", "text": f"{SHOWN} {width_px} {scheme}"},
        {**manifests.route("spoken", "second", prompt="planted", parameters={"stop": [SHOWN]}), "description": "x"},
    ]
    path = planted.directory / "spoken.yaml"
    path.write_text(manifests.text_of(documents))
    assert planted.cli("apply", "-f", str(path), "--note", hostile.LINE[:300]).returncode == 0
    documents[0]["text"] = f"<b>{SHOWN}</b> other {width_px} {scheme}"
    path.write_text(manifests.text_of(documents))
    done = planted.cli_json("apply", "-f", str(path), "--note", hostile.LINE[:300])
    (move,) = done["plan"]["releases"]
    with visit(browser, link(planted), width_px=width_px, scheme=scheme) as one:
        for place in (f"/changes/{done['change']}", f"/releases/{move['after']}", "/changes?object=Prompt%2Fplanted"):
            assert one.go(place).status == 200
            one.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            assert SHOWN in one.page.inner_text("main"), place
            assert [*one.violations(), *one.strangers(), *one.findings(axe)] == [], place
            assert one.overflow_px() == 0, place


def test_a_card_and_what_is_done_to_it_stay_text(browser: Browser, axe: str, planted: Platform) -> None:
    with visit(browser, link(planted)) as one:
        one.go("/catalogue/second")
        assert one.page.inner_text("main").count(SHOWN) >= 3
        one.page.get_by_text("Replace on its routes").click()
        form = one.page.locator("details[open] form")
        form.get_by_label("By").select_option(index=0)
        form.get_by_label("Why").fill(hostile.TEXT[:300])
        form.get_by_role("button", name="See the plan").click()
        expect(one.page.get_by_role("heading", name="What it would do")).to_be_visible()
        assert [*one.violations(), *one.findings(axe)] == []
        assert one.page.get_by_label("Why").input_value().startswith(SHOWN)
        one.go("/changes")
        one.page.get_by_role("button", name="Verify the trail now").click()
        expect(one.page.get_by_text("Nothing was altered")).to_be_visible()
        assert [*one.violations(), *one.findings(axe)] == []
