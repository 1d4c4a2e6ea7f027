"""The page itself: from a request to what it shows.

Uploaded pictures are decoded once, kept in memory for a while, and never written anywhere.
"""

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask.wrappers import Response
from numpy.typing import NDArray
from werkzeug.exceptions import BadRequest, NotFound

from components.browse.columns import Ask, Asked, column_of, side_by_side
from components.browse.question import Question, read_question
from components.browse.shelf import Shelf
from components.errors import HemlineError
from components.images.decode import UnreadableImageError, decode
from components.search.conditions import Condition, parse_condition

PER_PAGE = 60
NUM_KEPT = 100  # uploads; of 224 pixels a side: 15 MB

_THUMBNAIL_PX = 192
_DAY_S = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An uploaded picture.

    Attributes:
        name: name of the file, as the browser gave it.
        pixels: pixels [S, S, 3] by their side S and their crop.
        copies: numbers of the items whose file is the same, by the key of their shelf.
    """

    name: str
    pixels: Mapping[tuple[int, str], NDArray[np.uint8]]
    copies: Mapping[str, tuple[int, ...]]


class Uploads:
    """The last uploads, by a token that cannot be guessed; the oldest make room."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = Lock()

    def keep(self, upload: Upload) -> str:
        """Keeps an upload and returns its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[token] = upload
            while len(self._kept) > NUM_KEPT:
                self._kept.popitem(last=False)
        return token

    def get(self, token: str) -> Upload | None:
        """Returns an upload; None for an unknown or an old token."""
        with self._lock:
            return self._kept.get(token)


class Pages:
    """The pages over one shelf, or over two to compare; items are picked from the first one."""

    def __init__(self, shelves: Sequence[Shelf]) -> None:
        self._shelves = shelves
        self._uploads = Uploads()
        # in the shelves' order, each once
        self._attributes = [*dict.fromkeys(a for s in shelves for a in s.finder.attributes)]
        # what items can be filtered by, by attribute and by the text that asks for it
        self._choices = {
            name: {
                f"{name}={value}": Condition(column=f"attribute:{name}", operator="=", value=value)
                for value in values
            }
            for name, values in shelves[0].finder.known_values().items()
        }

        self._askable = _askable(shelves)

    def items(self) -> str:
        """Returns a page of the first shelf's items, or of those that the filter lets through."""
        finder = self._shelves[0].finder
        shown, images = self._filtered(request.args.getlist("show"))
        num_pages = max(1, -(-len(images) // PER_PAGE))
        page = request.args.get("page", "1")
        if page not in map(str, range(1, num_pages + 1)):
            raise NotFound(f"There is no page {page!r}: there are {num_pages}.")
        first = (int(page) - 1) * PER_PAGE
        on_page = images[first : first + PER_PAGE].tolist()
        return render_template(
            "items.html",
            items={image: finder.path_of(image) for image in on_page},
            labels=finder.labels_of(on_page),
            choices=self._choices,
            show=shown,
            num_items=len(images),
            page=int(page),
            num_pages=num_pages,
            question=self._question(),
        )

    def _filtered(self, texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
        """Returns the conditions of the filter, and the first shelf's items that fulfil them."""
        shown = [text for text in texts if text.strip()]
        known = {
            text: choice for of_one in self._choices.values() for text, choice in of_one.items()
        }
        try:
            conditions = [known.get(text) or parse_condition(text) for text in shown]
            return shown, self._shelves[0].finder.images_where(conditions)
        except HemlineError as error:
            raise BadRequest(str(error)) from error

    def search(self) -> str:
        """Returns the nearest items of each shelf to an item or to an upload."""
        question = self._question()
        if token := request.args.get("upload"):
            return self._search_upload(token, question)
        if name := request.args.get("image", "").strip():
            return self._search_item(name, question)
        raise BadRequest("Pick an item, or choose a picture of your own.")

    def upload(self) -> ResponseReturnValue:
        """Keeps a picture in memory, and sends the browser on to its search."""
        file = request.files.get("picture")
        if file is None or not file.filename:
            raise BadRequest("No picture was chosen.")
        question = self._question()
        data = file.read()
        squares = {(shelf.image_size_px, shelf.pictures.crop) for shelf in self._shelves}
        upload = Upload(
            name=file.filename,
            pixels={
                (side, crop): decode(data, image_size_px=side, crop=crop) for side, crop in squares
            },
            copies={s.key: tuple(s.finder.same_content(data)) for s in self._shelves},
        )
        token = self._uploads.keep(upload)
        return redirect(url_for("search", upload=token, **question.fields), code=303)

    def picture(self, key: str, image: int) -> Response:
        """Returns a thumbnail of an item, which browsers may keep: the key tells its content."""
        shelf = next((shelf for shelf in self._shelves if shelf.key == key), None)
        if shelf is None:
            raise NotFound("There are no such embeddings here.")
        data = shelf.pictures.thumbnail(image, side_px=_THUMBNAIL_PX)
        response = Response(data, mimetype="image/jpeg")
        response.headers["Cache-Control"] = f"private, max-age={_DAY_S}, immutable"
        return response

    def _question(self) -> Question:
        return read_question(request.values, self._attributes, kept=self._askable)

    def _search_upload(self, token: str, question: Question) -> str:
        upload = self._uploads.get(token)
        if upload is None:
            raise NotFound("That picture is not in memory any more: choose it again.")
        return self._columns(
            question.with_default(self._attributes[0]),
            lambda shelf, attributes: _ask_upload(shelf, upload, attributes),
            title=upload.name,
            fields={"upload": token},
        )

    def _search_item(self, name: str, question: Question) -> str:
        shelf, image = self._find(name)
        path = shelf.pictures.path(image)  # shelves may number their items differently
        labelled = [*shelf.finder.values_of(image), *self._attributes]
        return self._columns(
            question.with_default(labelled[0]),
            lambda shelf, attributes: _ask_item(shelf, path, attributes),
            title=path,
            fields={"image": path},
        )

    def _find(self, name: str) -> tuple[Shelf, int]:
        """Returns the first shelf that has an item of that number or path, and its number."""
        problems = []
        for shelf in self._shelves:
            try:
                return shelf, shelf.finder.number_of(name)
            except HemlineError as error:
                problems.append(str(error))
        raise NotFound(problems[0])

    def _columns(
        self, question: Question, ask: Ask, *, title: str, fields: Mapping[str, str]
    ) -> str:
        columns = [column_of(shelf, ask, question) for shelf in self._shelves]
        return render_template(
            "search.html",
            title=title,
            fields=fields,
            question=question,
            attributes=self._attributes,
            askable=self._askable,
            columns=side_by_side(columns),
            picture=next((each.picture for each in columns if each.picture), ""),
            values=next((each.values for each in columns if each.values), {}),
        )


def _askable(shelves: Sequence[Shelf]) -> dict[str, list[str]]:
    """Returns the values with a prototype on any shelf, by attribute."""
    askable: dict[str, list[str]] = {}
    for shelf in shelves:
        try:
            prototypes = shelf.prototypes()
        except HemlineError:  # an older version's embeddings: nothing to ask for
            continue
        for name, found in prototypes.attributes.items():
            values = askable.setdefault(name, [])
            values += [x for x in found.values if x not in {*found.missing, *values}]
    return askable


def _ask_item(shelf: Shelf, path: str, attributes: Sequence[str]) -> Asked:
    image = shelf.finder.number_of(path)
    try:
        pixels_SS3 = shelf.pictures.pixels(image, side_px=shelf.image_size_px)
    except UnreadableImageError:  # its embeddings are there, whatever became of the file
        pixels_SS3 = None
    return Asked(shelf.finder.item_query(image, attributes), pixels_SS3)


def _ask_upload(shelf: Shelf, upload: Upload, attributes: Sequence[str]) -> Asked:
    pixels_SS3 = upload.pixels[shelf.image_size_px, shelf.pictures.crop]
    vectors = shelf.embed(pixels_SS3, attributes)
    query = shelf.finder.picture_query(vectors, copies=upload.copies[shelf.key])
    return Asked(query, pixels_SS3)
