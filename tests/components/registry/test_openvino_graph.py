"""Graphs by OpenVINO: the same as PyTorch's, and in 8-bit integers nearly so."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from builders import flip_a_bit
from small_run import IMAGE_SIZE_PX, MODEL, SCHEMA, WITH_ITEMS, noise
from torch import Tensor, nn

from components.attributes import AttributeSchema
from components.errors import HemlineError
from components.networks import IMAGENET_PIXELS, NetworkName
from components.params import EmbedParams
from components.registry.graph import PixelsToEmbeddings, write_package
from components.registry.inference import inference_of
from components.registry.openvino_graph import quantise
from components.registry.package import (
    QUANTISED_FILE,
    QUANTISED_WEIGHTS_FILE,
    Inference,
    Package,
    read_package,
)
from components.training.setup import build_network

pytest.importorskip("nncf", reason="the extra hemline[openvino] is not installed")

PIXELS = noise(40)
INT8 = Inference("openvino", "int8")


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    dim = 32 if name == "asen_v2" else MODEL.embedding_dim  # that of its backbone's third map
    model = replace(MODEL, name=name, embedding_dim=dim)
    return build_network(model, schema_of(name)).for_inference().eval()


def schema_of(name: str) -> AttributeSchema:
    return WITH_ITEMS if name == "ahbn" else SCHEMA


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return network_of("ag_man")


@pytest.fixture(scope="module")
def package(network, tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("quantised")
    quantise(network, folder / "graph", pixels_nSS3=PIXELS, num_attributes=2)
    write_package(
        network,
        folder / "package",
        schema=SCHEMA,
        image_size_px=IMAGE_SIZE_PX,
        quantised=folder / "graph",
    )
    return read_package(folder / "package")


@torch.inference_mode()
def embedded(graph: nn.Module, images: slice, attributes: list[int]) -> Tensor:
    pixels = torch.from_numpy(PIXELS[images])
    return graph(pixels, torch.tensor(attributes).expand(len(pixels), -1))


class Pooled(nn.Module):
    """A network whose average pool hangs over the picture's padded edge."""

    pixel_statistics = IMAGENET_PIXELS

    def __init__(self, *, counts_padding: bool) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(
            3, stride=2, padding=1, ceil_mode=True, count_include_pad=counts_padding
        )

    def forward(self, images_B3SS: Tensor, attributes_BK: Tensor) -> Tensor:
        small_B3SS = nn.functional.interpolate(images_B3SS, size=(4, 4))
        vectors_BD = nn.functional.normalize(self.pool(small_B3SS).flatten(1))
        return vectors_BD[:, None].expand(-1, attributes_BK.shape[1], -1)


def test_layers_that_it_calculates_in_another_way_are_refused(tmp_path) -> None:
    for counts_padding in (False, True):
        network = Pooled(counts_padding=counts_padding)
        folder = tmp_path / str(counts_padding)
        write_package(network, folder, schema=SCHEMA, image_size_px=IMAGE_SIZE_PX)
        package = read_package(folder).run_by(Inference("openvino", "bf16"))
        if not counts_padding:
            package.load_network()
            continue
        with pytest.raises(HemlineError, match=r"other embeddings .* set embed\.runtime torch"):
            package.load_network()


@pytest.mark.parametrize("name", get_args(NetworkName))
def test_in_fp32_it_is_the_network(name, tmp_path) -> None:
    network = network_of(name)
    size_px = 256 if name == "ahbn" else IMAGE_SIZE_PX  # of which nothing is left of smaller ones
    write_package(network, tmp_path, schema=schema_of(name), image_size_px=size_px)
    graph = read_package(tmp_path).run_by(Inference("openvino", "fp32")).load_network()
    every = np.resize(PIXELS, (5, size_px, size_px, 3))
    for images, attributes in ((slice(0, 4), [0, 1]), (slice(3, 4), [1]), (slice(5), [1, 0, 1])):
        pixels = torch.from_numpy(every[images])
        asked = torch.tensor(attributes).expand(len(pixels), -1)
        with torch.inference_mode():
            expected = PixelsToEmbeddings(network)(pixels, asked)
        embeddings, maps = graph.with_maps(pixels, asked)
        if isinstance(expected, tuple):
            np.testing.assert_allclose(maps, expected[1], atol=1e-4)
            expected = expected[0]
        else:
            assert maps is None
        np.testing.assert_allclose(embeddings, expected, atol=1e-4)


def test_a_network_that_it_cannot_run_is_refused(tmp_path) -> None:
    """Pooling what is one pixel wide, which PyTorch does, is an error to OpenVINO 2026.4."""
    write_package(network_of("ahbn"), tmp_path, schema=WITH_ITEMS, image_size_px=IMAGE_SIZE_PX)
    package = read_package(tmp_path).run_by(Inference("openvino", "fp32"))
    with pytest.raises(HemlineError, match=r"cannot run this network: set embed\.runtime torch"):
        package.load_network()


def test_integers_are_close_to_floating_point_and_of_length_1(network, package) -> None:
    found = embedded(package.run_by(INT8).load_network(), slice(None), [0, 1])
    expected = embedded(PixelsToEmbeddings(network), slice(None), [0, 1])[0]
    assert 1e-4 < (found - expected).abs().max() < 0.2
    assert (found * expected).sum(dim=-1).min() > 0.98
    np.testing.assert_allclose(found.norm(dim=-1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", get_args(NetworkName))
def test_every_network_keeps_its_directions_and_lengths(name, tmp_path) -> None:
    """With random weights AHBN, which takes roots of products, turns its vectors most."""
    network, schema = network_of(name), schema_of(name)
    size_px = 256 if name == "ahbn" else IMAGE_SIZE_PX
    pixels = np.resize(PIXELS, (24, size_px, size_px, 3))
    asked = torch.arange(len(schema.names)).expand(len(pixels), -1)
    quantise(network, tmp_path / "graph", pixels_nSS3=pixels, num_attributes=len(schema.names))
    package = tmp_path / "package"
    write_package(
        network, package, schema=schema, image_size_px=size_px, quantised=tmp_path / "graph"
    )
    expected = read_package(package).load_network()(torch.from_numpy(pixels), asked).detach()
    for precision, least in (("bf16", 0.999), ("int8", 0.8 if name == "ahbn" else 0.99)):
        graph = read_package(package).run_by(Inference("openvino", precision)).load_network()
        found = graph(torch.from_numpy(pixels), asked)
        assert (found * expected).sum(dim=-1).min() > least
        np.testing.assert_allclose(found.norm(dim=-1), 1, atol=1e-3)


def test_what_else_is_asked_changes_no_bit(package) -> None:
    graph = package.run_by(INT8).load_network()
    together = embedded(graph, slice(None), [0, 1])
    alone = torch.cat([embedded(graph, slice(n, n + 1), [1]) for n in range(len(PIXELS))])
    assert torch.equal(alone[:, 0], together[:, 1])


def test_the_same_images_make_the_same_files(network, package, tmp_path) -> None:
    quantise(network, tmp_path, pixels_nSS3=PIXELS, num_attributes=2)
    for name in (QUANTISED_FILE, QUANTISED_WEIGHTS_FILE):
        assert (tmp_path / name).read_bytes() == (package.folder / name).read_bytes()


def test_threads_may_ask_at_once(package) -> None:
    graph = package.run_by(INT8).load_network()
    expected = embedded(graph, slice(None), [0, 1])
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda _: embedded(graph, slice(None), [0, 1]), range(40))
    assert all(torch.equal(each, expected) for each in found)


@pytest.mark.parametrize("name", [QUANTISED_FILE, QUANTISED_WEIGHTS_FILE])
def test_a_flipped_bit_is_found(name, package, tmp_path) -> None:
    for path in package.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    flip_a_bit(tmp_path / name, share=0.5)
    with pytest.raises(HemlineError, match=f"{name} is damaged"):
        read_package(tmp_path).run_by(INT8).load_network()


def test_without_a_graph_in_integers_they_are_refused_and_images_embedded_otherwise(
    network, package, tmp_path
) -> None:
    write_package(network, tmp_path, schema=SCHEMA, image_size_px=IMAGE_SIZE_PX)
    other = read_package(tmp_path)
    with pytest.raises(HemlineError, match="has no graph in 8-bit integers"):
        other.run_by(INT8)
    params = EmbedParams(runtime="openvino", precision="int8")
    assert inference_of(package, params) == INT8
    assert inference_of(other, params) in {
        Inference("openvino", "bf16"),
        Inference("openvino", "fp32"),
    }


def test_without_openvino_the_remedy_is_named(package, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(HemlineError, match=r"pip install 'hemline\[openvino\]'"):
        package.run_by(INT8).load_network()


def test_nothing_is_reported_to_its_makers(package) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from components.registry.package import Inference, read_package\n"
        "package = read_package(Path(sys.argv[1])).run_by(Inference('openvino', 'int8'))\n"
        "package.load_network()\n"
        "from openvino.tools import ovc\n"
        "print(type(ovc.telemetry).__module__, sys.modules['openvino_telemetry'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(package.folder)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-2:] == ["openvino.tools.ovc.telemetry_stub", "None"]
