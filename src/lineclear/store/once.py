"""Rows that are written once, although the answer to a commit may be lost and the same is written again.

In: what is to be kept, and what stands already in those places. Out: what is left to write. Touches no database.
"""

from collections.abc import Callable, Collection
from typing import TypeVar

_Row = TypeVar("_Row")


class KeptOtherwise(Exception):
    """Something else stands in the place of a row that is written once; writing again would not help."""


def left_to_write(found: Collection[_Row], kept: Collection[_Row], place: Callable[[_Row], object]) -> list[_Row]:
    """Those of `found` that are not kept yet.

    Args:
        found: What is to be kept.
        kept: What the database holds in these places, and perhaps in others.
        place: Tells rows apart, as the primary key does.

    Raises:
        KeptOtherwise: another row has the place of one of them.
    """
    standing = {place(row): row for row in kept}
    left = []
    for row in found:
        before = standing.get(place(row))
        if before is None:
            left.append(row)
        elif before != row:
            raise KeptOtherwise(f"something else is kept in the place {place(row)!r} already")
    return left
