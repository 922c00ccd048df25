"""Takes the path prefix off that a proxy in front may leave on: `/ai/gateway/api/v1/…` is served as `/api/v1/…`.

In: an ASGI application. Out: the same under both names, since some proxies cut the prefix and some do not.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


def under_prefix(application: ASGIApp, root_path: str) -> ASGIApp:
    """The application, reachable with and without `root_path` in front; itself if that is empty."""
    if not root_path:
        return application
    raw = root_path.encode("ascii")

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"] + "/").startswith(root_path + "/"):
            cut = {"path": scope["path"][len(root_path) :] or "/", "raw_path": scope["raw_path"][len(raw) :] or b"/"}
            scope = {**scope, **cut}
        await application(scope, receive, send)

    return serve
