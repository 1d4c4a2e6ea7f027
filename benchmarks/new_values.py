"""Values that training never saw: how well a network retrieves and names them all the same.

    python -m benchmarks.new_values [--attribute article_type] [--values 8] [--seeds 3]

In a project, after `dvc repro triplets`. Of the attribute's values with 10 training and 3 test
images, every k-th by frequency is new. Its labels are taken out of all splits before batches are
drawn, so that neither training nor the choice of the epoch knows it; the images stay, with their
labels of other attributes. The network of params.yaml is trained so, and with all labels. Then all
labels are back, nothing is trained any more, and the two are compared on the test split, where
every image asks all others.

Named are values by prototypes (as `hemline tag` does, with temperature and prior, and by the
nearest alone), and by the nearest labelled training images, whose votes count by their similarity.
Also from only so many labelled images of each new value, the mean of ten draws; validation then has
no label of a new value. Intervals are of 95 %, over test images. Trained networks stay in --out.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.stages import begin, draw, embedded, is_trained, sections_of, train, trained
from components import files, tables
from components.attributes import AttributeSchema
from components.evaluation.evaluation import AttributeResult, queries_and_gallery, result_of
from components.evaluation.metrics import bootstrap_interval
from components.prototypes.making import make_prototypes
from components.prototypes.tags import UNCALIBRATED, calibrate, tag

MIN_TRAINING, MIN_TEST = 10, 3
NUM_DRAWS = 10
NUM_LABELS = (None, 20, 5, 1)
NEIGHBOURS = (1, 5, 10)
WAYS = ("prototypes", "nearest prototype", *(f"{k} nearest" for k in NEIGHBOURS))
NETWORKS = {"never saw": "network that never saw new values", "all": "network trained with all"}

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Task:
    """An attribute of a data set, some of whose values are new.

    `images` are those that have a label of it, ascending; `splits` are its labels.
    """

    schema: AttributeSchema
    number: int
    splits: pa.Table
    new: Sequence[int]

    @property
    def images(self) -> NDArray[np.int64]:
        """The numbers of the images [n]."""
        return np.unique(self.splits["image"].to_numpy())

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Which values are new [V]."""
        return np.isin(np.arange(len(self.schema.attributes[self.number].values)), self.new)

    def has(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Returns the places of a split's images [m] among all, and their values [m, V]."""
        labels = self.splits.filter(pc.field("split") == split)
        images, rows = np.unique(labels["image"].to_numpy(), return_inverse=True)
        has_mV = np.zeros((len(images), len(self.is_new)), bool)
        has_mV[rows, labels["value"].to_numpy()] = True
        return np.searchsorted(self.images, images), has_mV


def main() -> None:
    """Prints what is retrieved and what is named, in percent, for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attribute", default="article_type")
    parser.add_argument("--values", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3])
    parser.add_argument("--out", type=Path, default=Path(".hemline/growth"))
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    print(machine())
    for seed in arguments.seeds:
        one(arguments.attribute, arguments.values, seed, out)


def one(name: str, num_values: int, seed: int, out: Path) -> None:
    """Trains both networks of a seed, and prints what they do."""
    full = trained(out / f"all-{seed}", sections_of(seed))
    schema, splits = tables.read_schema(full / "catalog"), tables.read_splits(full / "splits")
    number = schema.index(name)
    own = splits.filter(pc.field("attribute") == number)
    task = Task(schema=schema, number=number, splits=own, new=new_values(own, num_values))
    without = out / f"{name}-{num_values}-new-{seed}"
    if not is_trained(without):
        begin(without, sections_of(seed), like=full)
        withhold(task, without)
        draw(without)
        train(without)
    vectors = {
        network: embedded(where, task.images)[:, number]
        for network, where in zip(NETWORKS, (without, full), strict=True)
    }
    print_values(task, seed)
    print_retrieval(task, vectors)
    print_naming(task, vectors)


def withhold(task: Task, folder: Path) -> None:
    """Takes the labels with new values out of the splits in a folder."""
    path, labels = folder / "splits" / tables.SPLITS_FILE, tables.read_splits(folder / "splits")
    is_own = pc.equal(labels["attribute"], task.number)
    is_new = pc.is_in(labels["value"], pa.array(task.new, pa.int32()))
    kept = labels.filter(pc.invert(pc.and_(is_own, is_new)))
    files.write_table(kept, path, schema=tables.SPLITS)


def new_values(labels: pa.Table, num_values: int) -> list[int]:
    """Returns every k-th by frequency of the values with enough images, from the middle of k."""
    counts = {
        split: labels.filter(pc.field("split") == split).to_pandas()["value"].value_counts()
        for split in ("train", "test")
    }
    training, test = counts["train"], counts["test"].reindex(counts["train"].index, fill_value=0)
    order = pd.DataFrame({"training": training, "test": test}).reset_index()
    order = order[(order["training"] >= MIN_TRAINING) & (order["test"] >= MIN_TEST)]
    order = order.sort_values(["training", "value"], ascending=[False, True])
    step = len(order) / num_values
    places = (step * (np.arange(num_values) + 0.5)).astype(np.int64)
    return [int(value) for value in order["value"].iloc[places]]


def print_values(task: Task, seed: int) -> None:
    """Prints which values are new, and of how many training and test images."""
    (_, training_mV), (_, test_mV) = task.has("train"), task.has("test")
    attribute = task.schema.attributes[task.number]
    named = [
        f"{attribute.values[value]} ({training_mV[:, value].sum()}, {test_mV[:, value].sum()})"
        for value in task.new
    ]
    print(f"\n{attribute.name}, seed {seed}; new (training, test images): {', '.join(named)}")


def print_retrieval(task: Task, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Prints MAP of queries with a new value and of the others, and how much two networks differ.

    A query with a new value and another is one with a new value.
    """
    results = {network: ranked(task, vectors_nD) for network, vectors_nD in vectors.items()}
    one_of_them = next(iter(results.values()))
    rows, has_mV = task.has("test")
    asking = has_mV[np.searchsorted(task.images[rows], one_of_them.query_images_Q)]
    is_new_Q = asking[:, task.is_new].any(axis=1)
    print(
        f"{'MAP of queries':24}{'queries':>9}{'random':>9}" + "".join(f"{x:>23}" for x in results)
    )
    for title, chosen_Q in {"with a new value": is_new_Q, "with another": ~is_new_Q}.items():
        ap = {network: result.ap_Q[chosen_Q] for network, result in results.items()}
        random = 100 * one_of_them.scores["random_map"][chosen_Q].mean()
        figures = "".join(f"{shown(ap_Q):>23}" for ap_Q in ap.values())
        without_Q, with_Q = ap.values()
        difference = shown(without_Q - with_Q, sign="+")
        print(f"{title:24}{chosen_Q.sum():>9}{random:>9.1f}{figures}   difference {difference}")


def ranked(task: Task, vectors_nD: NDArray[np.float32]) -> AttributeResult:
    """Returns the result of the test images, each of which asks all others."""
    everyone = task.splits.column_names.index("exclusion_group")
    groups = pc.coalesce(task.splits["exclusion_group"], task.splits["image"])
    splits = task.splits.set_column(everyone, "exclusion_group", groups)
    by_attribute = np.broadcast_to(
        vectors_nD[:, None], (len(vectors_nD), task.number + 1, vectors_nD.shape[1])
    )
    return result_of(*queries_and_gallery(splits, "test", task.number, task.images, by_attribute))


def print_naming(task: Task, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Prints how many test images are named rightly, those of new values and the others."""
    (_, training_mV), (_, test_mV) = task.has("train"), task.has("test")
    is_new_m = test_mV[:, task.is_new].any(axis=1)
    groups = {"of new values": is_new_m, "of others": ~is_new_m}
    always_m = test_mV[:, training_mV.sum(axis=0).argmax()]
    for network, vectors_nD in vectors.items():
        found = {number: named_right(task, vectors_nD, number) for number in NUM_LABELS}
        for title, chosen_m in groups.items():
            frequent = f"always the most frequent {100 * always_m[chosen_m].mean():.1f}"
            print(f"named rightly by the {NETWORKS[network]}, {title} ({frequent})")
            print(f"  {'labels of a new value':24}" + "".join(f"{way:>23}" for way in WAYS))
            for number, right in found.items():
                figures = "".join(f"{shown(right_m[chosen_m]):>23}" for right_m in right)
                print(f"  {'all' if number is None else number:<24}{figures}")


def named_right(
    task: Task, vectors_nD: NDArray[np.float32], number: int | None
) -> list[NDArray[np.float64]]:
    """Returns of each of `WAYS` how often each test image is named rightly [m], over draws.

    `number` is how many training images of each new value have a label; None: all.
    """
    draws = [None] if number is None else [np.random.default_rng(x) for x in range(NUM_DRAWS)]
    found = [named_right_once(task, vectors_nD, number, rng) for rng in draws]
    return list(np.mean(found, axis=0))


def named_right_once(
    task: Task, vectors_nD: NDArray[np.float32], number: int | None, rng: np.random.Generator | None
) -> list[NDArray[np.bool_]]:
    """Returns of each of `WAYS` whether each test image is named rightly [m]."""
    (trained_m, has_mV), (held_out_m, known_mV) = task.has("train"), task.has("valid")
    if number is not None and rng is not None:
        known_mV[:, task.is_new] = False
        for value in task.new:
            having = np.flatnonzero(has_mV[:, value])
            left_out = rng.permutation(having)[number:]
            has_mV[left_out, value] = False
    labelled = has_mV.any(axis=1)
    trained_m, has_mV = trained_m[labelled], has_mV[labelled]
    images = task.images[trained_m]
    rows, values = np.nonzero(has_mV)
    labels = pd.DataFrame({"image": images[rows], "attribute": 0, "value": values})
    alone = AttributeSchema(
        dataset=task.schema.dataset, attributes=(task.schema.attributes[task.number],)
    )
    [prototypes] = make_prototypes(labels, alone, images, vectors_nD[trained_m][:, None])
    calibration = calibrate(vectors_nD[held_out_m], known_mV, prototypes)
    test_m, right_mV = task.has("test")
    asking_mD = vectors_nD[test_m]
    named = [tag(asking_mD, prototypes, each).value_n for each in (calibration, UNCALIBRATED)]
    named += [neighbours_name(asking_mD, vectors_nD[trained_m], has_mV, k=k) for k in NEIGHBOURS]
    return [right_mV[np.arange(len(right_mV)), name_m] for name_m in named]


def neighbours_name(
    asking_mD: NDArray[np.float32],
    labelled_nD: NDArray[np.float32],
    has_nV: NDArray[np.bool_],
    *,
    k: int,
) -> NDArray[np.int64]:
    """Returns the value [m] that the k most similar images have, each weighted by its cosine."""
    cosines_mn = asking_mD @ labelled_nD.T
    nearest_mk = np.argsort(-cosines_mn, axis=1, kind="stable")[:, :k]
    votes_mk = np.take_along_axis(cosines_mn, nearest_mk, axis=1).clip(min=0)
    named: NDArray[np.int64] = np.einsum("mk,mkv->mv", votes_mk, has_nV[nearest_mk]).argmax(axis=1)
    return named


def shown(scores: Scores, sign: str = "") -> str:
    """Returns the mean of scores in percent, and its interval."""
    low, high = bootstrap_interval(scores)
    return f"{100 * scores.mean():{sign}.1f} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
