"""Reads a request's body up to a limit, without ever holding more than that."""

from starlette.requests import Request

from lineclear.control.endpoint import AdminCode, Refused


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body.

    Raises:
        Refused: `body_too_large` as soon as more than `limit_bytes` are announced or have come.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and len(announced) < 19 and int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > limit_bytes:
            raise _too_large(limit_bytes)
    return bytes(received)


def _too_large(limit_bytes: int) -> Refused:
    return Refused(AdminCode.BODY_TOO_LARGE, f"the body is longer than {limit_bytes} bytes", hint="send fewer files")
