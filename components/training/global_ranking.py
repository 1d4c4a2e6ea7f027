"""FashionSearchNet-v2's last stage: its memory of values, and how much each attribute counts.

Source: the paper's section 3.3, Eq. 7 and 8. The embeddings are fixed by then, so that they are
computed once; nothing but M, lambda and w_r moves. Every run of it starts from the best weights of
the stages before and gives the same bits, so that one that was killed is run again as a whole.

Shape letters: n training images, N attributes, C values of all attributes, D embedding.
"""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam

from components.evaluation.encode import encode
from components.images.transforms import normalise
from components.losses.ranking import soft_triplet_loss
from components.models.fashionsearchnet import FashionSearchNetV2
from components.models.manipulation import GlobalRepresentation
from components.sampling.manipulations import Manipulated, ManipulationSampler
from components.training.loop import Log, Run
from components.training.plan import Place
from components.training.trained import load_weights, save_weights

_PER_STEP = 512


def rank_globally(run: Run, weights: Path, *, place: Place, log: Log) -> None:
    """Trains memory, importance and projection of the network whose weights a file holds.

    They are written to that file. `log` gets the mean loss of each pass over all manipulations, how
    many there are and how many no training image answers.

    Raises:
        HemlineError: the file is damaged.
    """
    network = run.state.network
    assert isinstance(network, FashionSearchNetV2)
    network.load_state_dict(load_weights(weights)[0])
    representation = network.representation
    assert representation is not None, "it is left out of served networks only"
    listed = [attribute for attribute, values in enumerate(network.num_values) if values]
    is_listed = pc.field("attribute").isin(listed)
    labels = run.splits.filter((pc.field("split") == "train") & is_listed)
    sampler = ManipulationSampler(labels, num_values=network.num_values)
    vectors_nND = _embeddings(run, network, sampler.images, place=place)
    values_nC = torch.from_numpy(sampler.values_of_image).to(place.device)
    memory_CD = mean_of_values(vectors_nND, values_nC, num_values=network.num_values)
    representation.start(memory_CD, generator=torch.Generator().manual_seed(run.params.seed))
    representation.requires_grad_()
    representation.memory.requires_grad_(network.updates_memory)
    trained = [parameter for parameter in representation.parameters() if parameter.requires_grad]
    optimizer = Adam(trained, lr=run.params.learning_rate)
    for epoch in range(run.params.global_ranking_epochs):
        total = torch.zeros((), device=place.device)
        rng = np.random.default_rng([run.params.seed, epoch])
        for asked in sampler.batches(_PER_STEP, rng=rng):
            loss = global_ranking_loss(
                representation, vectors_nND, asked, temperature=run.params.temperature
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(asked.anchors)
        figures = {
            "global_ranking_loss": float(total) / max(len(sampler), 1),
            "manipulations": float(len(sampler)),
            "manipulations_left_out": float(sampler.num_left_out),
        }
        log(figures, step=epoch, kind="stage")
    representation.requires_grad_(False)
    save_weights(network, weights)


def _embeddings(
    run: Run, network: FashionSearchNetV2, images: NDArray[np.int64], *, place: Place
) -> Tensor:
    """Returns the embeddings of images for every attribute, without augmentation [n, N, D]."""
    network.eval()

    def encoder(pixels: Tensor, attributes_BK: Tensor) -> Tensor:
        with run.autocast(place.device):
            embeddings: Tensor = network(normalise(pixels, network.pixel_statistics), attributes_BK)
            return embeddings

    found = encode(
        encoder, run.store, images, num_attributes=run.num_attributes, device=place.device
    )
    return torch.from_numpy(found).to(place.device)


def mean_of_values(vectors_nND: Tensor, values_nC: Tensor, *, num_values: list[int]) -> Tensor:
    """Returns the mean vector of the images that have each value [C, D]; 0 where none has.

    `values_nC` is bool, the values of one attribute after those of another.
    """
    means = []
    of_attributes = zip(vectors_nND.unbind(1), values_nC.split(num_values, dim=1), strict=True)
    for vectors_nD, has_nV in of_attributes:
        weights_nV = has_nV.to(vectors_nD.dtype)
        means.append(weights_nV.T @ vectors_nD / weights_nV.sum(dim=0).clamp(min=1)[:, None])
    return torch.cat(means)


def global_ranking_loss(
    representation: GlobalRepresentation,
    vectors_nND: Tensor,
    asked: Manipulated,
    *,
    temperature: float,
) -> Tensor:
    """Returns L_G of Eq. 8, mean over manipulations, a scalar."""
    anchors, attributes, values, positives, negatives = (
        torch.from_numpy(column).to(vectors_nND.device) for column in asked
    )
    manipulated = representation.manipulated(vectors_nND[anchors], attributes, values)
    slots = (manipulated, vectors_nND[positives], vectors_nND[negatives])
    return soft_triplet_loss(*map(representation, slots), temperature=temperature)
