"""The code that travels with a registered model; it must not need this repository.

MLflow runs this file when it loads the model ("models from code"), so that nothing is unpickled.
`decode` is hemline's decoder, which the package carries beside this file.
"""

import base64
import json
import logging
import os
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pandas as pd
import torch
from decode import UnreadableImageError, decode
from mlflow.exceptions import MlflowException
from torch.export.passes import move_to_device_pass

_IMAGES_AT_ONCE = 32  # bounds memory: pixels and feature maps of a batch, never of all rows
_LONGEST_SHOWN = 200  # characters of a path; base64 text of an image is longer and not shown
_NUM_LISTED = 10

_log = logging.getLogger(__name__)


class BadRowError(MlflowException, ValueError):
    """A row cannot be embedded; the message names it.

    An error of MLflow's own kind reaches the client of a server as it is. Of others, the client
    gets the server's stack trace. Raised as `invalid_parameter_value`, so that it is the client's.
    """


class FashionEmbedder(mlflow.pyfunc.PythonModel):
    """Rows of an image and an attribute in, rows with a unit-length embedding out."""

    def load_context(self, context: Any) -> None:
        """Loads the exported graph, onto a GPU where there is one, and the attributes it knows."""
        package = json.loads(Path(context.artifacts["package"]).read_text())
        self.attributes = [a["name"] for a in package["schema"]["attributes"]]
        self.image_size_px = package["image_size_px"]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        _check(Path(context.artifacts["network"]), package["crc32"])
        exported = torch.export.load(context.artifacts["network"])
        self.network = move_to_device_pass(exported, self.device).module()

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Returns columns attribute and embedding, in the order of the rows.

        A row without an attribute gives a row for each attribute of the schema, in its order. All
        rows have the index of the row that they come from. Memory grows with the rows by their
        embeddings alone; an image that several rows ask for is decoded and embedded once.

        Args:
            context: given by MLflow.
            model_input: column `image`, the bytes of an image file, their base64 text, or a path;
                and, where wanted, `attribute`, a name of the schema or null.
            params: `on_error`: "raise" (without it), or "null", which gives a row that cannot be
                embedded null in place of its embedding.

        Raises:
            BadRowError: an image cannot be read or an attribute is unknown, and `on_error` is
                "raise".
        """
        problems = _Problems((params or {}).get("on_error", "raise"))
        images = list(model_input["image"])
        given = model_input.get("attribute", [None] * len(images))
        asked = [
            (row, name)
            for row, one in enumerate(given)
            for name in (self.attributes if _is_null(one) else [one])
        ]
        embeddings: list[np.ndarray[Any, np.dtype[np.float32]] | None] = [None] * len(asked)
        decoded = self._decoded(images, asked, problems)
        while batch := list(islice(decoded, _IMAGES_AT_ONCE)):
            for place, embedding_D in self._embedded(batch):
                embeddings[place] = embedding_D
        problems.report()
        return pd.DataFrame(
            {
                "attribute": pd.Series([name for _, name in asked], dtype=object),
                "embedding": pd.Series(embeddings, dtype=object),
            }
        ).set_axis(model_input.index[[row for row, _ in asked]])

    def _decoded(
        self, images: list[Any], asked: list[tuple[int, Any]], problems: "_Problems"
    ) -> Iterator["_Decoded"]:
        """Yields every image that is asked for once, with the places in `asked` that it answers."""
        places: dict[Any, list[int]] = {}
        for place, (row, name) in enumerate(asked):
            if name in self.attributes:
                places.setdefault(_identity(images[row]), []).append(place)
            else:
                problems.add(row, f"unknown attribute {name!r}; known: {self.attributes}")
        for own in places.values():
            row = asked[own[0]][0]
            try:
                pixels = decode(_read(images[row]), image_size_px=self.image_size_px)
            except (UnreadableImageError, ValueError, OSError) as error:
                problems.add(row, f"{_shown(images[row])}{error}")
                continue
            yield _Decoded(pixels, {place: self.attributes.index(asked[place][1]) for place in own})

    def _embedded(
        self, batch: list["_Decoded"]
    ) -> Iterator[tuple[int, np.ndarray[Any, np.dtype[np.float32]]]]:
        """Yields places and their embeddings [D], from one pass over the images."""
        every = sorted({index for image in batch for index in image.attributes.values()})
        pixels_BSS3 = torch.from_numpy(np.stack([image.pixels for image in batch]))
        asked_BK = torch.tensor(every, device=self.device).expand(len(batch), -1)
        with torch.inference_mode():
            found = self.network(pixels_BSS3.to(self.device), asked_BK)
        # networks with attention give their maps as well
        embeddings_BKD = (found[0] if isinstance(found, tuple) else found).cpu().numpy()
        for image, embeddings_KD in zip(batch, embeddings_BKD, strict=True):
            for place, index in image.attributes.items():
                yield place, embeddings_KD[every.index(index)].copy()  # frees the batch


def _check(network: Path, crc32: str) -> None:
    """Raises a MlflowException where the graph's file is not as it was written."""
    found = f"{zlib.crc32(network.read_bytes()):08x}"
    if found != crc32:
        raise MlflowException(
            f"{network} is damaged (CRC-32 {found}, written was {crc32}): download it again"
        )


class _Decoded(NamedTuple):
    """Pixels [S, S, 3], and places among the rows that come out, with the attribute of each."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    attributes: dict[int, int]


class _Problems:
    """Rows that cannot be embedded: an error at the first, or all of them in the log."""

    def __init__(self, on_error: str) -> None:
        if on_error not in ("raise", "null"):
            raise BadRowError.invalid_parameter_value(
                f"on_error is {on_error!r}; it takes 'raise' and 'null'"
            )
        self._raises = on_error == "raise"
        self._found: list[str] = []

    def add(self, row: int, problem: str) -> None:
        """Notes a problem of a row, counted from 0."""
        message = f"row {row}: {problem}"
        if self._raises:
            remedy = "params={'on_error': 'null'} gives such rows null"
            raise BadRowError.invalid_parameter_value(f"{message} ({remedy})")
        self._found.append(message)

    def report(self) -> None:
        if self._found:
            listed = "; ".join(self._found[:_NUM_LISTED])
            _log.warning("%d rows or images gave null, first: %s", len(self._found), listed)


def _read(image: Any) -> bytes:
    """Returns the bytes of an image file, from any of the forms that a row may hold them in."""
    if _is_null(image):
        raise ValueError("no image")
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if not isinstance(image, str | Path):
        raise ValueError(f"an image is bytes, base64 text or a path, not {type(image).__name__}")
    reads_files = _may_read_files()
    if reads_files and os.path.isfile(image):  # noqa: PTH113 - Path's raises for long text
        return Path(image).read_bytes()
    try:
        return base64.b64decode("".join(str(image).split()), validate=True)
    except ValueError as error:
        remedy = "" if reads_files else ", and HEMLINE_READ_PATHS does not let this process read it"
        raise ValueError(f"neither base64 text nor a file{remedy}") from error


def _may_read_files() -> bool:
    """Returns whether text may name a file.

    It may not where MLflow serves the model: strangers would have the server's files read.
    """
    said = os.environ.get("HEMLINE_READ_PATHS")
    if said is not None:
        return said.lower() in ("1", "true")
    return os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "").lower() != "true"


def _identity(image: Any) -> Any:
    """Returns what is the same for cells that hold the same image."""
    return image if isinstance(image, bytes | str) else id(image)


def _is_null(value: Any) -> bool:
    return pd.api.types.is_scalar(value) and bool(pd.isna(value))


def _shown(image: Any) -> str:
    is_text = isinstance(image, str | Path) and len(str(image)) <= _LONGEST_SHOWN
    return f"{str(image)!r}: " if is_text else ""


mlflow.models.set_model(FashionEmbedder())
