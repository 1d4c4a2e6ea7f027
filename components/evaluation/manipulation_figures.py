"""Attribute manipulation on a split, as figures: who asks, who answers, means and intervals.

Shape letters are those of `manipulation.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.attributes import AttributeSchema, metric_part
from components.evaluation.evaluation import takes_part
from components.evaluation.manipulation import (
    ROWS,
    ChangeScores,
    FirstItems,
    first_items,
    measure_changes,
)
from components.evaluation.manipulation_bounds import KS
from components.evaluation.manipulation_task import (
    LabelledEmbeddings,
    ManipulationTask,
    labelled_embeddings,
)
from components.evaluation.metrics import bootstrap_interval

SHOWN_K = 20
"""The number of items looked at that the paper's tables have."""

_NUM_CHANGES = "num_changes"


@dataclass(frozen=True, kw_only=True)
class Manipulation:
    """Attribute manipulation on a split.

    Attributes:
        queries: those that were asked from, with labels of one attribute or more.
        task: the gallery.
        weights_N: weight of each attribute.
        scores: the scores of all changes; there may be none.
    """

    queries: LabelledEmbeddings
    task: ManipulationTask
    weights_N: NDArray[np.float64]
    scores: ChangeScores

    @property
    def num_labelled_Q(self) -> NDArray[np.int64]:  # noqa: N802 (shape letters)
        """Attributes that each query has a label of [Q]."""
        return np.sum([labels.any(axis=1) for labels in self.queries.labels], axis=0)

    @property
    def not_measured(self) -> str:
        """Why nothing is measured; empty where something is."""
        if len(self.scores.query_C):
            return ""
        if (self.num_labelled_Q < 2).all():
            return "images have one label"
        if self.scores.num_without_prototype_N.any():
            return "no value that could be asked for has a prototype"
        return "no item has all labels of a query but one that is changed"

    def first_items(self, change: int, *, num_items: int) -> FirstItems:
        """Returns the first items of a change, a place in `scores`."""
        query = int(self.scores.query_C[change])
        alone = LabelledEmbeddings(
            embeddings_nND=self.queries.embeddings_nND[[query]],
            labels=[labels[[query]] for labels in self.queries.labels],
            images_n=self.queries.images_n[[query]],
        )
        (asked,) = self.task.ask(alone)
        place = change - int(np.searchsorted(self.scores.query_C, query))
        return first_items(self.task, asked, self.weights_N, change=place, num_items=num_items)


def evaluate_manipulation(
    splits: pa.Table,
    split: str,
    images: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    *,
    prototypes: Sequence[NDArray[np.float32]],
    weights: Sequence[float],
) -> Manipulation:
    """Returns the scores of every change that has an answer.

    Attributes without prototypes, as items are, are left out: they have no value to ask for.

    Queries are the images that are a query for any attribute, the gallery those that are in the
    gallery of any; an image may be both, and is left out of its own ranking. (Others of its
    exclusion group stay in it: the same product in the colour that is asked for is an answer.)
    Their labels are all those in the split, whatever their role.

    Args:
        splits: `tables.SPLITS`.
        split: valid or test.
        images: ascending numbers of the embedded images [n].
        embeddings: embeddings of unit length [n, N, D].
        prototypes: unit vectors of the values of each attribute [V of it, D]; NaN: none. [0, D]
            where the attribute is left out, with a weight of 0.
        weights: weight of each attribute.

    Raises:
        ValueError: as `ManipulationTask`.
    """
    num_values = [len(vectors) for vectors in prototypes]
    asked = pc.field("attribute").isin([place for place, num in enumerate(num_values) if num])
    labels = splits.filter((pc.field("split") == split) & asked).to_pandas()
    queries, gallery = (
        labelled_embeddings(
            labels,
            np.unique(labels.loc[takes_part(labels, role), "image"].to_numpy()),
            num_values=num_values,
            images=images,
            embeddings=embeddings,
        )
        for role in ("query", "gallery")
    )
    task = ManipulationTask(gallery, prototypes)
    weights_N = np.array(weights, np.float64)
    return Manipulation(
        queries=queries,
        task=task,
        weights_N=weights_N,
        scores=measure_changes(task, task.ask(queries), weights_N),
    )


def manipulation_report(found: Manipulation, schema: AttributeSchema) -> dict[str, Any]:
    """Returns the section `manipulation` of an evaluation's figures, scores in percent.

    `macro` has the means over the attributes of their means over changes (the paper's average),
    `micro` those over all changes. `hit_20_low` to `hit_20_high` are 95 % intervals from a
    bootstrap over queries: a query's changes stay together. Where nothing is measured the section
    is `{"not_measured": why}`.
    """
    if found.not_measured:
        return {"not_measured": found.not_measured}
    scores = found.scores
    asking, place_C = np.unique(scores.query_C, return_inverse=True)
    shape = (len(asking), len(schema.attributes))
    cell_C = np.ravel_multi_index((place_C, scores.attribute_C), shape)
    sums_QN = {name: _summed(cell_C, score_C, shape) for name, score_C in _columns(scores).items()}
    few = int((found.num_labelled_Q < 2).sum())
    return {
        "num_queries": len(asking),
        "num_gallery": len(found.task),
        "num_changes": len(scores.query_C),
        "num_one_label": few,
        "num_unanswered": len(found.queries) - few - len(asking),
        "num_without_prototype": int(scores.num_without_prototype_N.sum()),
        "macro": _means(sums_QN, intervals=KS),
        "micro": _means(
            {name: each.sum(axis=1, keepdims=True) for name, each in sums_QN.items()}, intervals=KS
        ),
        "attributes": {
            schema.names[attribute]: {
                "num_without_prototype": int(scores.num_without_prototype_N[attribute]),
                **_of_attribute(attribute, sums_QN),
            }
            for attribute in np.unique(scores.attribute_C).tolist()
        },
    }


def manipulation_metrics(figures: Mapping[str, Any], *, prefix: str) -> dict[str, float]:
    """Returns scores of a section by MLflow's names, such as `test/manipulation/hit_20`.

    They are hit@k of `macro`, its other scores at 20, of each attribute hit@20, and of all changes
    `micro_hit_20`. None where nothing is measured.
    """
    if "macro" not in figures:
        return {}
    shown = f"hit_{SHOWN_K}"
    named = {
        **{f"hit_{k}": figures["macro"][f"hit_{k}"] for k in KS},
        **{name: mean for name, mean in figures["macro"].items() if f"_{SHOWN_K}" in name},
        f"micro_{shown}": figures["micro"][shown],
        **{
            f"{shown}/{metric_part(name)}": row[shown]
            for name, row in figures["attributes"].items()
        },
    }
    return {f"{prefix}/manipulation/{name}": value for name, value in named.items()}


def _summed(
    cell_C: NDArray[np.int64], score_C: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Returns the sums of a score over the changes in each cell of a table of a shape."""
    sums = np.bincount(cell_C, score_C, minlength=shape[0] * shape[1])
    return sums.astype(np.float64, copy=False).reshape(shape)


def _columns(scores: ChangeScores) -> dict[str, NDArray[np.float64]]:
    """Returns every score of the changes [C], and 1 for each as their number."""
    return {_NUM_CHANGES: np.ones(len(scores.query_C))} | {
        f"{row}{measure}_{k}": score_CK[row][:, column]
        for measure, score_CK in (("hit", scores.hit_CK), ("ndcg", scores.ndcg_CK))
        for row in ROWS
        for column, k in enumerate(KS)
    }


def _of_attribute(
    attribute: int, sums_QN: Mapping[str, NDArray[np.float64]]
) -> dict[str, float | int]:
    """Returns numbers and scores of an attribute, of which other rows have those at one k."""
    num_changes_Q = sums_QN[_NUM_CHANGES][:, attribute]
    asking = num_changes_Q > 0
    means = _means(
        {name: each[asking, attribute, None] for name, each in sums_QN.items()},
        intervals=(SHOWN_K,),
    )
    kept = {f"hit_{k}" for k in KS}
    return {
        "num_queries": int(asking.sum()),
        "num_changes": int(num_changes_Q.sum()),
        **{x: mean for x, mean in means.items() if x in kept or f"_{SHOWN_K}" in x},
    }


def _means(
    sums_QA: Mapping[str, NDArray[np.float64]], *, intervals: Sequence[int]
) -> dict[str, float]:
    """Returns the means over attributes of their means over changes, in percent.

    Args:
        sums_QA: sums over the changes of each query and attribute.
        intervals: the k at which hit@k has its interval.
    """
    num_QA = sums_QA[_NUM_CHANGES]
    means = {
        name: 100 * float(_mean_rate(sum_QA.sum(axis=0), num_QA.sum(axis=0)))
        for name, sum_QA in sums_QA.items()
        if name != _NUM_CHANGES
    }
    for k in intervals:
        low, high = _interval(sums_QA[f"hit_{k}"], num_QA)
        means |= {f"hit_{k}_low": 100 * low, f"hit_{k}_high": 100 * high}
    return means


def _mean_rate(sum_xA: NDArray[np.float64], num_xA: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean over attributes of sum / number; those without a change do not count."""
    rate_xA = np.divide(sum_xA, num_xA, out=np.zeros_like(sum_xA), where=num_xA > 0)
    return np.asarray(rate_xA.sum(axis=-1) / np.count_nonzero(num_xA, axis=-1))


def _interval(sum_QA: NDArray[np.float64], num_QA: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the bootstrap interval of `_mean_rate` over queries."""
    num_queries = len(sum_QA)

    def of_resamples(query_xQ: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        del axis  # always the last
        drawn_RQ = query_xQ.reshape(-1, num_queries).astype(np.int64)
        cell_RQ = drawn_RQ + np.arange(len(drawn_RQ))[:, None] * num_queries
        times_RQ = np.bincount(cell_RQ.ravel(), minlength=cell_RQ.size).reshape(cell_RQ.shape)
        rate_R = _mean_rate(times_RQ @ sum_QA, times_RQ @ num_QA)
        return rate_R.reshape(query_xQ.shape[:-1])

    return bootstrap_interval(np.arange(num_queries, dtype=np.float64), statistic=of_resamples)
