"""Who asks what at Fernhill, how often and how much: one row per habit of an app.

Pure values. The apps and routes are those of `company/company.yaml`; rows that ask for what they may not are meant.
"""

from enum import StrEnum
from typing import Final

import msgspec

from lineclear.domain.catalogue import DataClass
from lineclear.domain.exchange import Operation


class Rhythm(StrEnum):
    """How a day goes."""

    OFFICE = "office"
    SHOP = "shop"
    """Customers: late mornings, evenings and Saturdays."""
    NIGHT = "night"
    """A job that begins at one o'clock."""
    MAIL = "mail"
    """As the office, and what came in over night all at once at six."""


class Caller(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One habit."""

    app: str
    route: str
    per_day: float
    """Requests on an ordinary working day."""
    rhythm: Rhythm = Rhythm.OFFICE
    environment: str = "live"
    operation: Operation = Operation.CHAT
    task: str = ""
    """As sent in the header; empty = not sent."""
    data_class: DataClass | None = None
    stream_share: float = 0.0
    input_tokens: int = 400
    """Median."""
    output_tokens: int = 200
    """Median; 0 where the operation has none."""
    cached_share: float = 0.0
    """How much of the input repeats from call to call, for vendors that keep it."""
    users: int = 0
    """How many people stand behind it; 0 = none are named."""
    tags: str = ""


CALLERS: Final[tuple[Caller, ...]] = (
    Caller(
        app="help-desk", route="support-chat", per_day=620, rhythm=Rhythm.SHOP, stream_share=0.92,
        input_tokens=900, output_tokens=180, cached_share=0.5, users=400, tags="channel=web",
    ),
    Caller(
        app="help-desk", route="support-chat", per_day=14, environment="test", stream_share=0.5,
        input_tokens=800, output_tokens=180,
    ),
    Caller(app="help-desk", route="support-chat", per_day=3, task="legal-advice", input_tokens=500),
    Caller(
        app="help-desk", route="reply-drafts", per_day=150, operation=Operation.MESSAGES, stream_share=0.3,
        input_tokens=1_800, output_tokens=320, cached_share=0.7, users=12,
    ),
    Caller(
        app="ticket-sorter", route="ticket-triage", per_day=420, rhythm=Rhythm.MAIL, task="triage",
        input_tokens=650, output_tokens=24,
    ),
    Caller(app="ticket-sorter", route="reply-drafts", per_day=60, input_tokens=1_500, output_tokens=260,
           cached_share=0.6),
    Caller(
        app="shop-site", route="shop-search", per_day=880, rhythm=Rhythm.SHOP, operation=Operation.EMBEDDINGS,
        input_tokens=14, output_tokens=0,
    ),
    Caller(app="shop-site", route="stock-questions", per_day=120, rhythm=Rhythm.SHOP, stream_share=0.6,
           input_tokens=350, output_tokens=70),
    Caller(app="shop-site", route="product-texts", per_day=3, rhythm=Rhythm.SHOP),
    Caller(
        app="product-writer", route="product-texts", per_day=70, rhythm=Rhythm.NIGHT, task="product-texts",
        input_tokens=700, output_tokens=520, tags="job=nightly",
    ),
    Caller(app="product-writer", route="translations", per_day=260, rhythm=Rhythm.NIGHT,
           input_tokens=600, output_tokens=620, tags="job=nightly"),
    Caller(app="product-writer", route="lab-preview", per_day=16, environment="test",
           input_tokens=500, output_tokens=400),
    Caller(app="invoice-desk", route="invoice-fields", per_day=90, input_tokens=3_400, output_tokens=220,
           cached_share=0.3),
    Caller(app="warehouse-app", route="stock-questions", per_day=140, stream_share=0.2, input_tokens=300,
           output_tokens=60, users=18),
    Caller(app="hr-helper", route="policy-answers", per_day=46, stream_share=0.8, input_tokens=5_200,
           output_tokens=380, cached_share=0.85, users=60, operation=Operation.MESSAGES),
    Caller(app="hr-helper", route="reply-drafts", per_day=4, data_class=DataClass.CONFIDENTIAL),
    Caller(app="job-ads", route="job-ads", per_day=12, stream_share=1.0, input_tokens=500, output_tokens=700, users=3),
    Caller(app="job-ads", route="gpt-4o", per_day=4),
)  # fmt: skip
"""Every habit; the order matters to what a seed gives."""

RUNAWAY: Final = Caller(
    app="product-writer", route="product-texts", per_day=1_400, task="product-texts", input_tokens=2_600,
    output_tokens=3_000, tags="job=nightly",
)  # fmt: skip
"""The nightly job when it runs in a circle: each text is written again and again."""
