"""From params to every network, to a file, to an exported graph, and back."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_network import (
    ATTRIBUTES_BK,
    EMBEDDING_DIM,
    NAMES,
    NUM_ATTRIBUTES,
    THIRD_STAGE_WIDTH,
    TIMM_WIDTHS,
    build,
    random_images,
)

from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.images.transforms import normalise
from components.models import ag_man, ahbn, asen, attn_fashion, csn, fashionsearchnet
from components.models.attention import UniformAttention
from components.models.build import build_model
from components.models.network import EmbeddingNetwork
from components.networks import IMAGENET_PIXELS
from components.registry import pt2
from components.registry.graph import write_package
from components.registry.package import NETWORK_FILE, read_package
from components.training.trained import save_weights

torch.set_num_threads(1)

CLASSES = {
    "ag_man": ag_man.AGMAN,
    "ag_mlan": ag_man.AGMLAN,
    "ahbn": ahbn.AHBN,
    "asen": asen.ASEN,
    "asen_v2": asen.ASENV2,
    "attn_fashion": attn_fashion.AttnFashion,
    "csn": csn.CSN,
    "fashionsearchnet_v2": fashionsearchnet.FashionSearchNetV2,
    "triplet_network": csn.TripletNetwork,
}
SCHEMA = AttributeSchema(
    dataset="made up", attributes=(Attribute(name="length", values=("short", "long")),)
)
WITHOUT_ATTENTION = {"asa": False, "sa": False, "ca": False, "spatial_kernel_size": None}


def case_id(case: str | dict[str, object]) -> str:
    return case if isinstance(case, str) else "switched" if case else "paper"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_its_network_with_the_numbers_given(name):
    network = build(name)
    assert type(network) is CLASSES[name]
    embeddings = network.eval()(random_images(2, 3, 32, 32, dtype=torch.float32), ATTRIBUTES_BK)
    width = THIRD_STAGE_WIDTH if name == "asen_v2" else EMBEDDING_DIM
    assert embeddings.shape == (2, 3, width)


def test_null_parts_are_those_of_the_paper_and_others_are_passed_on():
    network = build("ag_man", asa=None, ca=None, masks=None, sa=False, spatial_kernel_size=None)
    assert not isinstance(network.asa, UniformAttention)
    assert network.ca is not None
    assert network.sa is None


@pytest.mark.parametrize("name", ["ag_mlan", "csn"])
def test_masks_need_a_dimension_for_every_attribute(name):
    build(name, embedding_dim=NUM_ATTRIBUTES)
    with pytest.raises(HemlineError, match=rf"embedding_dim 4 leaves no .* 5 attributes.*{name}"):
        build(name, embedding_dim=NUM_ATTRIBUTES - 1)


def test_other_networks_need_no_dimension_for_every_attribute():
    build("ag_man", embedding_dim=NUM_ATTRIBUTES - 1)


def test_asen_v2_is_as_wide_as_the_third_stage():
    numbers = {"num_values": [2] * 3, "backbone": "resnet18", "weights": "none", "attention_dim": 8}
    with pytest.raises(HemlineError, match=r"256 channels wide \(got 1024\); set it to 256"):
        build_model(name="asen_v2", embedding_dim=1024, normalise_features=False, **numbers)


def test_parts_that_make_no_network_are_refused():
    with pytest.raises(HemlineError, match="no part that knows the attribute"):
        build("asen", asa=False, aca="none")
    with pytest.raises(HemlineError, match="csn has no part asa"):
        build("csn", asa=False)
    with pytest.raises(HemlineError, match="no network 'resnet'"):
        build("resnet")


@pytest.mark.parametrize(
    ("name", "parts"),
    [*((name, {}) for name in NAMES), ("ag_man", WITHOUT_ATTENTION), ("csn", {"masks": "fixed"})],
    ids=case_id,
)
def test_weights_survive_safetensors(name, parts, tmp_path):
    network = build(name, normalise_features=True, **parts)
    images = random_images(2, 3, 32, 32, dtype=torch.float32)
    network(images, ATTRIBUTES_BK)  # batch statistics that are not those of the start
    save_weights(network, tmp_path / "network.safetensors")
    other = build(name, normalise_features=True, **parts)
    for parameter in other.parameters():
        parameter.data.uniform_(-0.1, 0.1)
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    for key, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor)
    assert torch.equal(other.eval()(images, ATTRIBUTES_BK), network.eval()(images, ATTRIBUTES_BK))


def assert_exported(network: EmbeddingNetwork, folder: Path, *, image_size_px: int) -> None:
    """A network's graph gives what it gives, for any number of images and of attributes."""
    write_package(network.eval(), folder, schema=SCHEMA, image_size_px=image_size_px)
    package = read_package(folder)
    assert (package.schema, package.image_size_px) == (SCHEMA, image_size_px)
    exported = package.load_network()
    served = pt2.load(folder / NETWORK_FILE, "cpu")
    assert isinstance(served, pt2.Graph), "torch.export had to read it"
    generator = torch.Generator().manual_seed(3)
    for num_images, num_asked in [(1, 1), (1, 4), (5, 1), (3, 7)]:
        shape = (num_images, image_size_px, image_size_px, 3)
        pixels = torch.randint(0, 256, shape, generator=generator).byte()
        attributes = torch.randint(0, NUM_ATTRIBUTES, (num_images, num_asked), generator=generator)
        with torch.inference_mode():
            found, same = served(pixels, attributes), exported.graph(pixels, attributes)
        torch.testing.assert_close(found, same, rtol=0, atol=0)
        expected = network(normalise(pixels, network.pixel_statistics), attributes)
        # float32; the graph may order its sums differently
        torch.testing.assert_close(exported(pixels, attributes), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parts"), [*((name, {}) for name in NAMES), ("ag_man", WITHOUT_ATTENTION)], ids=case_id
)
def test_the_exported_graph_gives_the_same_for_other_batches_and_attributes(name, parts, tmp_path):
    assert_exported(build(name, **parts), tmp_path, image_size_px=64)


def parts_on(backbone: str, name: str) -> dict[str, object]:
    """Returns what has to be switched off in a network: a transformer has one map alone."""
    return {"hierarchical": False} if "vit" in backbone and name in ("ag_man", "ag_mlan") else {}


@pytest.mark.slow
@pytest.mark.parametrize("backbone", TIMM_WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_on_timms_backbones_too(name, backbone, tmp_path):
    """At another size than the 224 pixels that the transformer's positions were made for."""
    network = build(name, backbone=backbone, **parts_on(backbone, name))
    assert_exported(network.for_inference(), tmp_path, image_size_px=96)


def test_pixels_are_those_of_the_weights_where_params_do_not_say():
    half, own = (0.5, 0.5, 0.5), (0.1, 0.2, 0.3)
    for backbone, mean, std in (
        ("tiny", *IMAGENET_PIXELS),
        ("timm:vit_tiny_patch16_224", half, half),
    ):
        for given, expected in (
            ({}, (mean, std)),
            ({"pixel_mean": None, "pixel_std": None}, (mean, std)),
            ({"pixel_mean": [*own]}, (own, std)),
            ({"pixel_std": [*own]}, (mean, own)),
        ):
            network = build("csn", backbone=backbone, **given)
            assert network.pixel_statistics == expected


@pytest.mark.parametrize("name", ["ag_man", "ag_mlan"])
def test_a_transformer_has_no_map_for_hierarchical_features(name):
    expected = (
        r"model\.hierarchical: .* this backbone has no such map: set model\.hierarchical false, or "
        r"choose another model\.backbone"
    )
    with pytest.raises(HemlineError, match=expected):
        build(name, backbone="timm:vit_tiny_patch16_224")
