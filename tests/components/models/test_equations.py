"""Every network with every switch against the equations of its paper, values and gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import ag_man_equations
import ahbn_equations
import asen_equations
import csn_equations
import fashionsearchnet_equations
import pytest
import torch
from comparison import assert_same, randomise
from small_network import ATTRIBUTES_BK, NUM_HOURGLASSES, build, random_images

torch.set_num_threads(1)


class Equations(NamedTuple):
    """How a paper is read: from image to features, from features and attribute to embedding."""

    features: Callable[..., torch.Tensor]
    embedding: Callable[..., torch.Tensor]
    parts: dict[str, Any]  # of the paper


TWO_BRANCHES = {
    "hierarchical": True,
    "classification": True,
    "asa": True,
    "sa": True,
    "spatial_kernel_size": 1,
}
EQUATIONS = {
    "ag_man": Equations(
        ag_man_equations.features,
        ag_man_equations.ag_man,
        {**TWO_BRANCHES, "aca": "addition", "ca": True},
    ),
    "ag_mlan": Equations(
        ag_man_equations.features,
        ag_man_equations.ag_mlan,
        {**TWO_BRANCHES, "aca": "concatenation", "masks": "learned"},
    ),
    "ahbn": Equations(
        ahbn_equations.features,
        ahbn_equations.ahbn,
        {
            "branches": "both",
            "fusion": "compact_bilinear",
            "co_attention": "joint",
            "grid_size": 8,
            "landmark_maps": "features",
        },
    ),
    "asen": Equations(
        asen_equations.features, asen_equations.asen, {"asa": True, "aca": "concatenation"}
    ),
    "asen_v2": Equations(
        asen_equations.features, asen_equations.asen_v2, {"asa": True, "aca": "concatenation"}
    ),
    "attn_fashion": Equations(
        asen_equations.features, asen_equations.attn_fashion, {"asa": True, "aca": "multiplication"}
    ),
    "fashionsearchnet_v2": Equations(
        fashionsearchnet_equations.features,
        fashionsearchnet_equations.fashionsearchnet_v2,
        {"localisation": True, "feature_fusion": False},
    ),
    "csn": Equations(csn_equations.features, csn_equations.csn, {"masks": "learned"}),
    "triplet_network": Equations(csn_equations.features, csn_equations.triplet_network, {}),
}
WITHOUT_ATTENTION = {"asa": False, "sa": False, "aca": "addition", "ca": False}
SWITCHED: dict[str, list[dict[str, Any]]] = {
    "ag_man": [
        {},
        {"hierarchical": False},
        {"classification": False},
        {"asa": False},
        {"sa": False},
        {"spatial_kernel_size": 7},
        {"aca": "concatenation"},
        {"aca": "none"},
        {"ca": False},
        WITHOUT_ATTENTION | {"hierarchical": False, "classification": False},
    ],
    "ag_mlan": [
        {},
        {"masks": "fixed"},
        {"aca": "addition"},
        {"aca": "none", "asa": False},
        {"hierarchical": False, "sa": False},
    ],
    "ahbn": [
        {},
        *({"fusion": name} for name in ("bilinear", "concatenation", "product", "sum")),
        {"co_attention": "separate"},
        {"co_attention": "none", "grid_size": 4},
        {"grid_size": 16, "fusion": "product"},
        {"landmark_maps": "heat_maps"},
        {"attribute_supervision": False, "landmark_supervision": False},
        {"branches": "attribute"},
        {"branches": "landmark"},
    ],
    "asen": [{}, {"asa": False}, {"aca": "none"}],
    "asen_v2": [{}, {"asa": False}, {"aca": "none"}],
    "attn_fashion": [{}, {"asa": False}, {"aca": "none"}],
    "csn": [{}, {"masks": "fixed"}],
    "fashionsearchnet_v2": [
        {},
        {"localisation": False},
        {"feature_fusion": True},
        {"localisation": False, "feature_fusion": True},
    ],
    "triplet_network": [{}],
}
CASES = [
    (name, changes | {"normalise_features": normalise_features})
    for name, switched in SWITCHED.items()
    for changes in switched
    for normalise_features in ([False] if changes else [False, True])
]


# of what an embedding does not depend on: branch 1; classifiers of values, and the maps that boxes
# are made of, as boxes have no gradient; the last block's heat maps, unless they are what is fused
UNUSED = ("classifier.", "classifiers.", "branch_classifiers.", "conv6.", "conv7.", "values.")
LAST_HEAD = f"hourglass.heads.{NUM_HOURGLASSES - 1}."


def case_id(case: Any) -> str | None:
    if isinstance(case, str):
        return None
    return ",".join(f"{part}={value}" for part, value in case.items())


def scales_without_effect(name: str, parts: dict[str, Any]) -> set[str]:
    """W_2 of Eq. 6b is a factor of the whole vector, which unit length takes away again.

    Only the channel attention of AG-MAN stands between the two.
    """
    has_scale = name in ("ag_man", "ag_mlan") and parts["aca"] != "none"
    return {"aca.scale"} if has_scale and not parts.get("ca") else set()


@pytest.mark.parametrize(("name", "changes"), CASES, ids=case_id)
def test_embeddings_are_those_of_the_equations(name, changes):
    equations = EQUATIONS[name]
    parts = equations.parts | changes
    network = randomise(build(name, **changes))
    images = random_images(2, 3, 32, 48).requires_grad_()
    if name == "fashionsearchnet_v2":
        fashionsearchnet_equations.sharpened(network, images)
    if name == "ahbn":
        ahbn_equations.awakened(network)
    rows = []
    for image, attributes_K in zip(images, ATTRIBUTES_BK, strict=True):
        features = equations.features(network, image, parts)
        rows += [equations.embedding(network, features, int(a), parts) for a in attributes_K]
    expected = torch.stack(rows).view(*ATTRIBUTES_BK.shape, -1)
    assert_same(
        network,
        network(images, ATTRIBUTES_BK),
        expected,
        images,
        unused=UNUSED if parts.get("landmark_maps") == "heat_maps" else (*UNUSED, LAST_HEAD),
        without_effect=scales_without_effect(name, parts),
    )
