"""What `hemline search` asks: attributes with their weights, and an image file or an item."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.embedding.embeddings import Embeddings
from components.errors import HemlineError
from components.images.decode import UnreadableImageError, decode, read_bytes
from components.params import DataParams, load_section
from components.search.finder import Finder
from components.search.request import Query, parse_weight
from pipelines.operations.search.model import package_of
from pipelines.shell.environment import tracking


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A query, the path or address of its picture, and its number where it is an item."""

    query: Query
    shown: str
    image: int | None = None


def root_of(embedded: Embeddings, params: Path) -> str:
    """Returns the folder or URL that the items' paths are relative to.

    What was embedded without a catalog names it itself; of a catalog, the params do.
    """
    return embedded.root or load_section(params, DataParams).root


def read_weights(texts: Sequence[str], known: Sequence[str]) -> dict[str, float]:
    """Returns the weight of each attribute that is asked for, given as NAME or NAME=WEIGHT.

    Raises:
        HemlineError: an attribute is not known or given twice, or a weight is not above 0.
    """
    weights: dict[str, float] = {}
    for text in texts:
        name, equals, weight = (text, "", "") if text in known else text.rpartition("=")
        name = name or text
        if name not in known:
            raise HemlineError(f"no attribute {name!r}; images are embedded for {', '.join(known)}")
        if name in weights:
            raise HemlineError(f"--attribute {name} is given twice: give it once, with its weight")
        weights[name] = parse_weight(name, weight) if equals else 1.0
    return weights


def ask(
    finder: Finder,
    embedded: Embeddings,
    attributes: Sequence[str],
    *,
    image: Path | None,
    item: str | None,
    root: str,
    model: str | None,
) -> Asked:
    """Returns an image file or an embedded item as the query.

    Args:
        finder: search in the embeddings.
        embedded: the embeddings, which name their model.
        attributes: attributes that the query must be embedded for.
        image: path of the file.
        item: number of the item, or its path, with or without the root.
        root: folder or URL that the items' paths are relative to.
        model: URI of the model that must have made the embeddings; None: any.

    Raises:
        HemlineError: neither or both are given, there is no such item, the file is not an image, or
            the model is another one or cannot be fetched.
    """
    if (image is None) == (item is None):
        raise HemlineError("give the query either as --image FILE or as --id NUMBER|PATH")
    if model is not None:
        _check_model(embedded, model)
    if image is None:
        root = root.rstrip("/")
        number = finder.number_of(str(item).removeprefix(f"{root}/"))
        query = finder.item_query(number, attributes)
        return Asked(query=query, shown=f"{root}/{finder.path_of(number)}", image=number)
    package = package_of(embedded)
    try:
        data = read_bytes(image)
        pixels = decode(data, image_size_px=package.image_size_px)
    except UnreadableImageError as error:
        raise HemlineError(f"--image {image} cannot be used: {error}") from error
    vectors = package.embed_each(pixels, attributes)
    query = finder.picture_query(vectors, copies=finder.same_content(data).tolist())
    return Asked(query=query, shown=str(image))


def _check_model(embedded: Embeddings, model: str) -> None:
    """Refuses a model that is not the version that made the embeddings."""
    # MLflow, which a search without --model does not need
    from components.registry import versions  # noqa: PLC0415

    made_by = versions.RegisteredVersion(name=embedded.model_name, version=embedded.model_version)
    asked = versions.resolve(model, tracking=tracking())
    if asked != made_by:
        raise HemlineError(
            f"{model} is {asked.uri}, but {embedded.folder} was embedded by {made_by.uri}, and "
            "vectors of two versions are not comparable: leave --model out, or embed with it: "
            f"hemline embed --model {asked.uri}, and search that with --embeddings"
        )
