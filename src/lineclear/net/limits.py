"""Every bound of the HTTP room, by name, with its default.

Times are seconds, sizes are bytes. Source: research/reliability-security.md §2, rows C5 to C8, C14, C17, U21 to U24.
"""

import msgspec

NS_PER_S = 1_000_000_000


class ServerLimits(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a caller may cost us before a handler has agreed to it."""

    head_bytes_max: int = 32 * 1024
    head_fields_max: int = 100
    target_bytes_max: int = 8 * 1024
    head_deadline_s: float = 10.0
    """From the first byte of a head to its last."""
    idle_s: float = 75.0
    """A connection without a request."""
    body_grace_s: float = 10.0
    """How long a body may arrive slower than `body_bytes_per_s_min`."""
    body_bytes_per_s_min: int = 1024
    body_deadline_s: float = 300.0
    """However fast a body is, it is over by then."""
    body_unread_bytes_max: int = 64 * 1024
    """What is held of a body that nobody asked for yet; then the socket is not read."""
    framing_bytes_slack: int = 64 * 1024
    """Chunk sizes, extensions and trailers may cost this much and 8 bytes for each byte of body."""
    pipeline_requests_max: int = 16
    """Requests waiting for their turn on one connection; those beyond it are not answered, which closes it."""
    write_high_bytes: int = 64 * 1024
    """Unsent answer bytes above which `drained` waits."""
    write_low_bytes: int = 16 * 1024
    write_stall_s: float = 60.0
    """An answer of which the caller took nothing for so long is cut."""
    linger_s: float = 2.0
    """The rest of a refused request is read and dropped while it comes, so that the refusal arrives."""
    linger_s_max: float = 30.0
    linger_bytes_max: int = 64 * 1024 * 1024
    drain_grace_s: float = 5.0
    """While draining, how long accepted sockets may stay silent before they are closed."""
    cut_grace_s: float = 1.0
    """After the drain's deadline, how long cut exchanges may take to settle."""
    connections_max: int = 8192
    connections_per_peer_max: int = 4096
    """From one address; Unix sockets have none and are not counted."""
    accepts_per_tick_max: int = 64
    accept_pause_s: float = 0.1
    """How long accepting rests when the process is out of file descriptors."""
    tls_handshake_s: float = 5.0


class PoolLimits(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a target may cost us, and what we keep open towards it."""

    head_bytes_max: int = 64 * 1024
    head_fields_max: int = 100
    body_bytes_max: int = 64 * 1024 * 1024
    framing_bytes_slack: int = 64 * 1024
    """Chunk sizes, extensions and trailers may cost this much and 8 bytes for each byte of body."""
    unread_bytes_max: int = 64 * 1024
    """Answer bytes held for a reader that is behind; then the socket is not read."""
    idle_s: float = 30.0
    """An unused connection is closed after this."""
    age_s_max: float = 600.0
    """A connection older than this is not used again, so that a changed address is followed."""
    idle_per_lane_max: int = 64
    """A lane is one origin with one credential."""
    idle_max: int = 1024
    connections_per_lane_max: int = 512
    tls_handshake_s: float = 5.0
    address_s: float = 1.0
    """How long one of several addresses may take to connect before the next is tried."""
    sweep_s: float = 5.0
    """How often idle connections are looked over."""
