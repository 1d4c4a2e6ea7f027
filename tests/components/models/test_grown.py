"""A grown network: what it knew keeps its bits, what was added is a linear probe of the maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
import torch
from comparison import randomise
from small_network import (
    EMBEDDING_DIM,
    NUM_ATTRIBUTES,
    NUM_VALUES,
    THIRD_STAGE_WIDTH,
    TIMM_WIDTHS,
    build,
    random_images,
)
from torch import Tensor, nn

from components.attributes import Attribute, AttributeSchema
from components.errors import HemlineError
from components.images.transforms import normalise
from components.models import csn
from components.models.backbones import build_backbone
from components.models.grown import (
    GrownAttentionNetwork,
    GrownNetwork,
    LinearProbe,
    ProbeShape,
    grown_network,
)
from components.models.network import AttentionNetwork, BackboneNetwork, EmbeddingNetwork
from components.networks import GROWABLE, NETWORK_PARTS
from components.registry import pt2
from components.registry.graph import Embedder, read_weights, write_package
from components.registry.package import NETWORK_FILE, read_package
from components.training.trained import rebuild

torch.set_num_threads(1)

KNOWN = ["length", "collar", "sleeve", "hem", "colour"]
GRID_SIZES = {"pattern": 3, "season": 6, "age": 3}
OUTPUTS = {"pattern": 3, "season": EMBEDDING_DIM, "age": 1}
SCHEMAS = {
    "behind": [*KNOWN, "pattern", "season"],
    "before": ["pattern", "season", *KNOWN],
    "between": ["length", "pattern", "collar", "sleeve", "season", "hem", "colour"],
    "one left out": ["length", "pattern", "sleeve", "colour"],
    "in another order": ["colour", "season", "length", "age", "hem", "collar", "sleeve"],
    "one of the old left": ["pattern", "hem"],
    "none of the old left": ["season", "pattern"],
}
CASES: list[tuple[str, dict[str, object]]] = [
    *((name, {}) for name in GROWABLE),
    ("ag_man", {"hierarchical": False}),
    ("ag_man", {"asa": False, "sa": False, "ca": False}),
    ("ag_man", {"classification": False, "aca": "none"}),
    ("csn", {"masks": "fixed"}),
]
QUICK = [("ag_man", {}), ("csn", {})]  # to be exported
PRECISIONS = ["fp32", "bf16"]
ROUNDING = {"fp32": 2e-5, "bf16": 3e-2}  # of vectors of length 1, sums over hundreds of features
SUMS = {"fp32": 1e-6, "bf16": 1e-2}  # a map's weights have the precision of the features


def case_id(case: object) -> str:
    return "-".join(f"{k}={v}" for k, v in case.items()) if isinstance(case, dict) else str(case)


def parent_of(name: str, **parts: object) -> BackboneNetwork:
    """Returns a network that knows the attributes `KNOWN`, as it is exported."""
    network = randomise(build(name, normalise_features=True, **parts)).float().for_inference()
    assert isinstance(network, BackboneNetwork)
    return network


def shape_of(name: str, network: BackboneNetwork) -> ProbeShape:
    """Returns the shape of an attribute's probe: grids differ from one to the next."""
    _, pyramid = network.with_pyramid(torch.zeros(1, 3, 32, 32))
    grid_size = GRID_SIZES[name]
    num_features = grid_size**2 * sum(each.shape[1] for each in pyramid)
    return ProbeShape(grid_size, num_features, OUTPUTS[name])


def dim_of(network: BackboneNetwork) -> int:
    return network(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, dtype=torch.int64)).shape[-1]


def grow(network: BackboneNetwork, names: Sequence[str], *, seed: int = 6) -> GrownNetwork:
    """Returns a network grown to these attributes; an attribute's probe depends on the seed."""
    grown = grown_network(
        network,
        names=names,
        known=KNOWN,
        probes={name: shape_of(name, network) for name in names if name not in KNOWN},
        embedding_dim=dim_of(network),
    ).eval()
    for name, probe in grown.probes_by_name(names).items():
        generator = torch.Generator().manual_seed(seed + [*OUTPUTS].index(name))
        for tensor in probe.parameters():
            tensor.data.copy_(torch.randn(tensor.shape, generator=generator))
    return grown


@dataclass(frozen=True)
class Family:
    """A network, and images that it is asked about."""

    parent: BackboneNetwork
    precision: str

    @cached_property
    def images(self) -> Tensor:
        images = random_images(3, 3, 64, 96, dtype=torch.float32)
        return images.contiguous(memory_format=torch.channels_last)

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16")

    @cached_property
    def all_known(self) -> Tensor:
        """What the parent gives for all of its own attributes [B, M, D]."""
        asked_BM = torch.arange(NUM_ATTRIBUTES).expand(len(self.images), -1)
        with torch.inference_mode(), self.autocast():
            return self.parent(self.images, asked_BM)

    @cached_property
    def maps_of_known(self) -> Tensor:
        """Where the parent looks for all of its own attributes [B, M, H, W]."""
        assert isinstance(self.parent, AttentionNetwork)
        asked_BM = torch.arange(NUM_ATTRIBUTES).expand(len(self.images), -1)
        with torch.inference_mode(), self.autocast():
            return self.parent.forward_with_maps(self.images, asked_BM)[1]

    def ask(self, network: EmbeddingNetwork, asked_BK: Tensor) -> Tensor:
        with torch.inference_mode(), self.autocast():
            return network(self.images, asked_BK)

    def cells(self, probe: LinearProbe, row: int) -> Tensor:
        """Returns the means of a probe's cells, of all maps that the backbone leaves [C, G, G]."""
        with torch.inference_mode(), self.autocast():
            _, pyramid = self.parent.with_pyramid(self.images)
        size = probe.shape.grid_size
        return torch.cat([cells_of(each[[row]].double(), size)[0] for each in pyramid])


def cells_of(map_BCHW: Tensor, size: int) -> Tensor:
    """Returns the mean of each cell of a grid, one after the other [B, C, G, G].

    A cell begins at the pixel in which its share of the side begins, and ends with that in which
    it ends: cells overlap where the side is no multiple of their number.
    """
    height, width = map_BCHW.shape[2:]
    rows = []
    for i in range(size):
        top, bottom = i * height // size, math.ceil((i + 1) * height / size)
        row = []
        for j in range(size):
            left, right = j * width // size, math.ceil((j + 1) * width / size)
            row.append(map_BCHW[:, :, top:bottom, left:right].mean(dim=(2, 3)))
        rows.append(torch.stack(row, dim=-1))
    return torch.stack(rows, dim=-2)


def vector_by_cells(cells_CGG: Tensor, probe: LinearProbe) -> Tensor:
    """Returns the sum over cells and channels of what each adds, and of the bias [V]."""
    vector_V = probe.linear.bias.detach().double()
    size = probe.shape.grid_size
    for i in range(size):
        for j in range(size):
            vector_V = vector_V + added_by(cells_CGG, probe, i, j)
    return vector_V


def added_by(cells_CGG: Tensor, probe: LinearProbe, row: int, column: int) -> Tensor:
    """Returns what a cell adds to the vector [V]; of each channel, weights stand cell by cell."""
    weights_VF = probe.linear.weight.detach().double()
    size = probe.shape.grid_size
    return weights_VF[:, size * row + column :: size**2] @ cells_CGG[:, row, column]


def embedding_by_cells(cells_CGG: Tensor, probe: LinearProbe, *, dim: int) -> Tensor:
    vector_V = vector_by_cells(cells_CGG, probe)
    embedding_D = torch.zeros(dim, dtype=torch.float64)
    embedding_D[: len(vector_V)] = vector_V / vector_V.norm()
    return embedding_D


def same_bits(found: Tensor, expected: Tensor) -> bool:
    """Returns whether numbers are the same to the bit; 0 and -0 are not."""
    found, expected = (each.contiguous().view(torch.int32) for each in (found, expected))
    return torch.equal(found, expected)


def asked_of(names: Sequence[str], num_images: int) -> dict[str, Tensor]:
    """Returns what may be asked [B, K]: all, each alone, and other ones of every image."""
    every, generator = torch.arange(len(names)), torch.Generator().manual_seed(8)
    return {
        "all": every.expand(num_images, -1),
        "backwards, twice": every.flip(0).repeat(2).expand(num_images, -1),
        **{name: every[n : n + 1].expand(num_images, -1) for n, name in enumerate(names)},
        "a mix": torch.randint(len(names), (num_images, 5), generator=generator),
        "one of each": torch.randint(len(names), (num_images, 1), generator=generator),
    }


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(case_id, case)))
def parent(request) -> BackboneNetwork:
    name, parts = request.param
    return parent_of(name, **parts)


@pytest.fixture(scope="module", params=PRECISIONS)
def family(request, parent) -> Family:
    return Family(parent, request.param)


@pytest.mark.parametrize("names", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_what_it_knew_has_the_parents_bits_and_what_is_new_the_probes(family, names):
    """However many attributes are asked, in whatever order, and another one of every image."""
    grown = grow(family.parent, names)
    probes = grown.probes_by_name(names)
    dim = family.all_known.shape[-1]
    expected = {
        (row, name): embedding_by_cells(family.cells(probe, row), probe, dim=dim)
        for row in range(len(family.images))
        for name, probe in probes.items()
    }
    probed = family.ask(grown, torch.arange(len(names)).expand(len(family.images), -1))
    for case, asked_BK in asked_of(names, len(family.images)).items():
        found = family.ask(grown, asked_BK)
        assert found.shape == (*asked_BK.shape, dim)
        assert found.dtype == torch.float32
        for row, asked_K in enumerate(asked_BK.tolist()):
            for place, number in enumerate(asked_K):
                name, embedding = names[number], found[row, place]
                if name in KNOWN:
                    assert same_bits(embedding, family.all_known[row, KNOWN.index(name)]), case
                    continue
                assert same_bits(embedding, probed[row, number]), "whatever else is asked"
                far = (embedding - expected[row, name]).norm()
                assert far < ROUNDING[family.precision], (case, name)
                assert not embedding[OUTPUTS[name] :].any(), "zeros fill the embedding"


def test_the_precisions_differ(parent):
    """Otherwise bits would be compared in one precision twice."""
    first, second = (Family(parent, precision) for precision in PRECISIONS)
    assert not torch.equal(first.all_known, second.all_known)
    grown = grow(parent, ["pattern"])
    asked = torch.zeros(3, 1, dtype=torch.int64)
    assert not torch.equal(first.ask(grown, asked), second.ask(grown, asked))


def test_embeddings_have_unit_length(family):
    names = SCHEMAS["between"]
    every_BN = torch.arange(len(names)).expand(len(family.images), -1)
    lengths = family.ask(grow(family.parent, names), every_BN).double().norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=0, atol=1e-6)


def test_no_gradient_is_needed_for_the_bits(family):
    """In inference mode, without gradients, and with them: the network was exported with them."""
    grown = grow(family.parent, SCHEMAS["between"])
    asked_BK = asked_of(SCHEMAS["between"], 3)["a mix"]
    inferred = family.ask(grown, asked_BK)
    with family.autocast():
        learned = grown(family.images, asked_BK)
        with torch.no_grad():
            evaluated = grown(family.images, asked_BK)
    assert learned.requires_grad
    assert torch.equal(inferred, evaluated)
    assert torch.equal(inferred, learned)


def test_grown_twice_it_keeps_what_it_was_grown_by_before(family):
    first_names = ["length", "pattern", *KNOWN[1:]]
    first = grow(family.parent, first_names)
    second_names = ["age", *KNOWN[::-1], "pattern", "season"]
    second = grow(family.parent, second_names, seed=99)
    probes = second.probes_by_name(second_names)
    probes["pattern"].load_state_dict(first.probes_by_name(first_names)["pattern"].state_dict())
    before = family.ask(first, torch.arange(len(first_names)).expand(3, -1))
    after = family.ask(second, torch.arange(len(second_names)).expand(3, -1))
    for number, name in enumerate(first_names):
        assert same_bits(after[:, second_names.index(name)], before[:, number])
    third_names = [name for name in second_names if name not in ("pattern", "hem")]
    third = grow(family.parent, third_names, seed=99)
    left = family.ask(third, torch.arange(len(third_names)).expand(3, -1))
    for number, name in enumerate(third_names):
        assert same_bits(left[:, number], after[:, second_names.index(name)])
    assert "pattern" not in third.probes_by_name(third_names)


def test_a_grown_attribute_looks_where_its_vector_comes_from(family):
    """A cell's weight is the projection on the vector of what the cell adds to it."""
    names = SCHEMAS["between"]
    grown = grow(family.parent, names)
    if not isinstance(grown, GrownAttentionNetwork):
        assert isinstance(family.parent, csn.CSN), "it does not look anywhere"
        assert not isinstance(grown, AttentionNetwork)
        return
    for asked_BK in asked_of(names, 3).values():
        with torch.inference_mode(), family.autocast():
            embeddings, maps_BKHW = grown.forward_with_maps(family.images, asked_BK)
            alone_BKHW = grown.spatial_attention(family.images, asked_BK)
        assert torch.equal(embeddings, family.ask(grown, asked_BK))
        assert torch.equal(maps_BKHW, alone_BKHW)
        for row, asked_K in enumerate(asked_BK.tolist()):
            for place, number in enumerate(asked_K):
                name, found_HW = names[number], maps_BKHW[row, place]
                if name in KNOWN:
                    assert same_bits(found_HW, family.maps_of_known[row, KNOWN.index(name)])
                    continue
                probe = grown.probes_by_name(names)[name]
                expected_HW = map_by_cells(family.cells(probe, row), probe, shape=found_HW.shape)
                assert (found_HW - expected_HW).abs().sum() < 3 * ROUNDING[family.precision]
                assert abs(float(found_HW.sum()) - 1) < SUMS[family.precision]


def map_by_cells(cells_CGG: Tensor, probe: LinearProbe, *, shape: Sequence[int]) -> Tensor:
    """Returns the share of the vector's length from the cells that each position meets [H, W]."""
    height, width = shape
    vector_V = vector_by_cells(cells_CGG, probe)
    map_HW = torch.zeros(height, width, dtype=torch.float64)
    size = probe.shape.grid_size
    for y in range(height):
        for x in range(width):
            met = [
                (added_by(cells_CGG, probe, i, j) @ vector_V / vector_V.norm()).clamp(min=0)
                for i in range(y * size // height, math.ceil((y + 1) * size / height))
                for j in range(x * size // width, math.ceil((x + 1) * size / width))
            ]
            map_HW[y, x] = torch.stack(met).mean()
    return map_HW / map_HW.sum()


def test_the_cells_and_the_bias_add_up_to_the_vectors_length():
    probe = LinearProbe(ProbeShape(3, 2 * 9, 4), 6).double()
    features_BF = random_images(5, 2 * 9)
    shares_B33 = probe.contributions(features_BF)
    vectors_BV = features_BF @ probe.linear.weight.T + probe.linear.bias
    lengths_B = vectors_BV.norm(dim=1)
    of_bias_B = (vectors_BV / lengths_B[:, None]) @ probe.linear.bias
    torch.testing.assert_close(shares_B33.sum(dim=(1, 2)) + of_bias_B, lengths_B)


def test_where_no_cell_adds_to_the_vector_the_map_is_zero():
    family = Family(parent_of("asen"), "fp32")
    grown = grow(family.parent, ["pattern"])
    nn.init.zeros_(grown.probes_by_name(["pattern"])["pattern"].linear.weight)
    with torch.inference_mode():
        _, maps = grown.forward_with_maps(family.images, torch.zeros(3, 1, dtype=torch.int64))
    assert not maps.any()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        pytest.param(name, parts, marks=[] if case in QUICK else pytest.mark.slow)
        for case in CASES
        for name, parts in [case]
    ],
    ids=case_id,
)
def test_the_graph_gives_the_networks_bits_for_other_batches_and_attributes(name, parts, tmp_path):
    """And of what it knew, those of the parent's graph, which is asked for all."""
    parent, names = parent_of(name, **parts), SCHEMAS["between"]
    grown = grow(parent, names)
    exported = graph_of(grown, tmp_path / "grown", names)
    of_parent = graph_of(parent, tmp_path / "parent", KNOWN)
    served = pt2.load(tmp_path / "grown" / NETWORK_FILE, "cpu")
    assert isinstance(served, pt2.Graph), "torch.export had to read it"
    generator = torch.Generator().manual_seed(3)
    for num_images, num_asked in [(1, 1), (1, 9), (5, 1), (3, 7), (2, 2)]:
        pixels = torch.randint(0, 256, (num_images, 64, 64, 3), generator=generator).byte()
        shape = (num_images, num_asked)
        asked_BK = torch.randint(0, len(names), shape, generator=generator)
        every_BM = torch.arange(len(KNOWN)).expand(num_images, -1)
        for precision in PRECISIONS:
            with torch.inference_mode(), Family(parent, precision).autocast():
                found = exported.graph(pixels, asked_BK)
                again = served(pixels, asked_BK)
                known_BMD = of_parent(pixels, every_BM)
                images = normalise(pixels, grown.pixel_statistics)
                expected = getattr(grown, "forward_with_maps", grown)(images, asked_BK)
            assert_equal(found, expected)
            assert_equal(found, again)
            embeddings = found if isinstance(found, Tensor) else found[0]
            for row, asked_K in enumerate(asked_BK.tolist()):
                for place, number in enumerate(asked_K):
                    if names[number] in KNOWN:
                        known_D = known_BMD[row, KNOWN.index(names[number])]
                        assert same_bits(embeddings[row, place], known_D)


def assert_equal(found: Tensor | tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...]) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def graph_of(network: EmbeddingNetwork, folder: Path, names: Sequence[str]) -> Embedder:
    write_package(network, folder, schema=schema_of(names), image_size_px=64)
    return read_package(folder).load_network()


def schema_of(names: Sequence[str]) -> AttributeSchema:
    values = dict(zip(KNOWN, NUM_VALUES, strict=True)) | OUTPUTS
    return AttributeSchema(
        dataset="made up",
        attributes=tuple(
            Attribute(name=name, values=tuple(f"{name} {n}" for n in range(values[name])))
            for name in names
        ),
    )


def description_of(name: str, **parts: object) -> dict[str, object]:
    """Returns the section `model` that `build` builds from."""
    return {
        "name": name,
        "backbone": "tiny",
        "weights": "somewhere.pth",  # never looked for
        "pixel_mean": [0.1, 0.2, 0.3],
        "pixel_std": [0.4, 0.5, 0.6],
        "embedding_dim": THIRD_STAGE_WIDTH if name == "asen_v2" else EMBEDDING_DIM,
        "attention_dim": 8,
        "normalise_features": True,
        "bilinear_dim": 64,
        "landmark_channels": 16,
        **dict.fromkeys({part for parts in NETWORK_PARTS.values() for part in parts}),
        **({"num_hourglasses": 2} if name == "ahbn" else {}),
        **parts,
    }


@pytest.mark.parametrize("name", NETWORK_PARTS)
def test_a_network_is_built_again_with_and_without_what_only_training_needs(name):
    network = randomise(build(name, normalise_features=True)).float()
    schema = replace(schema_of(KNOWN), landmarks=("left", "right", "middle"))
    images = random_images(2, 3, 32, 32, dtype=torch.float32)
    asked = torch.arange(NUM_ATTRIBUTES).expand(2, -1)
    for each in (network, network.for_inference()):
        again = rebuild({"model": description_of(name)}, schema, each.state_dict())
        assert not again.training
        assert again.state_dict().keys() == each.state_dict().keys()
        assert torch.equal(again(images, asked), network(images, asked))
        assert again.pixel_statistics == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_grown_network_is_built_again(parent, request):
    name, parts = request.node.callspec.params["parent"]
    names = SCHEMAS["in another order"]
    grown = grow(parent, names)
    description = {
        "model": description_of(name, **parts),
        "grown": {
            "parent": "0" * 64,
            "known": KNOWN,
            "probes": {
                name: shape_of(name, parent)._asdict() for name in names if name not in KNOWN
            },
        },
    }
    again = rebuild(description, schema_of(names), grown.state_dict())
    assert not again.training
    assert isinstance(again, GrownNetwork)
    assert again.state_dict().keys() == grown.state_dict().keys()
    images = random_images(2, 3, 32, 32, dtype=torch.float32)
    asked = torch.arange(len(names)).expand(2, -1)
    assert torch.equal(again(images, asked), grown(images, asked))
    assert again.pixel_statistics == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_grown_network_is_built_again_from_its_graph(tmp_path):
    """As `hemline grow` takes a version; there are no more weights in it than the graph's."""
    parent, names = parent_of("ag_mlan"), SCHEMAS["one left out"]
    grown = grow(parent, names)
    graph_of(grown, tmp_path, names)
    probes = {"pattern": shape_of("pattern", parent)._asdict()}
    description = {
        "model": description_of("ag_mlan"),
        "grown": {"known": KNOWN, "probes": probes},
    }
    weights = read_weights(tmp_path / NETWORK_FILE)
    again = rebuild(description, schema_of(names), weights)
    for key, tensor in grown.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key
    assert not any("classifier" in key for key in weights)


@pytest.mark.parametrize("name", ["triplet_network", "fashionsearchnet_v2", "ahbn"])
def test_other_networks_are_refused_with_the_reason(name):
    network = build(name)
    why = "one embedding for all attributes" if name == "triplet_network" else "values and items"
    with pytest.raises(HemlineError, match=rf"(?s){why}.*can be grown are ag_man, .*csn"):
        grown_network(
            network,
            names=["pattern"],
            known=KNOWN,
            probes={"pattern": ProbeShape(grid_size=3, num_features=9, num_outputs=2)},
            embedding_dim=EMBEDDING_DIM,
        )


BACKBONES = ("tiny", "resnet18", "alexnet", "convnext_tiny", "efficientnet_v2_s", *TIMM_WIDTHS)


@pytest.mark.parametrize("name", BACKBONES)
@torch.inference_mode()
def test_the_pyramid_has_the_last_map_of_each_size(name):
    torch.manual_seed(4)
    backbone = build_backbone(name, weights="none").eval()
    images = random_images(2, 3, 128, 128, dtype=torch.float32)
    mid, third = backbone(images)
    (mid_again, third_again), pyramid = backbone.with_pyramid(images)
    assert torch.equal(mid, mid_again)
    assert torch.equal(third, third_again)
    assert_pyramid(pyramid, [*backbone.to_second_stage, *backbone.third_stage], images)
    assert torch.equal(pyramid[-1], third)


@pytest.mark.parametrize("name", BACKBONES)
@torch.inference_mode()
def test_csn_has_the_last_stages_map_too(name):
    network = build("csn", backbone=name).eval()
    backbone = network.backbone
    images = random_images(2, 3, 128, 128, dtype=torch.float32)
    maps, pyramid = network.with_pyramid(images)
    assert all(map(torch.equal, maps, network.maps(images)))
    blocks = [*backbone.to_second_stage, *backbone.third_stage, *backbone.last_stage]
    assert_pyramid(pyramid, blocks, images)
    assert torch.equal(network.features_of(maps), network.features(images))


def assert_pyramid(pyramid: Sequence[Tensor], blocks: Sequence[nn.Module], images: Tensor) -> None:
    """Runs blocks one after the other and keeps, of each size, what came last."""
    last_of_size, found = {}, images
    for block in blocks:
        found = block(found)
        last_of_size[found.shape[2:]] = found
    expected = [*last_of_size.values()]
    assert [each.shape for each in pyramid] == [each.shape for each in expected]
    assert all(map(torch.equal, pyramid, expected))
    assert len({each.shape[-1] for each in pyramid}) == len(pyramid)
