"""What keeps the page to itself: who may ask, what browsers may do with answers, and memory."""

import io
from typing import IO, Any

from flask import Flask, Request, Response, request
from werkzeug.exceptions import Forbidden

_HEADERS = {
    # no script at all, and nothing from elsewhere; pictures may stand in the page itself
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class MemoryRequest(Request):
    """A request whose files stay in memory; Werkzeug's own go to the disk above 500 kB."""

    def _get_file_stream(self, *arguments: Any, **named: Any) -> IO[bytes]:
        return io.BytesIO()


def guard(app: Flask, *, trusted_hosts: list[str], max_upload_bytes: int) -> None:
    """Makes an app answer only to its own names and its own pages.

    Args:
        app: to set up.
        trusted_hosts: names that may stand in a request's Host header: a page elsewhere, whose
            name is made to point here (DNS rebinding), asks with its own.
        max_upload_bytes: of a request's body; more is error 413.
    """
    app.config["TRUSTED_HOSTS"] = trusted_hosts
    app.config["MAX_CONTENT_LENGTH"] = max_upload_bytes
    app.request_class = MemoryRequest
    app.before_request(_refuse_other_sites)
    app.after_request(_add_headers)


def _refuse_other_sites() -> None:
    """Refuses what a form on another site sends here in its visitor's name."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if request.method == "POST" and site not in {"same-origin", "none"}:
        raise Forbidden("Only this page's own forms may upload pictures.")


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    return response
