"""Backbones: where they are cut, and where their weights come from."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from components.errors import HemlineError
from components.models.backbones import Backbone, build_backbone
from components.models.build import build_model
from components.networks import NETWORK_PARTS

torch.set_num_threads(1)

WIDTHS = {  # after the second, third and last stage, of the papers' tables
    "resnet18": (128, 256, 512),
    "resnet34": (128, 256, 512),
    "resnet50": (512, 1024, 2048),
    "resnet101": (512, 1024, 2048),
    "resnext50_32x4d": (512, 1024, 2048),
    "convnext_tiny": (192, 384, 768),
    "efficientnet_v2_s": (64, 160, 1280),
}
FAMILIES = ("alexnet", "resnet18", "convnext_tiny", "efficientnet_v2_s")


@pytest.fixture(scope="module")
def resnet() -> models.ResNet:
    torch.manual_seed(4)
    return models.resnet18(weights=None)


@pytest.fixture
def weights(resnet, tmp_path) -> Path:
    torch.save(resnet.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def random_images(height: int, width: int) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def pooled_by(network: nn.Module, images: Tensor) -> Tensor:
    """Returns what torchvision's network pools, run as a whole."""
    seen = []
    hook = network.avgpool.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network.eval()(images)
    hook.remove()
    return seen[0]


@torch.no_grad()
def assert_holds(backbone: Backbone, network: nn.Module) -> None:
    images = random_images(64, 96)
    _, third = backbone.eval()(images)
    assert torch.equal(backbone.last_stage(third), pooled_by(network, images))


@pytest.mark.parametrize("name", WIDTHS)
def test_the_cut_network_is_torchvisions(name):
    torch.manual_seed(7)
    whole = models.get_model(name, weights=None)
    state_after = torch.get_rng_state()
    torch.manual_seed(7)
    backbone = build_backbone(name, weights="none")
    # neither random numbers nor batch statistics were touched when the widths were read
    assert torch.equal(torch.get_rng_state(), state_after)
    assert all(module.training for module in backbone.modules())
    kept = [tensor for name, tensor in whole.named_buffers() if name in whole.state_dict()]
    assert len(kept) == len(list(backbone.buffers()))
    for tensor, untouched in zip(backbone.buffers(), kept, strict=True):
        assert torch.equal(tensor, untouched)

    with torch.no_grad():
        mid, third = backbone.eval()(random_images(64, 96))
        last = backbone.last_stage(third)
    mid_width, width, last_width = WIDTHS[name]
    assert (backbone.mid_channels, backbone.channels, backbone.last_channels) == WIDTHS[name]
    assert mid.shape == (2, mid_width, 8, 12)
    assert third.shape == (2, width, 4, 6)
    assert last.shape == (2, last_width, 2, 3)
    assert torch.equal(last, pooled_by(whole, random_images(64, 96)))


def test_alexnets_third_stage_ends_at_conv4():
    """Its maps of 224 px are those of its paper; conv5 and its pooling are the last stage."""
    torch.manual_seed(7)
    backbone = build_backbone("alexnet", weights="none").eval()
    torch.manual_seed(7)
    whole = models.alexnet(weights=None).eval()
    images = random_images(224, 224)
    with torch.no_grad():
        mid, third = backbone(images)
        assert torch.equal(third, whole.features[:10](images))
        assert backbone.last_stage(third).shape == (2, 256, 6, 6)
    assert (mid.shape, third.shape) == ((2, 192, 27, 27), (2, 256, 13, 13))
    assert (backbone.mid_channels, backbone.channels, backbone.last_channels) == (None, 256, 256)
    assert_holds(backbone, whole)


@pytest.mark.parametrize("name", [name for name in NETWORK_PARTS if name != "asen_v2"])
def test_alexnet_carries_every_network_without_hierarchical_features(name):
    parts = {"hierarchical": False} if "hierarchical" in NETWORK_PARTS[name] else {}
    network = build_model(
        name=name,
        num_values=[2, 3, 4],
        num_landmarks=1,
        backbone="alexnet",
        weights="none",
        embedding_dim=8,
        attention_dim=4,
        normalise_features=True,
        **parts,
    ).eval()
    with torch.no_grad():
        embeddings = network(random_images(96, 64), torch.tensor([[0, 2], [1, 1]]))
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2, 2))


def test_the_tiny_backbone_is_cut_as_the_others_are():
    backbone = build_backbone("tiny", weights="none").eval()
    assert (backbone.mid_channels, backbone.channels, backbone.last_channels) == (24, 32, 40)
    with torch.no_grad():
        mid, third = backbone(random_images(64, 96))
        assert mid.shape == (2, 24, 8, 12)
        assert third.shape == (2, 32, 4, 6)
        assert backbone.last_stage(third).shape == (2, 40, 2, 3)
    assert sum(parameter.numel() for parameter in backbone.parameters()) < 25_000
    assert any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


def test_the_tiny_backbone_has_no_pretrained_weights(weights):
    for given in ("IMAGENET1K_V1", str(weights)):
        with pytest.raises(HemlineError, match=r"model\.weights: .*tiny has no pretrained weights"):
            build_backbone("tiny", weights=given)


@pytest.mark.parametrize("name", ["tiny", *WIDTHS])
def test_every_backbone_carries_a_network(name):
    """With batch statistics: without, an untrained ResNet-101 can overflow what float32 holds."""
    network = build_model(
        name="ag_man",
        num_values=[2, 3, 4],
        backbone=name,
        weights="none",
        embedding_dim=8,
        attention_dim=4,
        normalise_features=True,
    ).train()
    with torch.no_grad():
        embeddings, outputs = network.forward_branches(
            random_images(64, 96), torch.tensor([[0, 2], [1, 1]])
        )
    assert embeddings.shape == (2, 2, 8)
    assert outputs["attributes"].shape == (2, 3)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2, 2))


def test_the_last_stage_can_be_taken():
    backbone = build_backbone("resnet18", weights="none")
    last_stage = backbone.last_stage
    assert backbone.take_last_stage() is last_stage
    assert not any("layer4" in name or "last_stage" in name for name in backbone.state_dict())
    assert backbone(random_images(32, 32))[1].shape == (2, 256, 2, 2)


def test_none_starts_from_scratch_every_time():
    first, second = (build_backbone("resnet18", weights="none") for _ in range(2))
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_state_dict_may_have_any_classifier_or_none(tmp_path, name):
    network = models.get_model(name, weights=None, num_classes=7)
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    assert_holds(build_backbone(name, weights=str(path)), network)
    heads = ("fc.", "classifier.")
    headless = {k: v for k, v in network.state_dict().items() if not k.startswith(heads)}
    assert len(headless) < len(network.state_dict())
    torch.save(headless, path)
    assert_holds(build_backbone(name, weights=str(path)), network)


def test_a_published_name_goes_through_torchvisions_loader(resnet, tmp_path, monkeypatch):
    """The loader takes a file that lies in its cache under the published name as downloaded."""
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    url = models.ResNet18_Weights.IMAGENET1K_V1.url
    torch.save(resnet.state_dict(), cache / Path(url).name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert_holds(build_backbone("resnet18", weights="IMAGENET1K_V1"), resnet)


def test_weights_that_cannot_be_had_are_one_message(resnet, tmp_path, monkeypatch):
    """Whether torchvision cannot download them, or has a damaged file of them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    expected = r"torchvision could not get IMAGENET1K_V1 \(.*give the path of a file"

    def refuse(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    with pytest.raises(HemlineError, match=expected):
        build_backbone("resnet18", weights="IMAGENET1K_V1")
    cached = tmp_path / "hub" / "checkpoints" / Path(models.ResNet18_Weights.IMAGENET1K_V1.url).name
    torch.save(resnet.state_dict(), cached)
    cached.write_bytes(cached.read_bytes()[:-1000])
    with pytest.raises(HemlineError, match=expected):
        build_backbone("resnet18", weights="IMAGENET1K_V1")


def test_a_missing_file_is_an_error_that_names_the_choices(tmp_path):
    with pytest.raises(HemlineError, match=r"no file .*absent\.pth.*IMAGENET1K_V1"):
        build_backbone("resnet18", weights=str(tmp_path / "absent.pth"))


def test_weights_of_another_network_are_an_error(resnet, weights):
    with pytest.raises(HemlineError, match=r"weights\.pth does not fit.* missing"):
        build_backbone("resnet34", weights=str(weights))
    state = resnet.state_dict()
    torch.save(state | {"layer5.weight": torch.zeros(1)}, weights)
    with pytest.raises(HemlineError, match=r"1 unknown, such as layer5\.weight"):
        build_backbone("resnet18", weights=str(weights))
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save(state, weights)
    with pytest.raises(HemlineError, match=r"(?s)weights\.pth does not fit.*conv1\.weight"):
        build_backbone("resnet18", weights=str(weights))


@pytest.mark.parametrize("content", [b"", b"a web page, perhaps", "truncated"])
def test_a_file_that_is_no_state_dict_is_an_error(weights, content):
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2] if content == "truncated" else content)
    with pytest.raises(HemlineError, match=r"weights\.pth"):
        build_backbone("resnet18", weights=str(weights))
