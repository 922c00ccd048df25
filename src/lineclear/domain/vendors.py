"""What is wrong with what is known of a vendor: what is missing, what has run out, and when. Pure."""

from collections.abc import Iterator

from lineclear.domain.catalogue import VendorState, instant_s
from lineclear.domain.manifest import Provider, TrainingUse, VendorRecord


def vendor_problems(provider: Provider, now_s: int) -> tuple[str, ...]:
    """In words; empty if everything is known and in force."""
    record = provider.vendor_record
    region = () if provider.region else ("its region is not known",)
    if record is None:
        return (*region, "there is no vendor record")
    trains = ("it trains on what it is sent",) if record.training_use is TrainingUse.YES else ()
    return (*region, *_missing(record), *trains, *_run_out(record, now_s))


def vendor_state(provider: Provider) -> VendorState:
    """How its record stands as long as nothing in it has run out."""
    if provider.vendor_record is None:
        return VendorState.MISSING
    return VendorState.INCOMPLETE if any(_missing(provider.vendor_record)) else VendorState.VALID


def vendor_expires(provider: Provider) -> int | None:
    """When the first thing in its record runs out, unix seconds; None if nothing does."""
    record = provider.vendor_record
    if record is None:
        return None
    dates = [*(item.expires for item in record.evidence), *([record.review_by] if record.review_by else [])]
    return min(map(instant_s, dates), default=None)


def _missing(record: VendorRecord) -> Iterator[str]:
    if not record.agreements:
        yield "no agreement is in force"
    if record.retention_days is None:
        yield "how long it keeps data is not known"
    if record.training_use is None:
        yield "whether it trains on data is not known"
    if not record.exit_plan:
        yield "there is no exit plan"
    if record.review_by is None:
        yield "no review is due"


def _run_out(record: VendorRecord, now_s: int) -> Iterator[str]:
    for item in record.evidence:
        if instant_s(item.expires) <= now_s:
            yield f"{item.name} expired {item.expires}"
    if record.review_by is not None and instant_s(record.review_by) <= now_s:
        yield f"its review was due {record.review_by}"
