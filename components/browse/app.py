"""The page's addresses: the catalogue, a search, an upload, a picture; and its errors."""

from collections.abc import Sequence

from flask import Flask, current_app, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, SecurityError
from werkzeug.http import HTTP_STATUS_CODES

from components.browse.guard import guard
from components.browse.pages import Pages
from components.browse.question import MAX_WEIGHT, NUM_SHOWN
from components.browse.shelf import Shelf
from components.images.decode import FORMATS, UnreadableImageError

MAX_UPLOAD_BYTES = 20 * 2**20

_STATUS = {"too_large": 413, "not_an_image": 415, "missing": 404, "outside_root": 404}


def create_app(
    shelves: Sequence[Shelf],
    *,
    trusted_hosts: Sequence[str],
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
) -> Flask:
    """Returns the page over one shelf, or over two to compare.

    Args:
        shelves: what is shown, side by side.
        trusted_hosts: names and addresses that the page is called by, without ports.
        max_upload_bytes: of an upload, what surrounds the file included.
    """
    app = Flask(__name__)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(num_shown=NUM_SHOWN, max_weight=MAX_WEIGHT, shelves=shelves)
    guard(app, trusted_hosts=[*trusted_hosts], max_upload_bytes=max_upload_bytes)
    pages = Pages(shelves)
    app.add_url_rule("/", "catalogue", pages.catalogue)
    app.add_url_rule("/search", "search", pages.search)
    app.add_url_rule("/uploads", "upload", pages.upload, methods=["POST"])
    app.add_url_rule("/pictures/<key>/<int:image>.jpg", "picture", pages.picture)
    app.register_error_handler(HTTPException, _error_page)
    app.register_error_handler(SecurityError, _unknown_host)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(UnreadableImageError, _unreadable)
    return app


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
    text = f"The picture cannot be used ({error}). What is read: {', '.join(FORMATS)}."
    return render_template("error.html", heading=HTTP_STATUS_CODES[status], text=text), status
