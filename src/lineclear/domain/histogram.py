"""A mergeable histogram of durations: how many fell into each of a fixed row of log-spaced buckets.

In: microseconds. Out: counts by bucket, quantiles with a known error. Merging is addition, so hours add up
to days and apps to teams without loss.
"""

from collections.abc import Mapping
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
    total = sum(histogram.values())
    if total == 0:
        return None
    rank = max(1, -int(-share * total // 1))
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            return round(upper_us(bucket) * 2.0 ** (-0.5 / BUCKETS_PER_OCTAVE)) if bucket else 1
    raise AssertionError("the ranks of a histogram add up to its total")


def encode(histogram: Mapping[int, int]) -> bytes:
    """Compact bytes for a column; the empty histogram is one byte."""
    return _ENCODER.encode(histogram)


def decode(data: bytes) -> Histogram:
    """What `encode` wrote.

    Raises:
        msgspec.DecodeError: if the bytes are not a histogram.
    """
    return _DECODER.decode(data)
