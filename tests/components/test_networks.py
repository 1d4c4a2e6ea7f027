"""Names of networks and their parts: what a paper has, and which choices make no sense."""

import pytest

from components.errors import HemlineError
from components.networks import NETWORK_PARTS, resolve_parts

ALL_PARTS = (
    "hierarchical",
    "classification",
    "asa",
    "sa",
    "spatial_kernel_size",
    "aca",
    "ca",
    "masks",
    "localisation",
    "feature_fusion",
    "memory",
    "branches",
    "attribute_supervision",
    "landmark_supervision",
    "fusion",
    "co_attention",
    "grid_size",
    "landmark_maps",
    "num_hourglasses",
)
TWO_BRANCHES = {
    "hierarchical": True,
    "classification": True,
    "asa": True,
    "sa": True,
    "spatial_kernel_size": 1,
}
OF_THE_PAPERS = {
    "ag_man": {**TWO_BRANCHES, "aca": "addition", "ca": True},
    "ag_mlan": {**TWO_BRANCHES, "aca": "concatenation", "masks": "learned"},
    "ahbn": {
        "branches": "both",
        "attribute_supervision": True,
        "landmark_supervision": True,
        "fusion": "compact_bilinear",
        "co_attention": "joint",
        "grid_size": 8,
        "landmark_maps": "features",
        "num_hourglasses": 4,
    },
    "asen": {"asa": True, "aca": "concatenation"},
    "asen_v2": {"asa": True, "aca": "concatenation"},
    "attn_fashion": {"asa": True, "aca": "multiplication"},
    "csn": {"masks": "learned"},
    "fashionsearchnet_v2": {"localisation": True, "feature_fusion": False, "memory": "updated"},
    "triplet_network": {},
}


def refusal(name, chosen) -> str:
    with pytest.raises(HemlineError) as raised:
        resolve_parts(name, chosen)
    return str(raised.value)


def test_every_network_has_a_paper():
    assert NETWORK_PARTS.keys() == OF_THE_PAPERS.keys()


@pytest.mark.parametrize("name", OF_THE_PAPERS)
def test_null_is_what_the_paper_has(name):
    assert resolve_parts(name, {}) == OF_THE_PAPERS[name]
    assert resolve_parts(name, dict.fromkeys(ALL_PARTS)) == OF_THE_PAPERS[name]


@pytest.mark.parametrize("name", OF_THE_PAPERS)
def test_every_other_choice_changes_its_part_alone(name):
    for part, choices in NETWORK_PARTS[name].items():
        for choice in choices:
            expected = OF_THE_PAPERS[name] | {part: choice}
            assert resolve_parts(name, dict.fromkeys(ALL_PARTS) | {part: choice}) == expected


def test_an_unknown_network_is_named_with_the_known_ones():
    message = refusal("resnet", {})
    assert message == f"there is no network 'resnet'; allowed: {', '.join(OF_THE_PAPERS)}"


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        (
            "asen",
            {"ca": False},
            "asen has no part ca: make it null; asen has asa, aca",
        ),
        (
            "triplet_network",
            {"masks": "fixed"},
            "triplet_network has no part masks: make it null; triplet_network has no part to "
            "switch",
        ),
        (
            "ag_man",
            {"aca": "multiplication"},
            "aca of ag_man may be addition, concatenation, none (got multiplication)",
        ),
        (
            "ag_man",
            {"spatial_kernel_size": 3},
            "spatial_kernel_size of ag_man may be 1, 7 (got 3)",
        ),
        (
            "csn",
            {"masks": "none"},
            "masks of csn may be learned, fixed (got none)",
        ),
        (
            "ag_mlan",
            {"sa": False, "spatial_kernel_size": 7},
            "spatial_kernel_size belongs to the part that sa false removes: make it null",
        ),
        *(
            (
                "ahbn",
                {"branches": kept, part: choice},
                f"{part} belongs to a branch that branches {kept} leaves out: make it null",
            )
            for kept, part, choice in (
                ("attribute", "fusion", "sum"),
                ("landmark", "grid_size", 4),
                ("attribute", "landmark_supervision", True),
                ("landmark", "attribute_supervision", False),
            )
        ),
        (
            "ahbn",
            {"landmark_maps": "heat_maps", "landmark_supervision": False},
            "landmark_maps heat_maps are what landmark_supervision trains: make that null, or take "
            "landmark_maps features",
        ),
        *(
            (
                name,
                {"asa": False, "aca": "none"},
                f"asa false and aca none leave {name} no part that knows the attribute: keep one, "
                "or take triplet_network",
            )
            for name in ("ag_man", "asen", "asen_v2", "attn_fashion")
        ),
    ],
)
def test_what_makes_no_network_is_refused(name, chosen, message):
    assert refusal(name, chosen) == message


def test_masks_know_the_attribute_when_no_attention_does():
    resolved = resolve_parts("ag_mlan", {"asa": False, "aca": "none"})
    assert resolved == OF_THE_PAPERS["ag_mlan"] | {"asa": False, "aca": "none"}


def test_sa_false_leaves_the_kernel_size_null():
    resolved = resolve_parts("ag_man", {"sa": False, "spatial_kernel_size": None})
    assert resolved == OF_THE_PAPERS["ag_man"] | {"sa": False}
