"""Attribute-specific retrieval on a split: MAP per attribute, beside a random ranking.

Every score is the mean over the queries that have a relevant item in the gallery of their
attribute. An overall score is the mean over the queries of all attributes, as in the papers:
attributes weigh by their number of queries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from components.attributes import AttributeSchema, metric_part
from components.errors import HemlineError
from components.evaluation.metrics import (
    average_precision_of,
    bootstrap_interval,
    count_relevant,
    expected_random_average_precision,
    expected_random_hit,
    gain,
    hit_at,
    ndcg_at,
    precision_at,
    r_precision,
    recall_at,
)
from components.evaluation.ranking import Items, Measure, measure

MEASURES: Mapping[str, Measure] = {
    "map": average_precision_of,
    "precision_at_1": partial(precision_at, k=1),
    "precision_at_10": partial(precision_at, k=10),
    "recall_at_10": partial(recall_at, k=10),
    "r_precision": r_precision,
    "ndcg_at_10": partial(ndcg_at, k=10),
}
"""What is reported of queries, by the names of the means."""

HIT_KS = (1, 5, 20, 50)
SHOWN_HIT = "hit_at_20"  # has an interval, and stands in tables: the papers compare it
HIT_RATES: Mapping[str, Measure] = {f"hit_at_{k}": partial(hit_at, k=k) for k in HIT_KS}
"""What is reported of queries for items, beside `MEASURES`."""

_INTERVALS = ("map_low", "map_high", "gain_low", "gain_high")


@dataclass(frozen=True, kw_only=True)
class AttributeResult:
    """Scores of an attribute's queries; those without a relevant gallery item are left out.

    Attributes:
        query_images_Q: image number of each query.
        scores: scores of each query [Q], in [0, 1], by the names of `MEASURES` and `HIT_RATES`, and
            what is expected of a random ranking: `random_map`, `random_hit_at_1` and so on.
        num_gallery: number of gallery items.
        num_unmatched: number of queries that were left out.
        held_out_Q: whether the image's role is to ask, where every image does; None where roles
            decide.
    """

    query_images_Q: NDArray[np.int64]
    scores: Mapping[str, NDArray[np.float64]]
    num_gallery: int
    num_unmatched: int
    held_out_Q: NDArray[np.bool_] | None = None

    @property
    def ap_Q(self) -> NDArray[np.float64]:  # noqa: N802 (shape letters)
        """Average precision of each query [Q]."""
        return self.scores["map"]


def held_out_images(splits: pa.Table, split: str) -> NDArray[np.int64]:
    """Returns the numbers of the images of a split, ascending."""
    return np.unique(splits.filter(pc.field("split") == split)["image"].to_numpy())


def evaluate_retrieval(
    splits: pa.Table,
    split: str,
    images: NDArray[np.int64],
    embeddings: NDArray[np.float32],
) -> dict[int, AttributeResult]:
    """Returns the result per attribute (position in the schema) that has queries in the split.

    Attributes where no query has a relevant item are left out. An image that is both query and
    gallery item of an attribute is left out of its own ranking, with all images of its exclusion
    group.

    Args:
        splits: `tables.SPLITS`.
        split: valid or test.
        images: ascending numbers of the embedded images [n].
        embeddings: embeddings of unit length [n, N, D].

    Raises:
        HemlineError: no query of any attribute has a relevant item.
    """
    held_out = splits.filter(pc.field("split") == split)
    results = {}
    for attribute in np.unique(held_out["attribute"].to_numpy()).tolist():
        result = result_of(*queries_and_gallery(held_out, split, attribute, images, embeddings))
        if len(result.ap_Q):
            results[attribute] = _with_roles(result, held_out, attribute)
    if not results:
        raise HemlineError(
            "nothing to evaluate: no query has an item of its value in the gallery; "
            "check the roles in splits.parquet"
        )
    return results


def queries_and_gallery(
    splits: pa.Table,
    split: str,
    attribute: int,
    images: NDArray[np.int64],
    embeddings: NDArray[np.float32],
) -> tuple[Items, Items]:
    """Returns the queries and the gallery of an attribute, each by ascending image number.

    Their values are sparse, bool [items, V]: which of the attribute's values each has. The
    attribute must have labels in the split; arguments are those of `evaluate_retrieval`.
    """
    wanted = (pc.field("split") == split) & (pc.field("attribute") == attribute)
    labels = splits.filter(wanted).to_pandas()
    num_values = int(labels["value"].max()) + 1
    embeddings_ND = embeddings[:, attribute]
    queries, gallery = (
        _items(labels[takes_part(labels, role)], num_values, images, embeddings_ND)
        for role in ("query", "gallery")
    )
    return queries, gallery


def takes_part(labels: pd.DataFrame, role: str) -> "pd.Series[bool]":
    """Returns which labels, rows of `tables.SPLITS`, ask (query) or answer (gallery)."""
    return (labels["role"] == role) | labels["exclusion_group"].notna()


def overall_map(results: Mapping[int, AttributeResult]) -> float:
    """Returns MAP over all queries of all attributes, in percent: the papers' "all" column."""
    return 100 * float(np.concatenate([result.ap_Q for result in results.values()]).mean())


def report(
    results: Mapping[int, AttributeResult], schema: AttributeSchema, *, triplet_accuracy: float
) -> dict[str, Any]:
    """Returns the figures of an evaluation as they are written to disk, all in percent.

    `gain` is what MAP has of the way from a random ranking to a perfect one (`metrics.gain`).
    `map_low` to `map_high` and `gain_low` to `gain_high` are 95 % intervals, from one bootstrap
    over queries; the overall ones sample from the queries of all attributes together. Items also
    have the hit rates, a random ranking's, and an interval of `SHOWN_HIT`.
    """
    overall = means_of(*results.values())
    return {
        "map": overall.pop("map"),
        "random_map": overall.pop("random_map"),
        "gain": overall.pop("gain"),
        "triplet_accuracy": triplet_accuracy,
        **overall,
        "attributes": {
            schema.names[attribute]: {
                **means_of(result, with_hits=attribute == schema.identity),
                "num_gallery": result.num_gallery,
            }
            for attribute, result in results.items()
        },
    }


def metrics_of(figures: Mapping[str, Any], *, prefix: str) -> dict[str, float]:
    """Returns the scores of a report by MLflow's names, such as `test/map/neck_design`."""
    names = ("random_map", *_INTERVALS, "gain", "triplet_accuracy", *MEASURES)
    overall = {name: figures[name] for name in names}
    per_attribute = {
        f"{score}/{metric_part(name)}": row[score]
        for name, row in figures["attributes"].items()
        for score in ("map", "gain", *HIT_RATES)
        if score in row
    }
    return {f"{prefix}/{name}": value for name, value in {**overall, **per_attribute}.items()}


def bars_of(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a report's MAP per attribute as rows of `tables.MAP_PER_ATTRIBUTE`."""
    return [{"attribute": name, **row} for name, row in figures["attributes"].items()]


def result_of(queries: Items, gallery: Items) -> AttributeResult:
    """Returns the result of some queries in a gallery; both may be empty."""
    measures = {**MEASURES, **HIT_RATES, "num_relevant": count_relevant}
    scores = measure(measures, queries, gallery)
    answered_Q = scores["num_relevant"] > 0
    scores = {name: score_Q[answered_Q] for name, score_Q in scores.items()}
    images_Q = queries.images_N[answered_Q]
    # what is left out of a query's ranking: itself and its group, as far as they are in the gallery
    sorted_G = np.sort(gallery.excluded_N)
    asking_Q = queries.excluded_N[answered_Q]
    last_Q, first_Q = (sorted_G.searchsorted(asking_Q, side) for side in ("right", "left"))
    num_items_Q = len(gallery) - (last_Q - first_Q)
    num_relevant_Q = scores.pop("num_relevant")
    scores["random_map"] = expected_random_average_precision(num_relevant_Q, num_items_Q)
    for k in HIT_KS:
        scores[f"random_hit_at_{k}"] = expected_random_hit(num_relevant_Q, num_items_Q, k=k)
    return AttributeResult(
        query_images_Q=images_Q,
        scores=scores,
        num_gallery=len(gallery),
        num_unmatched=int((~answered_Q).sum()),
    )


def means_of(*results: AttributeResult, with_hits: bool = False) -> dict[str, float]:
    """Returns means over all queries in percent, gain, intervals, and the number of queries."""
    scores = {
        name: np.concatenate([result.scores[name] for result in results])
        for name in results[0].scores
        if with_hits or "hit_at" not in name
    }
    ap_Q, random_Q = scores["map"], scores["random_map"]
    means = {name: float(score_Q.mean()) for name, score_Q in scores.items()}
    means["gain"] = float(gain(ap_Q, random_Q))
    ends = bootstrap_interval(ap_Q) + bootstrap_interval(ap_Q, random_Q, statistic=gain)
    means |= dict(zip(_INTERVALS, ends, strict=True))
    if with_hits:
        low, high = bootstrap_interval(scores[SHOWN_HIT])
        means |= {f"{SHOWN_HIT}_low": low, f"{SHOWN_HIT}_high": high}
    return {
        **{name: 100 * mean for name, mean in means.items()},
        "num_queries": len(ap_Q),
        "num_unmatched": sum(result.num_unmatched for result in results),
    }


def _items(
    labels: pd.DataFrame,
    num_values: int,
    images: NDArray[np.int64],
    embeddings_ND: NDArray[np.float32],
) -> Items:
    """Returns the images of some labels of an attribute, ascending, and which values each has."""
    labelled, first, row = np.unique(
        labels["image"].to_numpy(), return_index=True, return_inverse=True
    )
    groups = labels["exclusion_group"]
    has, value = np.ones(len(row), bool), labels["value"].to_numpy()
    values = csr_array((has, (row, value)), shape=(len(labelled), num_values))
    return Items(
        embeddings_ND=embeddings_ND[np.searchsorted(images, labelled)],
        values_N=values,
        images_N=labelled,
        groups_N=groups.fillna(labels["image"]).to_numpy(np.int64)[first],
    )


def _with_roles(result: AttributeResult, splits: pa.Table, attribute: int) -> AttributeResult:
    """Returns a result with the roles of its queries, where every image asks."""
    labels = splits.filter(pc.field("attribute") == attribute)
    if labels["exclusion_group"].null_count:
        return result
    asking = labels.filter(pc.field("role") == "query")["image"].to_numpy()
    return replace(result, held_out_Q=np.isin(result.query_images_Q, asking))
