"""Every page in a real browser: readable by everybody, in both themes and widths, with nothing from elsewhere."""

import pytest
from playwright.sync_api import Browser

from lineclear.testing.browser_calls import link, page_paths
from lineclear.testing.browser_pages import Scheme, visit
from lineclear.testing.platform import Platform

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
