"""What is wrong with what is known of a vendor: what is missing, what has run out. Pure."""

from collections.abc import Iterator

from lineclear.domain.catalogue import instant_s
from lineclear.domain.manifest import Provider, TrainingUse, VendorRecord


def vendor_problems(provider: Provider, now_s: int) -> tuple[str, ...]:
    """In words; empty if everything is known and in force."""
    record = provider.vendor_record
    region = () if provider.region else ("its region is not known",)
    if record is None:
        return (*region, "there is no vendor record")
    return (*region, *_missing(record), *_run_out(record, now_s))


def _missing(record: VendorRecord) -> Iterator[str]:
    if not record.agreements:
        yield "no agreement is in force"
    if record.retention_days is None:
        yield "how long it keeps data is not known"
    if record.training_use is None:
        yield "whether it trains on data is not known"
    elif record.training_use is TrainingUse.YES:
        yield "it trains on what it is sent"
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
