"""Turns a page's value into HTML: one template environment, strict about what is missing, escaping everything.

In: a template's name and values. Out: text. No template may mark text as safe; a test reads them all for it.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from lineclear.console import audit_words, change_words, charts, comparison_words, rollout_words, shown
from lineclear.console.assets import Asset
from lineclear.console.page import NAVIGATION
from lineclear.domain.explained import STEPS, VERDICTS

TEMPLATES = Path(__file__).parent / "templates"
CONSOLE = "/console"


class Links:
    """Addresses inside the console, with the prefix that the server has in front of it."""

    def __init__(self, root_path: str, assets: Mapping[str, Asset]) -> None:
        self._root = root_path + CONSOLE
        self._assets = assets

    def page(self, path: str = "", query: Mapping[str, Any] | None = None, **more: Any) -> str:
        """A page by its path below the console; parameters without a value are left out."""
        given = {name: value for name, value in {**(query or {}), **more}.items() if value not in (None, "")}
        target = self._root + (path or "/")
        return target + ("?" + urlencode(given) if given else "")

    def asset(self, name: str) -> str:
        """A static file."""
        return f"{self._root}/static/{self._assets[name].name}"


def part(text: object) -> str:
    """One part of a path, whatever characters it has."""
    return quote(str(text), safe="")


class Renderer:
    """Renders templates; made once."""

    def __init__(self, links: Links) -> None:
        self.links = links
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            finalize=shown.visible,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals.update(
            link=links.page, asset=links.asset, navigation=NAVIGATION, charts=charts,
            rollouts=rollout_words, comparisons=comparison_words, audit_words=audit_words, change_words=change_words,
            steps=STEPS, verdicts={item.value: words for item, words in VERDICTS.items()},
            verdict_marks=shown.VERDICT_MARKS,
            outcome_marks=shown.OUTCOME_MARKS, status_marks=shown.STATUS_MARKS, state_marks=shown.STATE_MARKS,
        )  # fmt: skip
        environment.filters.update(
            usd=shown.usd, rate=shown.rate, count=shown.count, short_count=shown.short_count, duration=shown.duration,
            share=shown.share, moment=shown.moment, short_release=shown.short_release, part=part, after=shown.after,
            axis_usd=shown.axis_usd, moment_short=shown.moment_short, pretty=shown.pretty,
            span_words=shown.span_words, several=shown.several, usd_digits=shown.usd_digits,
            of=shown.of, sentence=shown.sentence, percent=shown.percent, plain=shown.plain, middle=shown.middle,
            passages_of=shown.passages_of,
            as_written=shown.AsWritten, lasting=rollout_words.lasting, shell=shlex.quote, groupby_day=shown.groupby_day,
        )  # fmt: skip
        self._environment = environment

    def render(self, template: str, **values: Any) -> str:
        """The template's text. Any: plain values of a page."""
        return self._environment.get_template(template).render(values)
