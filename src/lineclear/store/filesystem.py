"""Where a SQLite file may lie: on a local disk, because its locks do not hold over a network.

In: a path. Out: nothing, or a refusal that names the mount. Linux only; elsewhere nothing is known and
nothing is refused.
"""

from pathlib import Path

from lineclear.domain.errors import ErrorCode, PlatformFault

MOUNTS = Path("/proc/self/mountinfo")
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs",
        "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",
    }
)  # fmt: skip
"""Source: https://www.sqlite.org/useovernet.html, §1 and §2.1; WAL also needs shared memory between processes."""


def refuse_network_file_system(path: Path, mounts: Path = MOUNTS) -> None:
    """Check the mount that holds `path`.

    Raises:
        PlatformFault: `internal_error` if it is a network file system.
    """
    kind = file_system_kind(path, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise PlatformFault(
            ErrorCode.INTERNAL_ERROR,
            f"{str(path)!r} lies on a network file system ({kind}); SQLite's locks do not hold there",
            hint="put the data directory on a local disk, or give a postgresql:// database URL",
        )


def file_system_kind(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The type of the file system that holds `path`, e.g. `ext4`; None where the system does not say.

    Source: proc(5), `/proc/pid/mountinfo`: field 5 is the mount point, the type follows the ` - ` separator.
    """
    if not mounts.exists():
        return None
    target = path.absolute().resolve()
    best: tuple[int, str] | None = None
    for line in mounts.read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = Path(_unescape(left.split(" ")[4]))
        # A later mount on the same point hides the earlier one, hence >=.
        if target.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), right.split(" ")[0])
    return best[1] if best else None


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes of space, tab, newline and backslash."""
    for escape, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, plain)
    return text
