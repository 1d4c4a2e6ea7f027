"""Backbones: their widths, and where their weights come from."""

from pathlib import Path

import pytest
import torch
from torchvision import models

from components.errors import HemlineError
from components.models.backbones import ResNetBackbone, build_backbone

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def resnet() -> models.ResNet:
    torch.manual_seed(4)
    return models.resnet18(weights=None)


@pytest.fixture
def weights(resnet, tmp_path) -> Path:
    torch.save(resnet.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def assert_holds(backbone: ResNetBackbone, resnet: models.ResNet) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, third = backbone.eval()(images)
        stem = resnet.eval().maxpool(resnet.relu(resnet.bn1(resnet.conv1(images))))
        expected = resnet.layer3(resnet.layer2(resnet.layer1(stem)))
        assert torch.equal(third, expected)
        assert torch.equal(backbone.last_stage(third), resnet.layer4(expected))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_widths_are_those_of_the_maps(name):
    backbone = build_backbone(name, weights="none").eval()
    with torch.no_grad():
        mid, third = backbone(torch.zeros(1, 3, 64, 96))
        last = backbone.last_stage(third)
    assert mid.shape == (1, backbone.mid_channels, 8, 12)
    assert third.shape == (1, backbone.channels, 4, 6)
    assert last.shape == (1, backbone.last_channels, 2, 3)
    assert backbone.last_channels == (2048 if name == "resnet50" else 512)


def test_none_starts_anew_every_time():
    first, second = (build_backbone("resnet18", weights="none") for _ in range(2))
    assert not torch.equal(first.stem[0].weight, second.stem[0].weight)


def test_a_state_dict_is_taken_up(resnet, weights):
    assert_holds(build_backbone("resnet18", weights=str(weights)), resnet)


def test_a_state_dict_may_lack_the_classifier_or_have_another(resnet, weights):
    state = {k: v for k, v in resnet.state_dict().items() if not k.startswith("fc.")}
    torch.save(state, weights)
    assert_holds(build_backbone("resnet18", weights=str(weights)), resnet)
    torch.save(state | {"fc.weight": torch.zeros(7, 512), "fc.bias": torch.zeros(7)}, weights)
    assert_holds(build_backbone("resnet18", weights=str(weights)), resnet)


def test_a_published_name_goes_through_torchvisions_loader(resnet, tmp_path, monkeypatch):
    """The loader takes a file that lies in its cache under the published name as downloaded."""
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    url = models.ResNet18_Weights.IMAGENET1K_V1.url
    torch.save(resnet.state_dict(), cache / Path(url).name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert_holds(build_backbone("resnet18", weights="IMAGENET1K_V1"), resnet)


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
