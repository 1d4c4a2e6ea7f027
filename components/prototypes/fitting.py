"""What goes with prototypes, fitted on held-out images: attributes' weights, and calibrations."""

from collections.abc import Sequence

import numpy as np

from components.evaluation.manipulation_task import LabelledEmbeddings, ManipulationTask
from components.evaluation.manipulation_weights import fit_weights
from components.prototypes.prototypes import Calibration, ValueVectors
from components.prototypes.tags import calibrate

_NUM_QUERIES = 500
_DECIMALS = 3  # nobody types more, and more make no difference


def fit(
    held_out: LabelledEmbeddings, prototypes: Sequence[ValueVectors]
) -> tuple[list[float], list[Calibration]]:
    """Returns the weight and the calibration of each attribute, to three decimals.

    Weights are fitted for changes of at most 500 of the images, evenly spaced, that others answer.

    Args:
        held_out: images that nothing was trained on, with labels of some attributes.
        prototypes: of each attribute.
    """
    task = ManipulationTask(held_out, [found.vectors_VD for found in prototypes])
    num_queries = min(_NUM_QUERIES, len(held_out))
    rows = np.linspace(0, len(held_out) - 1, num_queries).round().astype(np.int64)
    queries = LabelledEmbeddings(
        embeddings_nND=held_out.embeddings_nND[rows],
        labels=[labels[rows] for labels in held_out.labels],
        images_n=held_out.images_n[rows],
    )
    weights_N = fit_weights(task, task.ask(queries))
    calibrations = [
        calibrate(held_out.embeddings_nND[:, attribute], labels, found)
        for attribute, (labels, found) in enumerate(zip(held_out.labels, prototypes, strict=True))
    ]
    return (
        weights_N.round(_DECIMALS).tolist(),
        [Calibration(*(round(number, _DECIMALS) for number in each)) for each in calibrations],
    )
