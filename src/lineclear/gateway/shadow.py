"""What a route's calls are copied for, while a step of its rollout asks the candidate what nobody gets to hear.

In: a route's section. Out: a value prepared with the snapshot. Must not: copy anything; `copies` does.
"""

from zlib import crc32

import msgspec

from lineclear.domain.evidence import WEIGHT_BP_MAX
from lineclear.gateway.exposure import Exposure


class ShadowView(msgspec.Struct, frozen=True, gc=False):
    """One run of one step."""

    run: str
    share_bp: int
    spend_cap_nano_usd: int
    """Of the whole run; each worker spends its part of it."""
    lease_ns: int
    exposure: Exposure

    def wants(self, request_id: str) -> bool:
        """Whether this call is one of the share, and control is there to look at what comes of it."""
        return crc32(request_id.encode()) % WEIGHT_BP_MAX < self.share_bp and self.exposure.is_watched(self.lease_ns)
