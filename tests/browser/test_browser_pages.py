"""Every page in a real browser: readable by everybody, in both themes and widths, with nothing from elsewhere."""

import pytest
from playwright.sync_api import Browser

from lineclear.testing.browser_calls import link, page_paths
from lineclear.testing.browser_pages import Scheme, visit
from lineclear.testing.platform import Platform

CARDS_BELOW_PX = 600
"""In a window narrower than that no table is scrolled sideways: its rows are cards."""
PLACES: list[tuple[Scheme, int]] = [("light", 1440), ("dark", 1440), ("light", 320), ("dark", 320)]


@pytest.mark.parametrize(
    ("kind", "scheme", "width_px"),
    [*(("planted", *place) for place in PLACES), ("empty", "light", 1440), ("empty", "dark", 320)],
)
def test_pages_pass_axe_and_the_content_policy(
    browser: Browser, request: pytest.FixtureRequest, axe: str, kind: str, scheme: Scheme, width_px: int
) -> None:
    platform: Platform = request.getfixturevalue(kind)
    found: dict[str, object] = {}
    with visit(browser, link(platform), width_px=width_px, scheme=scheme) as one:
        for path in page_paths(platform):
            status = one.go(path).status
            problems = [*one.findings(axe), *one.violations(), *one.strangers()]
            if status != 200 or one.overflow_px():
                problems.append(f"status {status}, {one.overflow_px()} px too wide")
            if width_px < CARDS_BELOW_PX:
                problems += [f"to be scrolled sideways: {table}" for table in one.scrolling_tables()]
            if problems:
                found[path] = problems
    assert found == {}


@pytest.mark.parametrize(("scheme", "width_px"), PLACES)
def test_pages_for_who_is_not_signed_in_pass_too(
    browser: Browser, axe: str, empty: Platform, scheme: Scheme, width_px: int
) -> None:
    with visit(browser, link(empty), width_px=width_px, scheme=scheme) as one:
        one.page.context.clear_cookies()
        for path, status in (("/sign-in?token=used", 401), ("/sign-in", 200), ("/requests", 200), ("/no-such", 404)):
            assert one.go(path).status == status
            assert one.findings(axe) == []
            assert one.page.evaluate("window.violations") == []
            assert one.overflow_px() == 0


def test_first_paint_does_not_wait(browser: Browser, planted: Platform) -> None:
    # The budget is 150 ms on a machine of its own (benchmarks/console.py); here others run beside it.
    with visit(browser, link(planted)) as one:
        one.go("/requests")
        one.go("/requests")
        paint_ms = one.page.evaluate(
            """new Promise((done) => new PerformanceObserver((list) => {
                 const paint = list.getEntriesByName("first-contentful-paint")[0];
                 if (paint) done(paint.startTime);
               }).observe({type: "paint", buffered: true}))"""
        )
    assert paint_ms < 1500


def test_a_row_of_a_narrow_screen_says_which_column_each_value_is_of(browser: Browser, planted: Platform) -> None:
    shown = """(row) => [...row.cells].filter((cell) => cell.offsetHeight > 0)
      .map((cell) => getComputedStyle(cell, "::before").content.replaceAll('"', ""))"""
    with visit(browser, link(planted), width_px=320) as one:
        one.go("/cost?by=model")
        row = one.page.locator("tbody tr", has_text="simulated").last
        assert row.evaluate(shown)[:4] == ["none", "Requests", "Errors", "Tokens in"]
        assert one.page.locator("thead").last.is_hidden()
        one.page.set_viewport_size({"width": 1440, "height": 900})
        assert set(row.evaluate(shown)) == {"none"}
        assert one.page.locator("thead").last.is_visible()
