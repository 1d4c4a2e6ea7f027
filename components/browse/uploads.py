"""Uploaded pictures: decoded once, kept in memory for a while, never written anywhere."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

NUM_KEPT = 100  # of 224 pixels a side: 15 MB


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A picture that somebody asks about.

    Attributes:
        name: of the file, as the browser gave it.
        pixels: what a model is shown [S, S, 3], by its side S.
        copies: numbers of the items whose file is the same, by the key of their shelf.
    """

    name: str
    pixels: Mapping[int, NDArray[np.uint8]]
    copies: Mapping[str, tuple[int, ...]]


class Uploads:
    """The last uploads, by a token that nobody can guess; the oldest make room."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = Lock()

    def keep(self, upload: Upload) -> str:
        """Returns the token of an upload, which is kept."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[token] = upload
            while len(self._kept) > NUM_KEPT:
                self._kept.popitem(last=False)
        return token

    def get(self, token: str) -> Upload | None:
        """Returns an upload; None where no such token was given, or too long ago."""
        with self._lock:
            return self._kept.get(token)
