"""Growing: what is new is found and what was known stays; what cannot be grown is refused."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import growing
import numpy as np
import pyarrow as pa
import pytest
import torch
from builders import flip_a_bit, splits_table
from growing import (
    NAMES,
    NUM_IMAGES,
    NUM_TRAIN,
    OLD,
    PARAMS,
    SMALL,
    Line,
    Row,
    new_line,
    rows_of,
    store_pictures,
    value_of,
)
from safetensors.torch import load_file

from components import files
from components.errors import HemlineError
from components.models.grown import GrownNetwork
from components.models.network import EmbeddingNetwork
from components.tables import PARENT_VERSION
from components.training import growth
from components.training.growth import (
    MIN_LABELS,
    check_labels,
    grow,
    plan_growth,
    read_parent,
)
from components.training.state import BEST_WEIGHTS
from components.training.trained import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    TrainedModel,
    read_trained_model,
)

torch.set_num_threads(1)

IMAGES = np.arange(NUM_IMAGES)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """A project with a version that knows collar and sleeve, and one grown by hem and pattern."""
    line = new_line(tmp_path_factory.mktemp("line"))
    line.new_parent(1)
    line.grow(1, into=2)
    return line


@pytest.fixture
def copied(line: Line, tmp_path: Path) -> Line:
    """A copy to change."""
    shutil.copytree(line.folder, tmp_path / "line")
    return Line(folder=tmp_path / "line")


def embed(model: TrainedModel, line: Line) -> dict[str, torch.Tensor]:
    """Returns the embeddings of all images for each attribute [n, D], as it is asked for all."""
    pixels = torch.from_numpy(line.store.gather(IMAGES))
    every = torch.arange(len(model.schema.names)).expand(len(pixels), -1)
    with torch.inference_mode():
        embeddings = model.embed(pixels, every)
    return {name: embeddings[:, n] for n, name in enumerate(model.schema.names)}


def read(line: Line, number: int) -> TrainedModel:
    return read_trained_model(line.version(number))


def precision_of_nearest(embeddings: torch.Tensor, name: str) -> float:
    """Returns how often the nearest training image of a held-out one has its value of a name."""
    nearest = (embeddings[NUM_TRAIN:] @ embeddings[:NUM_TRAIN].T).argmax(dim=1).tolist()
    pairs = zip(range(NUM_TRAIN, NUM_IMAGES), nearest, strict=True)
    agree = [value_of(image, name) == value_of(other, name) for image, other in pairs]
    return sum(agree) / len(agree)


def test_what_is_new_is_found_in_its_own_space_and_what_was_known_stays(line):
    before, after = embed(read(line, 1), line), embed(read(line, 2), line)
    for name in OLD:
        assert torch.equal(after[name], before[name])
    for name in ("hem", "pattern"):
        assert precision_of_nearest(after[name], name) > 0.9
        for other in NAMES:
            if other != name:
                assert precision_of_nearest(after[other], name) < 0.6  # at random: 1 of 3


def test_the_row_of_the_curve_is_of_the_new_attributes_alone(copied):
    """What is measured is what the stage logs: MAP of both, on the validation split."""
    logged = []
    grown = grow(
        copied.plan(),
        PARAMS,
        folder=copied.folder / "state",
        log=lambda metrics, *, step, kind: logged.append((metrics, step, kind)),
    )
    assert grown.row["epoch"] == 0
    assert grown.row["valid_map"] > 90
    assert 30 < grown.row["valid_random_map"] < 60
    assert grown.row["valid_gain_low"] > 80
    ((metrics, step, kind),) = logged
    assert (step, kind) == (0, "epoch")
    assert {**metrics, "epoch": 0} == grown.row
    copied.label(["collar", "hem", "sleeve"])
    alone = copied.grow(1, into=3).row
    assert alone["valid_map"] > 90
    assert alone["valid_random_map"] != grown.row["valid_random_map"]


def test_the_text_says_how_many_images_teach_what(copied):
    assert copied.plan().text == (
        f"models:/hemline/1 is grown, which adds hem ({NUM_TRAIN} training images), pattern "
        f"({NUM_TRAIN} training images)"
    )
    copied.label(["collar", "hem"], [row for row in rows_of(["collar", "hem"]) if row[0] != 5])
    plan = copied.plan()
    assert plan.text == (
        f"models:/hemline/1 is grown, which adds hem ({NUM_TRAIN - 1} training images) and leaves "
        "out sleeve"
    )
    assert plan.images(plan.new).tolist() == [image for image in range(NUM_TRAIN) if image != 5]
    copied.label(["sleeve"])
    assert copied.plan().text == "models:/hemline/1 is grown, which leaves out collar"
    copied.label(OLD)
    assert copied.plan().text == "models:/hemline/1 is grown, which changes nothing"


def test_nothing_new_is_the_same_network_with_what_is_left(copied):
    copied.label(OLD[::-1])
    assert copied.grow(1, into=3).row == {"epoch": 0}
    copied.label(["sleeve"])
    copied.grow(1, into=4)
    before = embed(read(copied, 1), copied)
    for number, names in ((3, OLD[::-1]), (4, ["sleeve"])):
        model = read(copied, number)
        after = embed(model, copied)
        assert model.schema.names == names == [*after]
        for name in names:
            assert torch.equal(after[name], before[name])


def probes_of(model: TrainedModel) -> dict[str, dict[str, torch.Tensor]]:
    assert isinstance(model.network, GrownNetwork)
    probes = model.network.probes_by_name(model.schema.names)
    return {name: probe.state_dict() for name, probe in probes.items()}


def frozen_of(network: EmbeddingNetwork) -> dict[str, torch.Tensor]:
    own = network.network if isinstance(network, GrownNetwork) else network
    return own.state_dict()


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_grown_twice_it_is_what_it_is_grown_at_once(copied):
    """In whatever order; the probes' bits too, and so those of the embeddings."""
    copied.label([*OLD, "pattern"])
    copied.grow(1, into=3)
    copied.label(["hem", "sleeve", "pattern", "collar"])
    copied.grow(3, into=4)
    at_once, twice = read(copied, 2), read(copied, 4)
    for name in ("hem", "pattern"):
        assert_same(probes_of(twice)[name], probes_of(at_once)[name])
    assert_same(frozen_of(twice.network), frozen_of(read(copied, 1).network))
    found, expected = embed(twice, copied), embed(at_once, copied)
    for name in NAMES:
        assert torch.equal(found[name], expected[name])


def test_a_grown_attribute_that_is_left_out_is_gone_and_the_others_stay(copied):
    """What grew the network first is said of it: the graph of its parent, and what that knew."""
    copied.label(["pattern", "collar"])
    grown = copied.grow(2, into=3)
    before, after = (embed(read(copied, number), copied) for number in (2, 3))
    for name in ("pattern", "collar"):
        assert torch.equal(after[name], before[name])
    graph = files.read_json(copied.version(2) / PARENT_VERSION)["graph_sha256"]
    num_features = 36 * (
        16 + 24 + 32
    )  # of the tiny backbone's maps of a half, a quarter, an eighth
    shape = {"grid_size": 6, "num_features": num_features, "num_outputs": 3}
    assert grown.description["grown"] == {
        "parent": graph,
        "known": OLD,
        "probes": {"pattern": shape},
    }
    assert [*probes_of(read(copied, 3))] == ["pattern"]
    copied.label(["collar", "hem", "pattern"])
    copied.grow(3, into=4)
    regrown = embed(read(copied, 4), copied)["hem"]
    assert torch.equal(regrown, before["hem"]), "by the same labels it is the same"


def test_what_the_network_knew_and_was_left_out_is_grown_by_its_labels_of_now(copied):
    """Not taken from the network: labels may mean something else by then, and their values too."""
    copied.label(["collar", "hem"])
    copied.grow(1, into=3)
    now = [
        (image, number, value_of(image, "pattern") if number == 2 else value, split, role)
        for image, number, value, split, role in rows_of(["hem", "collar", "sleeve"])
    ]
    copied.label(["hem", "collar", "sleeve"], now)
    assert copied.plan(3).new == ["sleeve"]
    grown = copied.grow(3, into=4)
    assert grown.description["grown"]["known"] == ["collar", None]
    assert grown.row["valid_map"] > 90
    first, last = embed(read(copied, 1), copied), embed(read(copied, 4), copied)
    assert torch.equal(last["collar"], first["collar"])
    assert precision_of_nearest(last["sleeve"], "pattern") > 0.9
    copied.label(["sleeve", "pattern", "hem"])
    grown = copied.grow(4, into=5)
    assert grown.description["grown"]["known"] == ["collar", None]
    after = embed(read(copied, 5), copied)
    for name in ("sleeve", "hem"):
        assert torch.equal(after[name], last[name])
    copied.label(["sleeve", "collar"])
    assert copied.grow(5, into=6).description["grown"]["known"] == [None, None]


def test_labels_change_their_own_attribute_alone(copied):
    rows = [
        (image, number, value, split, role)
        for image, number, value, split, role in rows_of(NAMES)
        if NAMES[number] != "hem" or split != "train" or image % 4
    ]
    copied.label(NAMES, rows)
    copied.grow(1, into=3)
    found, expected = probes_of(read(copied, 3)), probes_of(read(copied, 2))
    assert_same(found["pattern"], expected["pattern"])
    assert not torch.equal(found["hem"]["linear.weight"], expected["hem"]["linear.weight"])


@pytest.mark.parametrize("name", ["ag_mlan", "asen", "asen_v2", "attn_fashion", "csn"])
def test_other_networks_grow_too(name, tmp_path):
    """A CSN by what its last stage's map says, too."""
    line = new_line(tmp_path)
    model = replace(SMALL, name=name, embedding_dim=32 if name == "asen_v2" else 16)
    line.new_parent(1, model=model)
    growth = line.plan(model=model)
    grown = grow(growth, PARAMS, folder=tmp_path / "state", log=lambda *_, **__: None)
    assert grown.row["valid_map"] > 90
    of_maps = [16, 24, 32, 40] if name == "csn" else [16, 24, 32]
    assert grown.description["grown"]["probes"]["hem"]["num_features"] == 36 * sum(of_maps)


def test_more_values_than_dimensions_are_found(tmp_path):
    line, model = new_line(tmp_path), replace(SMALL, name="asen", embedding_dim=2)
    line.new_parent(1, model=model)
    growth = line.plan(model=model)
    grown = grow(growth, PARAMS, folder=tmp_path / "state", log=lambda *_, **__: None)
    shapes = grown.description["grown"]["probes"]
    assert {name: shape["num_outputs"] for name, shape in shapes.items()} == {
        "hem": 2,
        "pattern": 2,
    }
    assert grown.row["valid_map"] > 90


class KilledError(BaseException):
    """Stands for the end of the process."""


def test_killed_and_started_again_it_writes_the_same_bytes(copied, monkeypatch):
    """In the middle of the features, before the weights are there, and before they are measured."""
    expected = (copied.folder / "state-1-2" / BEST_WEIGHTS).read_bytes()
    plan, folder = copied.plan(), copied.folder / "killed"

    def run(on_progress: Callable[[int], None] = print) -> None:
        grow(plan, PARAMS, folder=folder, log=lambda *_, **__: None, on_progress=on_progress)

    def kill(*_: object, **__: object) -> None:
        raise KilledError

    done: list[int] = []

    def kill_in_the_middle(num_images: int) -> None:
        done.append(num_images)
        if sum(done):
            raise KilledError

    with pytest.raises(KilledError):
        run(kill_in_the_middle)
    assert done == [0, 32]
    for name in ("fit_probe", "save_weights", "validate"):
        assert not (folder / BEST_WEIGHTS).exists()
        with monkeypatch.context() as patch:
            patch.setattr(growth, name, kill)
            with pytest.raises(KilledError):
                run()
    assert (folder / BEST_WEIGHTS).read_bytes() == expected
    (folder / BEST_WEIGHTS).unlink()
    again: list[int] = []
    run(again.append)
    assert again == [NUM_TRAIN]
    assert (folder / BEST_WEIGHTS).read_bytes() == expected


def test_precision_is_that_of_the_params(copied):
    """Features of bfloat16 are others, by which attributes are found as well."""
    plan, state = copied.plan(), copied.folder / "bf16"
    params = replace(PARAMS, precision="bf16")
    row = grow(plan, params, folder=state, log=lambda *_, **__: None).row
    assert row["valid_map"] > 90
    weights = [load_file(folder / BEST_WEIGHTS) for folder in (state, state.parent / "state-1-2")]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]) == name.startswith("network.")


def test_a_version_that_is_not_there_is_refused(copied):
    graph = files.read_json(copied.version(1) / PARENT_VERSION)["graph_sha256"]
    assert read_parent(copied.version(1), graph).uri == "models:/hemline/1"
    with pytest.raises(
        HemlineError, match=r"version-9 has none: `dvc checkout \S*version-9\.dvc` .*hemline grow"
    ):
        read_parent(copied.version(9), graph)
    with pytest.raises(
        HemlineError,
        match=rf"version-1 holds models:/hemline/1, whose graph is {graph[:12]}, and train\.parent "
        "names 000000000000: .*train.parent null",
    ):
        read_parent(copied.version(1), "0" * 64)
    flip_a_bit(copied.version(1) / WEIGHTS_FILE)
    with pytest.raises(HemlineError, match=r"weights\.safetensors is damaged"):
        read_parent(copied.version(1), graph)


def test_other_images_are_refused(copied):
    store = copied.inputs.store.local()
    store_pictures(store, crop="box")
    with pytest.raises(HemlineError, match=r"models:/hemline/1 sees pictures with crop centre, .*"):
        copied.plan()
    store_pictures(store, image_size_px=32)
    with pytest.raises(
        HemlineError,
        match=r"takes images of 64 px, and the store has 32: set preprocess\.image_size_px 64",
    ):
        copied.plan()


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding_dim": 32},
        {"name": "asen"},
        {"backbone": "resnet18"},
        {"normalise_features": False},
        {"hierarchical": False},
        {"aca": "concatenation"},
    ],
    ids=str,
)
def test_another_network_than_the_versions_is_refused(line, changes):
    ((key, value),) = changes.items()
    was = getattr(SMALL, key)
    with pytest.raises(
        HemlineError,
        match=rf"model\.{key} is {value}, and models:/hemline/1 has {was}, .*: set it to {was}, or",
    ):
        line.plan(model=replace(SMALL, **changes))


def test_what_the_weights_were_before_is_none_of_its_business(line):
    """They may be a file that is gone; and pixels are normalised as the version's are."""
    model = replace(SMALL, weights="gone.pth", pixel_mean=[0.1] * 3, pixel_std=[0.9] * 3)
    assert line.plan(model=model).new == ["hem", "pattern"]


def test_a_version_of_a_hemline_that_had_other_keys_is_compared_by_what_both_have(copied):
    path = copied.version(1) / DESCRIPTION_FILE
    content = files.read_json(path)
    del content["model"]["ca"]
    content["model"]["new_here"] = 7
    files.write_json(content, path)
    parent = replace(copied.read(2), description={"model": content["model"]})
    model = replace(SMALL, ca=False)
    assert plan_growth(parent, copied.inputs, model, flip_probability=0).new == []


@pytest.mark.parametrize("name", ["triplet_network", "fashionsearchnet_v2", "ahbn"])
def test_networks_that_cannot_be_grown_are_refused(name, tmp_path):
    parts = {"branches": "attribute"} if name == "ahbn" else {}
    line, model = new_line(tmp_path), replace(SMALL, name=name, **parts)
    line.new_parent(1, model=model)
    why = "one embedding for all" if name == "triplet_network" else "built for the values and items"
    with pytest.raises(HemlineError, match=rf"^{name} .*{why}.*: networks that can be grown are"):
        line.plan(model=model)


def only(rows: list[Row], keep: Callable[..., bool]) -> list[Row]:
    """Returns the rows of hem that are kept, and all of collar and sleeve."""
    return [row for row in rows if row[1] != 2 or keep(*row)]


def train_less(num_images: int) -> Callable[..., bool]:
    return lambda image, _, value, split, role: split != "train" or image < num_images


def of_one_value(image: int, _: int, value: int, split: str, role: str) -> bool:
    return split != "train" or value == 1


def refused_labels() -> dict[str, tuple[list[Row], str]]:
    """Returns rows of collar, sleeve and hem, and what is said of them."""
    rows = rows_of([*OLD, "hem"])
    found = {
        "too few": (
            only(rows, train_less(MIN_LABELS - 1)),
            f"hem: {MIN_LABELS - 1} training images have a label, and growing needs {MIN_LABELS}",
        ),
        "none at all": ([row for row in rows if row[1] != 2], "hem: 0 training images have"),
        "labels twice": (
            2 * only(rows, train_less(MIN_LABELS - 1)),
            f"hem: {MIN_LABELS - 1} training images have a label",
        ),
        "one value": (
            [
                (image, number, 1 if (number, split) == (2, "train") else value, split, role)
                for image, number, value, split, role in rows
            ],
            f"hem: all {NUM_TRAIN} training images with a label have one value",
        ),
    }
    for split in ("valid", "test"):
        found[f"no {split}"] = (
            only(rows, lambda _, __, ___, where, ____, split=split: where != split),
            f"hem: no image that asks in the {split} split has",
        )
        found[f"nobody asks in {split}"] = (
            only(
                rows, lambda _, __, ___, where, role, split=split: (where, role) != (split, "query")
            ),
            f"hem: no image that asks in the {split} split has",
        )
        found[f"nobody answers in {split}"] = (
            only(
                rows,
                lambda _, __, value, where, role, split=split: (
                    where != split or (value == 0) == (role == "query")
                ),
            ),
            f"hem: no image that asks in the {split} split has",
        )
    return found


@pytest.mark.parametrize("case", refused_labels())
def test_labels_that_teach_or_measure_nothing_are_refused(copied, case):
    rows, expected = refused_labels()[case]
    copied.label([*OLD, "hem"], rows)
    with pytest.raises(HemlineError, match=expected):
        copied.plan()


def test_as_few_labels_as_are_needed_are_enough(copied):
    """Of training images; and one query of each other split that has something to find."""
    asking = {"valid": NUM_TRAIN, "test": NUM_TRAIN + growing.NUM_HELD_OUT}
    rows = only(
        rows_of([*OLD, "hem"]),
        lambda image, _, value, split, role: (
            image < MIN_LABELS
            if split == "train"
            else image == asking[split]
            or (role == "gallery" and value == value_of(asking[split], "hem"))
        ),
    )
    copied.label([*OLD, "hem"], rows)
    plan = copied.plan()
    assert len(plan.images(plan.new)) == MIN_LABELS
    assert (
        "valid_map"
        in grow(plan, PARAMS, folder=copied.folder / "few", log=lambda *_, **__: None).row
    )


@pytest.mark.parametrize("is_related", [False, True])
def test_where_every_image_asks_related_ones_are_no_answer(copied, is_related):
    """Two images of a value that are of one group say nothing."""
    few = {"valid": (96, 97), "test": (120, 121)}  # of the same hem
    splits = splits_table(
        only(
            rows_of([*OLD, "hem"]),
            lambda image, _, __, split, ___: split == "train" or image in few[split],
        )
    )
    groups = [
        None if split == "train" else 120 if is_related and image in few["test"] else image
        for image, split in zip(*(splits[c].to_pylist() for c in ("image", "split")), strict=True)
    ]
    place = splits.schema.get_field_index("exclusion_group")
    splits = splits.set_column(place, splits.schema.field(place), pa.array(groups, pa.int64()))
    schema = growing.schema_of([*OLD, "hem"])
    if is_related:
        with pytest.raises(HemlineError, match="hem: no image that asks in the test split has"):
            check_labels(splits, schema, ["hem"])
    else:
        check_labels(splits, schema, ["hem"])


def test_items_are_no_attribute_to_grow_by(copied):
    copied.label([*OLD, "hem"], hem=3)
    with pytest.raises(HemlineError, match="hem: its values are single products, and a probe"):
        copied.plan()
