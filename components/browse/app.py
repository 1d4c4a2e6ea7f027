"""The page's routes, its errors, and its protection: hosts, headers, memory."""

import io
from collections.abc import Sequence
from typing import IO, Any

from flask import Flask, Request, Response, current_app, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Forbidden, HTTPException, RequestEntityTooLarge, SecurityError
from werkzeug.http import HTTP_STATUS_CODES

from components.browse.pages import Pages
from components.browse.question import NUM_SHOWN
from components.browse.shelf import Shelf
from components.figures.frames import FRAMES, frames_css
from components.images.decode import FORMATS, UnreadableImageError
from components.search.request import MAX_WEIGHT

MAX_UPLOAD_BYTES = 20 * 2**20

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
_STATUS = {
    "too_large": 413,
    "not_an_image": 415,
    "unread_format": 415,
    "missing": 404,
    "outside_root": 404,
}


class MemoryRequest(Request):
    """A request whose files stay in memory; Werkzeug's own go to the disk above 500 kB."""

    def _get_file_stream(self, *arguments: Any, **named: Any) -> IO[bytes]:
        return io.BytesIO()


def create_app(
    shelves: Sequence[Shelf],
    *,
    trusted_hosts: Sequence[str],
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
) -> Flask:
    """Returns the page over one shelf, or over two to compare.

    Args:
        shelves: what is shown, side by side.
        trusted_hosts: host names and addresses of the page, without ports. A page elsewhere, whose
            name is made to point here (DNS rebinding), asks with its own.
        max_upload_bytes: limit on the body of an upload request; more is error 413.
    """
    app = Flask(__name__)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        num_shown=NUM_SHOWN, max_weight=MAX_WEIGHT, shelves=shelves, frames=FRAMES
    )
    app.config["TRUSTED_HOSTS"] = [*trusted_hosts]
    app.config["MAX_CONTENT_LENGTH"] = max_upload_bytes
    app.request_class = MemoryRequest
    app.before_request(_refuse_other_sites)
    app.after_request(_add_headers)
    pages = Pages(shelves)
    app.add_url_rule("/", "items", pages.items)
    app.add_url_rule("/search", "search", pages.search)
    app.add_url_rule("/uploads", "upload", pages.upload, methods=["POST"])
    app.add_url_rule("/frames.css", "frames", _frames)
    app.add_url_rule("/pictures/<key>/<int:image>.jpg", "picture", pages.picture)
    app.register_error_handler(HTTPException, _error_page)
    app.register_error_handler(SecurityError, _unknown_host)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(UnreadableImageError, _unreadable)
    return app


def _frames() -> Response:
    return Response(frames_css(), mimetype="text/css")


def _refuse_other_sites() -> None:
    """Refuses forms that another site submits in its visitor's name."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if request.method == "POST" and site not in {"same-origin", "none"}:
        raise Forbidden("Only this page's own forms may upload pictures.")


def _add_headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _error_page(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.code < 400:  # a redirect
        return error.get_response()
    return render_template("error.html", heading=error.name, text=error.description), error.code


def _unknown_host(error: SecurityError) -> ResponseReturnValue:
    # no template: the request has no addresses that one could link to
    text = f"{error.description}\nhemline browse --allow-host NAME lets in another name.\n"
    return text, 400, {"Content-Type": "text/plain; charset=utf-8"}


def _too_large(error: RequestEntityTooLarge) -> ResponseReturnValue:
    limit_mb = current_app.config["MAX_CONTENT_LENGTH"] / 2**20
    text = f"A picture may have {limit_mb:g} MB at most: choose a smaller file."
    return render_template("error.html", heading=error.name, text=text), 413


def _unreadable(error: UnreadableImageError) -> ResponseReturnValue:
    status = _STATUS.get(error.reason, 400)
    text = f"The picture cannot be used ({error}). What is read: {', '.join(FORMATS)}, HEIC."
    return render_template("error.html", heading=HTTP_STATUS_CODES[status], text=text), status
