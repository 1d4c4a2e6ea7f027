"""What FashionSearchNet-v2's last stage gains: hits of manipulations with and without it.

    python -m benchmarks.fashionsearchnet [--top 20]

In a project that has trained it with `train.global_ranking_epochs`. Every test image is asked for
every other value of each attribute that it is labelled for, the memory's vector in place of its
own. A hit is an image among the first `--top` of all test images with exactly the values asked for;
changes that no test image answers do not count. Means over attributes, as in the paper.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.machine import machine
from components import tables
from components.evaluation.encode import encode
from components.images.store import ImageStore
from components.models.manipulation import GlobalRepresentation
from components.training.trained import TrainedModel, read_trained_model

Represent = Callable[[Tensor], Tensor]


def main() -> None:
    """Prints hits in percent, of vectors beside one another and of global vectors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/network"))
    parser.add_argument("--store", type=Path, default=Path("data/store"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits"))
    parser.add_argument("--top", type=int, default=20)
    arguments = parser.parse_args()
    trained = read_trained_model(arguments.model)
    network = trained.network
    representation = getattr(network, "representation", None)
    if not isinstance(representation, GlobalRepresentation) or network.prototypes() is None:
        raise SystemExit(f"{arguments.model}: no fashionsearchnet_v2 with a memory of values")
    values_nC, vectors_nND = test_images(trained, arguments.store, arguments.splits)
    print(f"{machine()}; {len(values_nC)} test images, first {arguments.top}")
    ways: dict[str, Represent] = {
        "beside one another": lambda vectors: vectors.flatten(1),
        "global": representation,
    }
    for way, represent in ways.items():
        hits = hits_of(
            represent,
            representation,
            vectors_nND,
            values_nC,
            num_values=trained.schema.num_listed,
            top=arguments.top,
        )
        for name, of_attribute in zip(trained.schema.names, hits, strict=True):
            share = f"{100 * np.mean(of_attribute):6.2f}" if of_attribute else "     -"
            print(f"{way:20} {name:24} {share} % of {len(of_attribute)}")
        mean = np.mean([np.mean(of_attribute) for of_attribute in hits if of_attribute])
        print(f"{way:20} {'mean':24} {100 * mean:6.2f} %")


def test_images(
    trained: TrainedModel, store: Path, splits: Path
) -> tuple[NDArray[np.bool_], Tensor]:
    """Returns the values of the test images [n, C] and their vectors [n, N, D]."""
    labels = tables.read_splits(splits).filter(pc.field("split") == "test")
    images, row = np.unique(labels["image"].to_numpy(), return_inverse=True)
    num_values = trained.schema.num_values
    firsts = np.cumsum([0, *num_values[:-1]])
    values_nC = np.zeros((len(images), sum(num_values)), bool)
    values_nC[row, firsts[labels["attribute"].to_numpy()] + labels["value"].to_numpy()] = True
    embeddings = encode(
        trained.embed,
        ImageStore(store),
        images,
        num_attributes=len(num_values),
        device=torch.device("cpu"),
    )
    return values_nC, torch.from_numpy(embeddings)


@torch.inference_mode()
def hits_of(
    represent: Represent,
    memory: GlobalRepresentation,
    vectors_nND: Tensor,
    values_nC: NDArray[np.bool_],
    *,
    num_values: list[int],
    top: int,
) -> list[list[bool]]:
    """Returns for each attribute whether each of its manipulations that have an answer is a hit."""
    gallery_nR = represent(vectors_nND)
    hits: list[list[bool]] = [[] for _ in num_values]
    for image, attribute, row, target_C in manipulations(values_nC, num_values):
        is_answer_n = (values_nC == target_C).all(axis=1)
        if not is_answer_n.any():
            continue
        asked = memory.manipulated(
            vectors_nND[image : image + 1], torch.tensor([attribute]), torch.tensor([row])
        )
        nearest = torch.cdist(represent(asked), gallery_nR)[0].argsort()[:top]
        hits[attribute].append(bool(is_answer_n[nearest.numpy()].any()))
    return hits


def manipulations(
    values_nC: NDArray[np.bool_], num_values: list[int]
) -> Iterator[tuple[int, int, int, NDArray[np.bool_]]]:
    """Yields image, attribute, the new value's row in the memory, and all values asked for [C]."""
    firsts = np.cumsum([0, *num_values[:-1]])
    for image, had_C in enumerate(values_nC):
        for attribute, (first, number) in enumerate(zip(firsts, num_values, strict=True)):
            block = slice(first, first + number)
            for row in range(first, first + number) if had_C[block].any() else ():
                if not had_C[row]:
                    target_C = had_C.copy()
                    target_C[block] = False
                    target_C[row] = True
                    yield image, attribute, row, target_C


if __name__ == "__main__":
    main()
