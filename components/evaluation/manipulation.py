"""Attribute manipulation, measured: do the first items have all values of the target?

Shape letters are those of `manipulation_task.py`, and: K numbers of items looked at, R first items.

For a change of the attribute a to v, an item's score is the sum over all attributes b of w_b times
its cosine with the query, in the space of b; in the space of a, with the prototype of v instead.
Measured beside it are a random ranking, by its expected value, and the query as it is: the same sum
with nothing replaced, whose items are held against the same targets.

    hit@k   1 where one of the first k items answers the change (`manipulation_task.py`), else 0
    nDCG@k  the sum over the first k ranks i of gain / log2(1 + i), divided by that of the best
            order that the gallery has; the gain of an item is the share of the target's values
            that it agrees with

An image that is query and item is not in its own ranking. Equal scores have no order: a measure is
its mean over all orders of equal items, as everywhere (`ranking.py`). Sources: the protocol and
hit@k, FashionSearchNet-v2 (Ak et al., 2021, section 4); nDCG with the share of agreeing attributes,
AMNet (Zhao et al., CVPR 2017) and ADDE (Hou et al., ICCV 2021), which take 2^gain - 1, and for the
best order one of items that agree in everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.evaluation.manipulation_bounds import (
    KS,
    ItemsByLevel,
    ideal_dcg,
    random_dcg,
    random_hit,
)
from components.evaluation.manipulation_task import Asked, ManipulationTask
from components.evaluation.metrics import share_without

ROWS = ("", "random_", "unchanged_")
"""Prefixes of the scores of the changed query, of a random ranking, and of the query as it is."""


@dataclass(frozen=True, kw_only=True)
class ChangeScores:
    """The scores of the changes of all queries, in [0, 1].

    Attributes:
        query_C: place of each change's query among the queries.
        attribute_C: the attribute that it changes.
        value_C: the value that it asks for, a place among those of the attribute.
        hit_CK: hit@k for each of `KS`, by the prefixes in `ROWS`.
        ndcg_CK: nDCG@k, by the same.
        above_C: items above the first that answers the change.
        num_without_prototype_N: changes that have an answer and were not asked, as there is no
            prototype of their value, by attribute.
    """

    query_C: NDArray[np.int64]
    attribute_C: NDArray[np.int64]
    value_C: NDArray[np.int64]
    hit_CK: dict[str, NDArray[np.float64]]
    ndcg_CK: dict[str, NDArray[np.float64]]
    above_C: NDArray[np.int64]
    num_without_prototype_N: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FirstItems:
    """The image numbers of the first items of a change, and how many of its values each has."""

    images_R: NDArray[np.int64]
    agreeing_R: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _First:
    """The first items of the changes of a query, one more than the last of `KS`.

    Items that lack in a small gallery have the score -inf and the place -1.
    """

    scores_CR: NDArray[np.float32]
    items_CR: NDArray[np.int64]


def measure_changes(
    task: ManipulationTask, asked: Iterable[Asked], weights_N: NDArray[np.floating]
) -> ChangeScores:
    """Returns the scores of all changes that can be asked.

    Args:
        task: the gallery.
        asked: queries that it has asked.
        weights_N: weight of each attribute.

    Raises:
        ValueError: a weight is not a number.
    """
    weighted_VG = _weighted_prototypes(task, weights_N)
    counted = ItemsByLevel(task)
    num_attributes = len(task.num_values)
    without_prototype_N = np.zeros(num_attributes, np.int64)
    parts: list[tuple[NDArray[np.generic], ...]] = []
    for one in asked:
        without_prototype_N += one.num_without_prototype_N
        if not len(one.value_C):
            continue
        unchanged_G, scores_CG = _scores(one, weights_N, weighted_VG)
        num_items = len(task) - (one.itself is not None)
        num_answers_C = np.bincount(one.change_P, minlength=len(one.value_C))
        items_CL = counted.of(one)
        ideal_CK = ideal_dcg(items_CL)
        above_C, hit_CK, dcg_CK = _measured(task, one, scores_CG, _first(scores_CG))
        _, unchanged_hit_CK, unchanged_dcg_CK = _measured(
            task,
            one,
            unchanged_G.expand_as(scores_CG),
            _first(unchanged_G[None], num_changes=len(scores_CG)),
        )
        parts.append(
            (
                np.full(len(one.value_C), one.query),
                one.attribute_C,
                one.value_C - task.first_value_N[one.attribute_C],
                above_C,
                hit_CK,
                random_hit(num_items, num_answers_C),
                unchanged_hit_CK,
                dcg_CK / ideal_CK,
                random_dcg(items_CL, num_items) / ideal_CK,
                unchanged_dcg_CK / ideal_CK,
            )
        )
    if not parts:
        nothing, no_scores = np.empty(0, np.int64), np.empty((0, len(KS)))
        parts = [(*[nothing] * 4, *[no_scores] * 6)]
    query_C, attribute_C, value_C, above_C, *scores = map(np.concatenate, zip(*parts, strict=True))
    return ChangeScores(
        query_C=query_C,
        attribute_C=attribute_C,
        value_C=value_C,
        above_C=above_C,
        hit_CK=dict(zip(ROWS, scores[:3], strict=True)),
        ndcg_CK=dict(zip(ROWS, scores[3:], strict=True)),
        num_without_prototype_N=without_prototype_N,
    )


def hit_rates(
    task: ManipulationTask, asked: Iterable[Asked], weights_N: NDArray[np.floating], *, k: int
) -> NDArray[np.float64]:
    """Returns the mean hit@k of the changes of each attribute [N]; NaN where it has none.

    What `measure_changes` has as hit@k, several times as fast: to compare weights, give the same
    list of `ManipulationTask.ask` with each.
    """
    weighted_VG = _weighted_prototypes(task, weights_N)
    num_attributes = len(task.num_values)
    hits_N, changes_N = np.zeros(num_attributes), np.zeros(num_attributes, np.int64)
    for one in asked:
        if len(one.value_C):
            scores_CG = _scores(one, weights_N, weighted_VG)[1]
            best_C, tied_answers_C = _best_answers(one, scores_CG.numpy())
            best = torch.from_numpy(best_C)[:, None]
            above_C = (scores_CG > best).sum(dim=1).numpy()
            tied_C = (scores_CG >= best).sum(dim=1).numpy() - above_C
            hit_C = 1 - share_without(tied_C, tied_answers_C, (k - above_C).clip(0, tied_C))
            hits_N += np.bincount(one.attribute_C, hit_C, minlength=num_attributes)
            changes_N += np.bincount(one.attribute_C, minlength=num_attributes)
    with np.errstate(invalid="ignore"):
        return hits_N / changes_N


def first_items(
    task: ManipulationTask,
    asked: Asked,
    weights_N: NDArray[np.floating],
    *,
    change: int,
    num_items: int,
) -> FirstItems:
    """Returns the first items of a change, a place among those that were asked.

    Equal items come in the order of the task.
    """
    scores_G = _scores(asked, weights_N, _weighted_prototypes(task, weights_N))[1][change].numpy()
    ranked_G = np.argsort(-scores_G, kind="stable")
    first = ranked_G[: min(num_items, len(task) - (asked.itself is not None))]
    gain_R = _gains(task, asked, first[None], rows=np.array([change]))[0]
    return FirstItems(
        images_R=task.images_G[first],
        agreeing_R=(gain_R * asked.num_labelled).round().astype(np.int64),
    )


def _weighted_prototypes(task: ManipulationTask, weights_N: NDArray[np.floating]) -> Tensor:
    """Returns what the prototype of each value adds to an item's score [V, G]."""
    if len(weights_N) != len(task.num_values) or not np.isfinite(weights_N).all():
        raise ValueError(
            f"weights are {weights_N}; there must be a number for each of "
            f"{len(task.num_values)} attributes"
        )
    weights_V = torch.from_numpy(np.asarray(weights_N, np.float32)[task.attribute_V])
    return task.prototype_cosines_VG * weights_V[:, None]


def _scores(
    one: Asked, weights_N: NDArray[np.floating], weighted_VG: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the items' scores for the query as it is [G], and for each of its changes [C, G]."""
    weights = torch.from_numpy(np.asarray(weights_N, np.float32))
    weighted_NG = one.cosines_NG * weights[:, None]
    unchanged_G = weighted_NG.sum(dim=0)
    others_NG = unchanged_G - weighted_NG
    scores_CG = others_NG.index_select(0, torch.from_numpy(one.attribute_C))
    scores_CG += weighted_VG.index_select(0, torch.from_numpy(one.value_C))
    if one.itself is not None:
        unchanged_G[one.itself] = scores_CG[:, one.itself] = -torch.inf
    return unchanged_G, scores_CG


def _measured(
    task: ManipulationTask, one: Asked, scores_CG: Tensor, first: _First
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns items above the first answer [C], hit@k and DCG@k of each change [C, K]."""
    scores = scores_CG.numpy()
    best_C, tied_answers_C = _best_answers(one, scores)
    last_C = first.scores_CR[:, -2]
    above_C = (first.scores_CR > best_C[:, None]).sum(axis=1)
    tied_C = (first.scores_CR == best_C[:, None]).sum(axis=1)
    # equal items may go on behind the first ones
    cut = np.flatnonzero((first.scores_CR[:, -1] == last_C) & np.isfinite(last_C))
    tied_at_cut = scores[cut] == last_C[cut, None]
    at_cut = best_C[cut] == last_C[cut]
    tied_C[cut[at_cut]] = tied_at_cut[at_cut].sum(axis=1)
    deep = np.flatnonzero(best_C < first.scores_CR[:, -1])
    above_C[deep] = (scores[deep] > best_C[deep, None]).sum(axis=1)
    tied_C = np.maximum(tied_C, tied_answers_C)  # those that are deeper than any k
    hit_CK = np.stack(
        [1 - share_without(tied_C, tied_answers_C, (k - above_C).clip(0, tied_C)) for k in KS],
        axis=1,
    )
    gain_CR = _mean_over_equals(first.scores_CR, _gains(task, one, first.items_CR))[:, :-1]
    all_gains = _gains(task, one, np.arange(len(task))[None], rows=cut)
    mean_gain = (all_gains * tied_at_cut).sum(axis=1) / tied_at_cut.sum(axis=1)
    is_last = first.scores_CR[cut, :-1] == last_C[cut, None]
    gain_CR[cut] = np.where(is_last, mean_gain[:, None], gain_CR[cut])
    dcg_CR = (gain_CR / np.log2(np.arange(gain_CR.shape[1]) + 2)).cumsum(axis=1)
    return above_C, hit_CK, dcg_CR[:, np.array(KS) - 1]


def _first(scores_CG: Tensor, *, num_changes: int | None = None) -> _First:
    """Returns the first items by the scores of each change, or by those that all changes share."""
    num_first = max(KS) + 1
    found = scores_CG.topk(min(num_first, scores_CG.shape[1]), dim=1)
    lacking = ((0, 0), (0, num_first - found.values.shape[1]))
    shape = (num_changes or len(scores_CG), num_first)
    scores_CR = np.pad(found.values.numpy(), lacking, constant_values=-np.inf)
    items_CR = np.pad(found.indices.numpy(), lacking, constant_values=-1)
    return _First(
        scores_CR=np.broadcast_to(scores_CR, shape), items_CR=np.broadcast_to(items_CR, shape)
    )


def _best_answers(
    one: Asked, scores_CG: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns the highest score of an item that answers each change, and how many have it [C]."""
    scores_P = scores_CG[one.change_P, one.item_P]
    start_C = np.searchsorted(one.change_P, np.arange(len(one.value_C)))
    best_C = np.maximum.reduceat(scores_P, start_C)
    is_best_P = scores_P == best_C[one.change_P]
    return best_C, np.add.reduceat(is_best_P, start_C, dtype=np.int64)


def _gains(
    task: ManipulationTask,
    one: Asked,
    items_CR: NDArray[np.int64],
    rows: NDArray[np.int64] | slice = slice(None),
) -> NDArray[np.float64]:
    """Returns the share of its target's values that each item agrees with [C, R]; place -1: 0."""
    attribute, value = one.attribute_C[rows, None], one.value_C[rows, None]
    agreeing = one.agreeing_NG[attribute, items_CR] + task.has_VG[value, items_CR]
    return np.where(items_CR < 0, 0, agreeing / one.num_labelled)


def _mean_over_equals(
    scores_CR: NDArray[np.float32], gain_CR: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns gains with those of equal items in a row replaced by their mean [C, R]."""
    starts_CR = np.ones(scores_CR.shape, bool)
    starts_CR[:, 1:] = scores_CR[:, 1:] != scores_CR[:, :-1]
    if starts_CR.all():
        return gain_CR
    run = starts_CR.ravel().cumsum() - 1
    means = np.bincount(run, gain_CR.ravel()) / np.bincount(run)
    return means[run].reshape(gain_CR.shape)
