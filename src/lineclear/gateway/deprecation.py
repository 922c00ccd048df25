"""What callers are told of a model version that is on its way out: header lines and the resource they point at.

In: catalogue entries. Out: header lines, made once when the snapshot is compiled; the JSON of `GET
/v1/model-versions/NAME@VERSION`. Source: RFC 9745 (Deprecation), RFC 8594 (Sunset), RFC 5829 (successor-version).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from lineclear.domain.catalogue import ModelStatus, instant_text
from lineclear.domain.snapshot import ModelVersionEntry

VERSION_PREFIX = "/v1/model-versions/"
LEAVING = frozenset({ModelStatus.DEPRECATED, ModelStatus.RETIRED})


def deprecation_fields(version: ModelVersionEntry) -> str:
    """Header lines of every answer of this version; empty if it is there to stay.

    A vendor's date counts as the sunset where no earlier one was set.
    """
    relations = []
    if version.status is ModelStatus.DEPRECATED:
        relations.append("deprecation")
    if _ends_s(version) is not None:
        relations.append("sunset")
    if not relations:
        return ""
    links = [f'<{VERSION_PREFIX}{version.id}>; rel="{" ".join(relations)}"; type="application/json"']
    if version.successor is not None:
        links.append(successor_link(version.successor))
    return f"{date_fields(version)}link: {', '.join(links)}\r\n"


def date_fields(version: ModelVersionEntry) -> str:
    """Since when it is deprecated and when its end is or was, as far as its card says."""
    fields = ""
    if version.status in LEAVING and version.deprecated_at is not None:
        fields += f"deprecation: @{version.deprecated_at}\r\n"
    ends_s = _ends_s(version)
    if ends_s is not None:
        fields += f"sunset: {format_datetime(datetime.fromtimestamp(ends_s, UTC), usegmt=True)}\r\n"
    return fields


def _ends_s(version: ModelVersionEntry) -> int | None:
    is_leaving = version.status in LEAVING
    return version.sunset if is_leaving and version.sunset is not None else version.end_of_life


def successor_link(successor: str) -> str:
    """The value of a `Link` field that leads to what replaces a version."""
    return f'<{VERSION_PREFIX}{successor}>; rel="successor-version"; type="application/json"'


def brownout_end_s(brownouts: tuple[tuple[int, int], ...], now_s: int) -> int | None:
    """When the brownout that is under way ends; None if there is none."""
    for starts_s, ends_s in brownouts:
        if starts_s <= now_s < ends_s:
            return ends_s
    return None


def brownout_words(ends_s: int) -> str:
    """Why a version is left out meanwhile."""
    return f"deprecated, and not served until {instant_text(ends_s)} so that its callers notice"


def version_facts(version: ModelVersionEntry, routes: Sequence[str], successor_routes: Sequence[str]) -> dict[str, Any]:
    """What a caller may know of a version: where it stands, until when, and where its successor is served.

    Any: as msgspec encodes it.
    """
    return {
        "object": "model_version",
        "id": version.id,
        "status": version.status,
        "deprecated_at": _date(version.deprecated_at),
        "sunset": _date(version.sunset),
        "end_of_life": _date(version.end_of_life),
        "successor": version.successor,
        "context": version.context,
        "capabilities": version.capabilities,
        "brownouts": [[_date(starts_s), _date(ends_s)] for starts_s, ends_s in version.brownouts],
        "routes": routes,
        "successor_routes": successor_routes,
    }


def _date(unix_s: int | None) -> str | None:
    return None if unix_s is None else instant_text(unix_s)
