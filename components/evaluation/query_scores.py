"""The scores of every query of an evaluation, so that another network can be compared with it.

Shape letters: n images, N attributes, D embedding, Q queries.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components import files, tables
from components.attributes import AttributeSchema
from components.errors import HemlineError
from components.evaluation.evaluation import AttributeResult, evaluate_retrieval, held_out_images

if TYPE_CHECKING:  # torch, which readers of scores need not wait for
    from components.evaluation.encode import Encoder, Pictures


@dataclass(frozen=True, kw_only=True)
class QueryScores:
    """A network's results on the test split.

    Attributes:
        queries: `tables.QUERY_SCORES`.
        splits: SHA-256 of the splits table.
        attributes: all attributes that the network knows, with or without a query.
        norm_ranges: smallest and largest length of the test images' embeddings by attribute; of an
            older hemline's record, that of all attributes for each.
        mean_similarity: mean similarity of the test images by attribute.
        model: identity of the trained model, `training/trained.py`; None: of an older hemline, or
            measured of a package.
    """

    queries: pa.Table
    splits: str
    attributes: tuple[str, ...]
    norm_ranges: Mapping[str, tuple[float, float]]
    mean_similarity: Mapping[str, float]
    model: str | None = None


def query_scores(
    results: Mapping[int, AttributeResult],
    embeddings_nND: NDArray[np.float32],
    *,
    schema: AttributeSchema,
    known: AttributeSchema,
    splits: str,
    model: str | None = None,
) -> QueryScores:
    """Returns the results of an evaluation of the test split.

    Args:
        results: results by position in `schema`.
        embeddings_nND: embeddings of the test images, their attributes in the order of `schema`.
        schema: attributes of the catalog.
        known: attributes that the network knows.
        splits: SHA-256 of the splits table.
        model: identity of the trained model.
    """
    measured = embeddings_nND[:, list(results)].astype(np.float64)
    norms_nN = np.linalg.norm(measured, axis=-1)
    names = [schema.names[attribute] for attribute in results]
    columns = [
        [
            pa.repeat(name, len(result.ap_Q)),
            result.query_images_Q,
            result.ap_Q,
            result.scores["random_map"],
            pa.nulls(len(result.ap_Q)) if result.held_out_Q is None else result.held_out_Q,
        ]
        for name, result in zip(names, results.values(), strict=True)
    ]
    return QueryScores(
        queries=pa.concat_tables(pa.table(each, schema=tables.QUERY_SCORES) for each in columns),
        splits=splits,
        attributes=tuple(known.names),
        norm_ranges={
            name: (float(norms_n.min()), float(norms_n.max()))
            for name, norms_n in zip(names, norms_nN.T, strict=True)
        },
        mean_similarity={
            name: mean_similarity(measured[:, place]) for place, name in enumerate(names)
        },
        model=model,
    )


def measure_queries(
    encoder: "Encoder",
    pictures: "Pictures",
    splits: pa.Table,
    *,
    schema: AttributeSchema,
    known: AttributeSchema,
    digest: str,
    on_progress: Callable[[int], None] = lambda num_images: None,
) -> QueryScores:
    """Returns a network's results on the test split of a catalog, not necessarily its own.

    Attributes that it does not know are left out.

    Args:
        encoder: the network, whose attributes are in the order of `known`.
        pictures: the images in the size that the network takes.
        splits: `tables.SPLITS`, whose attributes are in the order of `schema`.
        schema: attributes of the catalog.
        known: attributes that the network knows.
        digest: SHA-256 of the splits table.
        on_progress: called with the number of images embedded since its last call.

    Raises:
        HemlineError: no attribute that it knows has a query.
    """
    import torch  # noqa: PLC0415

    from components.evaluation.encode import encode  # noqa: PLC0415

    shared = [place for place, name in enumerate(schema.names) if name in known.names]
    asked = splits.filter(pc.field("attribute").isin(pa.array(shared, pa.int16())))
    images = held_out_images(asked, "test")
    if not len(images):
        raise HemlineError(
            f"the model knows {', '.join(known.names)}, and the test split none of these"
        )
    embeddings_nND = encode(
        encoder,
        pictures,
        images,
        num_attributes=len(known.attributes),
        device=torch.device("cpu"),
        on_progress=on_progress,
    )
    # unknown attributes have no rows in `asked`, so their embeddings are never read
    places = [known.index(name) if name in known.names else 0 for name in schema.names]
    in_order_nND = embeddings_nND[:, places]
    results = evaluate_retrieval(asked, "test", images, in_order_nND)
    return query_scores(results, in_order_nND, schema=schema, known=known, splits=digest)


def mean_similarity(embeddings_nD: NDArray[np.float64]) -> float:
    """Returns the mean cosine similarity of two different images of unit length.

    Over all pairs i < j: sum e_i e_j = (|sum e_i|^2 - sum |e_i|^2) / 2, divided by n (n - 1) / 2.
    NaN where there is one image alone.
    """
    num_images = len(embeddings_nD)
    total_D = embeddings_nD.sum(axis=0)
    with np.errstate(invalid="ignore"):
        of_pairs = total_D @ total_D - np.square(embeddings_nD).sum()
        return float(np.divide(of_pairs, num_images * (num_images - 1)))


def write_query_scores(scores: QueryScores, path: Path) -> None:
    """Writes them as one Parquet file."""
    about = {name: value for name, value in vars(scores).items() if name != "queries"}
    schema = files.filled(tables.QUERY_SCORES, scores.queries)
    files.write_table(scores.queries, path, schema=schema, about=about)


def read_query_scores(path: Path) -> QueryScores:
    """Returns what `write_query_scores` wrote.

    Raises:
        HemlineError: the file is missing or holds something else.
    """
    about = files.read_about(path, schema=tables.QUERY_SCORES)
    ranges: dict[str, Any] = (
        about["norm_ranges"]
        if "norm_ranges" in about
        else dict.fromkeys(about["mean_similarity"], about["norm_range"])
    )
    return QueryScores(
        queries=files.read_table(path, schema=tables.QUERY_SCORES),
        splits=about["splits"],
        attributes=tuple(about["attributes"]),
        norm_ranges={name: (low, high) for name, (low, high) in ranges.items()},
        mean_similarity=about["mean_similarity"],
        model=about.get("model"),
    )
