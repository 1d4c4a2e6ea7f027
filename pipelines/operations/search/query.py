"""What a search asks: a picture or an item of the catalogue, and attributes with their weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.embedding.embeddings import Embeddings
from components.errors import HemlineError
from components.images.decode import UnreadableImageError, decode, read_bytes
from components.search.finder import Finder

if TYPE_CHECKING:  # it brings MLflow, for which a search by an item need not wait
    from components.registry.registry import RegisteredVersion

_MAX_WEIGHT = 1000.0


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query and what the catalogue knows of it.

    Attributes:
        shown: what it is called in answers.
        image: its number, where it is an item of the catalogue.
        vectors: its embedding for each attribute.
        itself: numbers of the catalogue's images that are the query; they are not to be found.
    """

    shown: str
    image: int | None
    vectors: Mapping[str, NDArray[np.float32]]
    itself: Sequence[int]


def read_weights(texts: Sequence[str], known: Sequence[str]) -> dict[str, float]:
    """Returns the weight of each attribute that is asked for, given as NAME or NAME=WEIGHT.

    Raises:
        HemlineError: an attribute is not known or given twice, or a weight is not above 0.
    """
    weights: dict[str, float] = {}
    for text in texts:
        name, weight = (text, "1") if text in known else _parted(text)
        if name not in known:
            raise HemlineError(
                f"no attribute {name!r}; the catalogue is embedded for {', '.join(known)}"
            )
        if name in weights:
            raise HemlineError(f"--attribute {name} is given twice: give it once, with its weight")
        weights[name] = _weight(text, weight)
    return weights


def _parted(text: str) -> tuple[str, str]:
    name, equals, weight = text.rpartition("=")
    return (name, weight) if equals else (text, "1")


def _weight(text: str, weight: str) -> float:
    try:
        value = float(weight)
    except ValueError:
        value = float("nan")
    if not 0 < value <= _MAX_WEIGHT:
        raise HemlineError(
            f"--attribute {text}: the weight is a number above 0, at most {_MAX_WEIGHT:.0f}, "
            "for instance --attribute neckline_design=2"
        )
    return value


def stored_query(finder: Finder, name: str, attributes: Sequence[str], *, root: str) -> Query:
    """Returns an item of the catalogue as the query, with the embeddings that are stored of it.

    Args:
        finder: of the catalogue.
        name: number of the item, or its path, with or without the root.
        attributes: to embed for.
        root: what the items' paths are relative to.

    Raises:
        HemlineError: the catalogue has no such item.
    """
    image = finder.number_of(name.removeprefix(f"{root.rstrip('/')}/"))
    return Query(
        shown=f"{root.rstrip('/')}/{finder.path_of(image)}",
        image=image,
        vectors=finder.vectors_of(image, attributes),
        itself=[image],
    )


def picture_query(
    finder: Finder,
    path: Path,
    attributes: Sequence[str],
    *,
    embedded: Embeddings,
    model: str | None,
) -> Query:
    """Returns an image file as the query, embedded by the model that embedded the catalogue.

    Args:
        finder: of the catalogue.
        path: of the image file.
        attributes: to embed for.
        embedded: names the model.
        model: URI of the model to use, which must be the same; None: the one.

    Raises:
        HemlineError: the file is no image, or the model is another one or not to be had.
    """
    from components.registry import registry  # noqa: PLC0415
    from pipelines.shell.environment import tracking  # noqa: PLC0415

    version = check_model(embedded, model)
    package = registry.download(version, tracking=tracking())
    try:
        data = read_bytes(path)
        pixels = decode(data, image_size_px=package.image_size_px)
    except UnreadableImageError as error:
        raise HemlineError(f"--image {path} cannot be used: {error}") from error
    return Query(
        shown=str(path),
        image=None,
        vectors=package.embed_each(pixels, attributes),
        itself=finder.same_content(data).tolist(),
    )


def check_model(embedded: Embeddings, model: str | None) -> "RegisteredVersion":
    """Returns the version that embedded the catalogue, if it is the one that is asked for.

    Raises:
        HemlineError: another one is asked for, or the registry does not have it.
    """
    from components.registry import registry  # noqa: PLC0415
    from pipelines.shell.environment import tracking  # noqa: PLC0415

    made_by = registry.RegisteredVersion(name=embedded.model_name, version=embedded.model_version)
    if model is None:
        return made_by
    asked = registry.resolve(model, tracking=tracking())
    if asked != made_by:
        raise HemlineError(
            f"{model} is {asked.uri}, but {embedded.folder} was embedded by {made_by.uri}, and "
            "vectors of two versions are not comparable: leave --model out, or embed with it: "
            f"hemline embed --model {asked.uri}, and search that with --embeddings"
        )
    return made_by
