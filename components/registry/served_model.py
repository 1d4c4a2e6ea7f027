"""The code that travels with a registered model; it must not need this repository.

MLflow runs this file when it loads the model ("models from code"), so that nothing is unpickled.
`decode` is hemline's decoder, `pt2` its reader of graphs and `named_values` that of prototypes,
which the package carries beside this file.
"""

import base64
import json
import logging
import os
import sys
import unicodedata
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from http.client import HTTPException
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

import mlflow
import numpy as np
import pandas as pd
import pt2
import torch
from decode import UnreadableImageError, decode, image_size
from mlflow.exceptions import MlflowException

if TYPE_CHECKING:
    from named_values import NamedValues

_IMAGES_AT_ONCE = 32  # bounds memory: pixels and feature maps of a batch, never of all rows
_LONGEST_SHOWN = 200  # characters of a path; base64 text of an image is longer and not shown
_NUM_LISTED = 10
_REMEDY = "download it again"
_LONGEST_SCHEME = 10  # characters of a URL, with ://
_URL_TIMEOUT_S = 20  # without an answer
_LARGEST_DOWNLOAD = 256 * 2**20  # bytes

_VALUE_COLUMNS = ("value", "confidence", "second_value", "second_confidence")

Embedding = np.ndarray[Any, np.dtype[np.float32]]  # [D]

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
        package = _read_package(Path(context.artifacts["package"]))
        self.attributes = [a["name"] for a in package["schema"]["attributes"]]
        self.image_size_px = package["image_size_px"]
        self.crop = package.get("crop", "centre")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = self._load(context.artifacts, package)
        self.prototypes = context.artifacts.get("prototypes")
        self.prototypes_crc32: str = package.get("prototypes_crc32", "")

    def _load(self, artifacts: dict[str, str], package: dict[str, Any]) -> Callable[..., Any]:
        """Returns the network, on a CPU with OpenVINO in 8-bit integers, where it has those."""
        if self.device == "cpu" and "quantised" in artifacts and find_spec("openvino"):
            for what in ("quantised", "quantised_weights"):
                path = Path(artifacts[what])
                _check(path, package["quantised_crc32"][path.name])
            return _integer_graph(artifacts["quantised"])
        _check(Path(artifacts["network"]), package["crc32"])
        network: Callable[..., Any] = pt2.load(Path(artifacts["network"]), self.device)
        return network

    @cached_property
    def named_values(self) -> "NamedValues":
        """What names values; read when it is asked for."""
        # pyarrow, which embedding does without
        from named_values import NamedValues  # noqa: PLC0415

        if self.prototypes is None:
            message = "this version has no vectors of values: values cannot be true"
            raise BadRowError.invalid_parameter_value(message)
        _check(Path(self.prototypes), self.prototypes_crc32)
        return NamedValues(Path(self.prototypes))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Returns columns attribute and embedding, in the order of the rows.

        A row without an attribute gives a row for each attribute of the schema, in its order. All
        rows have the index of the row that they come from. Memory grows with the rows by their
        embeddings alone; an image that several rows ask for is decoded and embedded once.

        Args:
            context: given by MLflow.
            model_input: column `image`, the bytes of an image file, their base64 text, a path or a
                URL; and, where wanted, `attribute`, a name of the schema or null.
            params: `on_error`: "raise" (without it), or "null", which gives a row that cannot be
                embedded null in place of its embedding. `encoding`: "list" (without it) for an
                array of float32, "base64" and "base64-float16" for the base64 text of its bytes
                as float32 or float16, little endian. `values`: true adds the columns value,
                confidence, second_value and second_confidence: the two most likely values of the
                attribute, and their probabilities.

        Raises:
            BadRowError: an image cannot be read or an attribute is unknown, and `on_error` is
                "raise"; or a param has another value.
        """
        problems = _Problems(_chosen(params, "on_error", ("raise", "null")))
        encode = _ENCODINGS[_chosen(params, "encoding", tuple(_ENCODINGS))]
        names_values = _chosen_bool(params, "values")
        model_input = _in_rows(model_input)
        images = list(model_input["image"])
        given = model_input.get("attribute", [None] * len(images))
        asked = [
            (row, name)
            for row, one in enumerate(given)
            for name in (self.attributes if _is_null(one) else [_nfc(one)])
        ]
        embeddings: list[Embedding | str | None] = [None] * len(asked)
        named: list[tuple[Any, ...] | None] = [None] * len(asked)
        decoded = self._decoded(images, asked, problems)
        while batch := list(islice(decoded, _IMAGES_AT_ONCE)):
            for place, embedding_D in self._embedded(batch):
                embeddings[place] = encode(embedding_D)
                if names_values:
                    named[place] = self.named_values.name(asked[place][1], embedding_D)
        problems.report()
        columns: dict[str, list[Any]] = {
            "attribute": [name for _, name in asked],
            "embedding": embeddings,
        }
        if names_values:
            for column, name in enumerate(_VALUE_COLUMNS):
                columns[name] = [each and each[column] for each in named]
        frame = pd.DataFrame({name: pd.Series(c, dtype=object) for name, c in columns.items()})
        return frame.set_axis(model_input.index[[row for row, _ in asked]])

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
                pixels = decode(
                    _read(images[row]), image_size_px=self.image_size_px, crop=self.crop
                )
            except (UnreadableImageError, ValueError, OSError) as error:
                problems.add(row, f"{_shown(images[row])}{error}")
                continue
            yield _Decoded(pixels, {place: self.attributes.index(asked[place][1]) for place in own})

    def _embedded(self, batch: list["_Decoded"]) -> Iterator[tuple[int, Embedding]]:
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


def _integer_graph(file: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Returns a function from pixels and attributes to embeddings, for any number of threads."""
    # without which OpenVINO reports its use to a server of its makers
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino  # noqa: PLC0415 - whoever wants it installs it

    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def embed(pixels_BSS3: torch.Tensor, asked_BK: torch.Tensor) -> torch.Tensor:
        found = compiled.infer_new_request([pixels_BSS3.numpy(), asked_BK.contiguous().numpy()])
        return torch.from_numpy(found[compiled.output(0)])

    return embed


def _read_package(file: Path) -> dict[str, Any]:
    """Returns what describes a version, `files.sealed_json`.

    Raises:
        MlflowException: it is not as it was written; an older hemline wrote no checksum.
    """
    try:
        package: dict[str, Any] = json.loads(file.read_bytes())
    except ValueError as error:
        raise MlflowException(f"{file} is damaged ({error}): {_REMEDY}") from error
    if written := package.pop("own_crc32", ""):
        _compare(json.dumps(package).encode(), written, file)
    return package


def _check(file: Path, crc32: str) -> None:
    """Raises a MlflowException where a file is not as it was written."""
    _compare(file.read_bytes(), crc32, file)


def _compare(content: bytes, crc32: str, file: Path) -> None:
    found = f"{zlib.crc32(content):08x}"
    if found != crc32:
        raise MlflowException(f"{file} is damaged (CRC-32 {found}, written was {crc32}): {_REMEDY}")


class _Decoded(NamedTuple):
    """Pixels [S, S, 3], and places among the rows that come out, with the attribute of each."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    attributes: dict[int, int]


class _Problems:
    """Rows that cannot be embedded: an error at the first, or all of them in the log."""

    def __init__(self, on_error: str) -> None:
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


def _in_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns a frame with an image per row: of columns of text, MLflow makes one row of lists."""
    if len(frame) != 1 or not isinstance(frame["image"].iloc[0], list):
        return frame
    columns = {name: cells.iloc[0] for name, cells in frame.items()}
    try:
        return pd.DataFrame(columns)
    except ValueError as error:
        message = "the columns `image` and `attribute` differ in their number of rows"
        raise BadRowError.invalid_parameter_value(message) from error


def _chosen(params: dict[str, Any] | None, name: str, allowed: tuple[str, ...]) -> str:
    """Returns a param's value; the first of those allowed where there is none."""
    value = (params or {}).get(name, allowed[0])
    if value not in allowed:
        takes = ", ".join(map(repr, allowed))
        raise BadRowError.invalid_parameter_value(f"{name} is {value!r}; it takes {takes}")
    return str(value)


def _chosen_bool(params: dict[str, Any] | None, name: str) -> bool:
    """Returns whether a param is true; false where there is none."""
    value = (params or {}).get(name, False)
    if not isinstance(value, bool | np.bool_):
        message = f"{name} is {value!r}; it takes true and false"
        raise BadRowError.invalid_parameter_value(message)
    return bool(value)


def _base64_of(embedding_D: Embedding, number: str) -> str:
    return base64.b64encode(embedding_D.astype(number).tobytes()).decode()


_ENCODINGS: dict[str, Callable[[Embedding], Embedding | str]] = {
    "list": lambda embedding_D: embedding_D,
    "base64": lambda embedding_D: _base64_of(embedding_D, "<f4"),
    "base64-float16": lambda embedding_D: _base64_of(embedding_D, "<f2"),
}


def _read(image: Any) -> bytes:
    """Returns the bytes of an image file, from any of the forms that a row may hold them in."""
    if _is_null(image):
        raise ValueError("no image")
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if not isinstance(image, str | Path):
        kind = type(image).__name__
        raise ValueError(f"an image is bytes, base64 text, a path or a URL, not {kind}")
    text = str(image)
    if "://" in text[:_LONGEST_SCHEME]:
        return _download(text)
    reads_files = _may_read_files()
    if reads_files and os.path.isfile(text):  # noqa: PTH113 - Path's raises for long text
        return Path(text).read_bytes()
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        data = None
    # many a path is base64 text as well, of nothing
    if data is None or (len(text) <= _LONGEST_SHOWN and _is_no_image(data)):
        raise ValueError(
            "neither a file that exists nor the base64 text of an image"
            if reads_files
            else "not the base64 text of an image, and HEMLINE_READ_PATHS does not let this "
            "process read a file"
        )
    return data


def _is_no_image(data: bytes) -> bool:
    try:
        image_size(data)
    except UnreadableImageError as error:
        return error.reason == "not_an_image"
    return False


def _may_read_files() -> bool:
    """Returns whether text may name a file.

    It may not where MLflow serves the model: strangers would have the server's files read.
    """
    said = os.environ.get("HEMLINE_READ_PATHS")
    if said is not None:
        return said.lower() in ("1", "true")
    return os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "").lower() != "true"


def _download(url: str) -> bytes:
    """Returns what lies at a URL.

    Raises:
        ValueError: this process may not read it.
        OSError: it does not answer, has no such file, or one that is too large.
    """
    _check_readable(url)
    if url.startswith("s3:"):
        return _download_from_s3(url)
    try:
        with _opener.open(url, timeout=_URL_TIMEOUT_S) as answer:
            return _at_most(answer)
    except urllib.error.HTTPError as error:
        raise OSError(f"the server answers with status {error.code}") from error
    except urllib.error.URLError as error:
        raise OSError(f"no answer ({error.reason})") from error
    except HTTPException as error:
        raise OSError(f"no whole answer ({type(error).__name__})") from error


def _check_readable(url: str) -> None:
    """Raises a ValueError unless HEMLINE_READ_URLS lets this process read a URL.

    By default it does not: whoever sends a URL would reach what only this machine can.
    """
    said = os.environ.get("HEMLINE_READ_URLS", "")
    address = urlsplit(url)
    if address.scheme not in ("http", "https", "s3") or "@" in address.netloc:
        raise ValueError("a URL may have the schemes http, https and s3, and no password")
    if said.lower() in ("1", "true") or any(_is_below(url, each) for each in said.split()):
        return
    raise ValueError(f"HEMLINE_READ_URLS does not let this process read {_without_query(url)}")


def _is_below(url: str, allowed: str) -> bool:
    """Returns whether a URL has the scheme and host of an allowed one, and a path below its own."""
    asked, own = urlsplit(url), urlsplit(allowed)
    path, folder = unquote(asked.path), own.path.rstrip("/") + "/"
    is_inside = path.startswith(folder) and ".." not in path.split("/")
    return (asked.scheme, asked.netloc) == (own.scheme, own.netloc) and is_inside


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to where this process may read."""

    def redirect_request(  # noqa: PLR0917 - urllib calls it so
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_readable(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_CheckedRedirects)


def _download_from_s3(url: str) -> bytes:
    try:
        import boto3  # noqa: PLC0415 - whoever reads from S3 installs it
    except ImportError as error:
        raise OSError("S3 takes another package: pip install boto3") from error
    address = urlsplit(url)
    # the variable that MLflow takes for its artifacts
    client = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"))
    try:
        found = client.get_object(Bucket=address.netloc, Key=address.path.lstrip("/"))
    except Exception as error:  # botocore's have no kind in common with OSError
        raise OSError(str(error)) from error
    return _at_most(found["Body"])


def _at_most(body: IO[bytes]) -> bytes:
    data = body.read(_LARGEST_DOWNLOAD + 1)
    if len(data) > _LARGEST_DOWNLOAD:
        raise OSError(f"larger than {_LARGEST_DOWNLOAD >> 20} MB")
    return data


def _without_query(url: str) -> str:
    """Returns a URL without what may be a password or a signature."""
    address = urlsplit(url)
    return address._replace(
        netloc=address.netloc.rpartition("@")[2], query="", fragment=""
    ).geturl()


def _identity(image: Any) -> Any:
    """Returns what is the same for cells that hold the same image."""
    return image if isinstance(image, bytes | str) else id(image)


def _is_null(value: Any) -> bool:
    return pd.api.types.is_scalar(value) and bool(pd.isna(value))


def _nfc(name: Any) -> Any:
    """Returns a name in the Unicode form that the schema's names have."""
    return unicodedata.normalize("NFC", name) if isinstance(name, str) else name


def _shown(image: Any) -> str:
    if not isinstance(image, str | Path):
        return ""
    text = _without_query(str(image)) if "://" in str(image)[:_LONGEST_SCHEME] else str(image)
    return f"{text!r}: " if 0 < len(text) <= _LONGEST_SHOWN else ""


mlflow.models.set_model(FashionEmbedder())
