"""A mergeable histogram of durations: how many fell into each of a fixed row of log-spaced buckets.

In: microseconds. Out: counts by bucket, quantiles with a known error. Merging is addition, so hours add up
to days and apps to teams without loss.
"""

from collections.abc import Mapping, Sequence
from math import ceil, log2
from typing import TypeAlias

import msgspec

BUCKETS_PER_OCTAVE = 8
"""Eight buckets for each doubling: a bucket is 9 % wide, its middle at most 4.5 % off."""

Histogram: TypeAlias = dict[int, int]
"""Count by bucket. Bucket 0 holds 0 and 1 µs; bucket b holds durations up to 2**(b/8) µs."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Histogram)


def bucket_of(duration_us: int) -> int:
    """The bucket that a duration falls into; negative ones (a clock that stepped) count as 0."""
    if duration_us <= 1:
        return 0
    # ceil, so that a power of two is the upper edge of its own bucket.
    return ceil(BUCKETS_PER_OCTAVE * log2(duration_us))


def upper_us(bucket: int) -> float:
    """The largest duration in a bucket, in microseconds."""
    return float(2.0 ** (bucket / BUCKETS_PER_OCTAVE))


def quantile_us(histogram: Mapping[int, int], share: float) -> int | None:
    """The duration that `share` (0 to 1) of the values do not exceed, by nearest rank; None if there are none.

    The answer is the middle of the bucket on the log scale: at most 4.5 % from the true value.
    """
    return quantiles_us(histogram, (share,))[0]


def quantiles_us(histogram: Mapping[int, int], shares: Sequence[float]) -> list[int | None]:
    """As `quantile_us` for several shares, which do not fall; the buckets are put in order once."""
    total = sum(histogram.values())
    if total == 0:
        return [None] * len(shares)
    found: list[int | None] = []
    buckets = iter(sorted(histogram))
    bucket, seen = 0, 0
    for share in shares:
        rank = max(1, -int(-share * total // 1))
        while seen < rank:
            bucket = next(buckets)
            seen += histogram[bucket]
        found.append(round(upper_us(bucket) * 2.0 ** (-0.5 / BUCKETS_PER_OCTAVE)) if bucket else 1)
    return found


def encode(histogram: Mapping[int, int]) -> bytes:
    """Compact bytes for a column; the empty histogram is one byte."""
    return _ENCODER.encode(histogram)


def decode(data: bytes) -> Histogram:
    """What `encode` wrote.

    Raises:
        msgspec.DecodeError: if the bytes are not a histogram.
    """
    return _DECODER.decode(data)
