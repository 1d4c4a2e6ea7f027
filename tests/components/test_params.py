"""The params file: what is refused, and that the message says where and why."""

import json
import re
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from builders import PROJECT
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow import MlflowClient
from pydantic import ValidationError

from components.errors import HemlineError
from components.params import (
    DataParams,
    EmbedParams,
    ModelParams,
    PreprocessParams,
    RegistryParams,
    SamplingParams,
    SplitParams,
    TrainParams,
    load_section,
    missing_keys,
    resolved,
    with_defaults,
)

SECTIONS = {
    "data": DataParams,
    "preprocess": PreprocessParams,
    "split": SplitParams,
    "sampling": SamplingParams,
    "model": ModelParams,
    "train": TrainParams,
    "embed": EmbedParams,
}
TEXT = (PROJECT / "params.yaml").read_text()
MISSING = object()


@pytest.fixture
def write(tmp_path):
    """Writes the project's params with changes (section.key to value, MISSING removes)."""

    def write(changes):
        raw = yaml.safe_load(TEXT)
        for name, value in changes.items():
            *sections, key = name.split(".")
            place = raw[sections[0]] if sections else raw
            if value is MISSING:
                del place[key]
            else:
                place[key] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(raw))
        return path

    return write


def refusal(path):
    with pytest.raises(HemlineError) as error:
        load_section(path, DataParams)
    return str(error.value)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_projects_params_load(name):
    section = load_section(PROJECT / "params.yaml", SECTIONS[name])

    assert asdict(section) == yaml.safe_load(TEXT)[name]


def test_the_projects_params_name_every_key_with_its_default_and_a_comment():
    shipped = yaml.safe_load(TEXT)

    assert json.dumps(shipped) == json.dumps(with_defaults({})), "in the same order and types"
    keys = [line for line in TEXT.splitlines() if re.match(r"  \w+:", line)]
    assert [line for line in keys if "# " not in line] == []
    assert len(keys) == sum(len(section) for section in shipped.values())


def test_a_file_without_newer_keys_runs_with_their_defaults(write):
    path = write(
        {"train.margin": 0.3, "train.ema_decay": MISSING, "split.seed": MISSING, "embed": MISSING}
    )

    assert load_section(path, TrainParams).ema_decay is None
    assert load_section(path, SplitParams).seed == 7
    assert load_section(path, EmbedParams) == EmbedParams()
    expected = yaml.safe_load(TEXT)
    expected["train"]["margin"] = 0.3
    assert resolved(path) == expected
    assert missing_keys(path) == {
        "split.seed": 7,
        "train.ema_decay": None,
        **{f"embed.{key}": value for key, value in expected["embed"].items()},
    }


def test_a_default_that_contradicts_a_value_is_refused(write):
    path = write({"train.objective": "triplet", "sampling.method": MISSING})

    assert "train.objective triplet needs sampling.method triplets, not batches" in refusal(path)


def test_resolved_is_the_whole_file():
    assert resolved(PROJECT / "params.yaml") == yaml.safe_load(TEXT)
    assert missing_keys(PROJECT / "params.yaml") == {}


REFUSED = {
    "attribute twice": (
        {"sampling.attributes": ["item", "item"]},
        "sampling.attributes: names an attribute twice",
    ),
    "unknown key": ({"train.margni": 0.3}, "train.margni: unknown key; train has parent, seed"),
    "unknown key that YAML reads as a bool": ({"train.no": 0.3}, "train.no: unknown key"),
    "unknown section": ({"trian": {"margin": 1}}, "trian: unknown section"),
    "null for a number": ({"train.margin": None}, "train.margin: .*number.*(got None)"),
    "no section": ({"embed": 3}, "embed: must be a section of keys (got 3)"),
    "string for number": ({"train.margin": "0.2"}, "train.margin: .*number.*(got '0.2')"),
    "bool for int": ({"train.seed": True}, "train.seed: .*integer.*(got True)"),
    "bool for float": ({"train.margin": True}, "train.margin: .*number.*(got True)"),
    "float for int": ({"sampling.num_epochs": 2.0}, "sampling.num_epochs: .*integer.*(got 2.0)"),
    "int for bool": ({"train.use_gpu": 1}, "train.use_gpu: .*boolean.*(got 1)"),
    "number for string": ({"data.root": 3}, "data.root: .*string.*(got 3)"),
    "string for list": (
        {"data.exclude_attributes": "neck"},
        "data.exclude_attributes: .*list.*(got 'neck')",
    ),
    "number in a list of names": (
        {"data.exclude_attributes": ["neck", 3]},
        "data.exclude_attributes.1: .*string.*(got 3)",
    ),
    "not a choice": ({"data.format": "zip"}, "data.format: .*'fashionai', .*'table'.*(got 'zip')"),
    "below the range": ({"train.margin": -0.1}, "train.margin: .*0.*(got -0.1)"),
    "above the range": ({"data.max_quarantined_share": 1.5}, "data.max_quar.*1.*(got 1.5)"),
    "zero readers": ({"embed.num_readers": 0}, "embed.num_readers: .*greater than 0.*(got 0)"),
    "epochs beyond int16": ({"sampling.num_epochs": 2**15}, "sampling.num_epochs: .*(got 32768)"),
    "size that no backbone halves": (
        {"preprocess.image_size_px": 100},
        "preprocess.image_size_px: .*multiple of 16.*(got 100)",
    ),
    "infinite": ({"train.weight_decay": float("inf")}, "train.weight_decay: .*finite.*(got inf)"),
    "not a number": ({"train.learning_rate": float("nan")}, "train.learning_rate: .*(got nan)"),
    "shares beyond 1": (
        {"split.train_share": 0.99},
        "split: train_share .* must be 1, got 1.[0-9]+",
    ),
    "shares below 1": ({"split.train_share": 0.01}, "split: .* must be 1, got 0.[0-9]+"),
    "distance beyond a byte": (
        {"split.near_duplicate_distance": 9},
        "split.near_duplicate_distance: .*8.*(got 9)",
    ),
    "distance below none": ({"split.near_duplicate_distance": -1}, "split.near_.*0.*(got -1)"),
    "published files without their data set": (
        {"data.format": "published"},
        "data.format published needs data.dataset, such as FashionAI",
    ),
    "a data set of other files": (
        {"data.dataset": "DARN"},
        "data.dataset is for data.format published only, not fashionai: make it null",
    ),
    "column of no table": (
        {"split.method": "column"},
        "split.method column needs data.format table, not fashionai",
    ),
    "no published split": (
        {"split.method": "published"},
        "data.format fashionai publishes no split: split.method random$",
    ),
    "no published split of a table": (
        {"split.method": "published", "data.format": "table"},
        "data.format table publishes no split: split.method random or column",
    ),
    "together by a split that is given": (
        {
            "split.method": "column",
            "data.format": "table",
            "split.near_duplicates": "together",
        },
        "split.near_duplicates together needs split.method random: with column nothing is moved",
    ),
    "no published triplets": (
        {"sampling.triplets": "published"},
        "data.format fashionai publishes no triplets: sampling.triplets drawn",
    ),
    "part of another network": (
        {"model.name": "csn", "model.hierarchical": False},
        "model: csn has no part hierarchical: make it null; csn has masks",
    ),
    "stages that do not halve": (
        {"model.backbone": "alexnet"},
        "model: hierarchical ag_man adds maps of two stages, the second of half the first's size, "
        "which alexnet's are not: hierarchical false, or another backbone",
    ),
    "an unknown backbone": (
        {"model.backbone": "resnet5"},
        "model.backbone: is one of alexnet, .*, tiny, or timm:NAME (got 'resnet5')",
    ),
    "a name of timm's without its prefix": (
        {"model.backbone": "resnet50d"},
        "model.backbone: is one of alexnet, .*, tiny, or timm:NAME (got 'resnet50d')",
    ),
    "weights in the name of a backbone": (
        {"model.backbone": "timm:resnet50.a1_in1k"},
        "model.backbone: names a network alone, and model.weights its weights: backbone "
        "timm:resnet50, weights a1_in1k (got 'timm:resnet50.a1_in1k')",
    ),
    "pixels of one colour": (
        {"model.pixel_mean": [0.5]},
        "model.pixel_mean: .*at least 3 items",
    ),
    "pixels that were not divided by 255": (
        {"model.pixel_std": [1.0, 1.0, 57.4]},
        "model.pixel_std.2: .*less than or equal to 1 (got 57.4)",
    ),
    "pixels without spread": (
        {"model.pixel_std": [0.2, 0.2, 0.0]},
        "model.pixel_std.2: .*greater than 0.*(got 0.0)",
    ),
    "nothing knows the attribute": (
        {"model.asa": False, "model.aca": "none"},
        "model: asa false and aca none leave ag_man no part that knows the attribute",
    ),
    "weights for one loss": (
        {"model.name": "asen", "train.loss_weighting": "uncertainty"},
        "train.loss_weighting uncertainty weighs two losses; this asen has no ",
    ),
    "weights for the loss that an ablation leaves": (
        {"model.classification": False, "train.loss_weighting": "uncertainty"},
        "train.loss_weighting uncertainty weighs two losses; this ag_man has no ",
    ),
    "batches for triplets of a batch": (
        {"train.objective": "batch_triplet", "sampling.method": "triplets"},
        "train.objective batch_triplet needs sampling.method batches, not triplets",
    ),
    "uncertain weights of stages": (
        {"model.name": "fashionsearchnet_v2", "train.loss_weighting": "uncertainty"},
        "train.loss_weighting uncertainty is not for fashionsearchnet_v2, whose losses "
        "train.ranking_weight weighs: fixed",
    ),
    "a stage that a network has not": (
        {"train.classification_epochs": 1},
        "train.classification_epochs is a stage of fashionsearchnet_v2, and of ahbn with "
        "supervision, which this ag_man has not: 0",
    ),
    "a stage without anything to learn in it": (
        {
            "model.name": "ahbn",
            "model.attribute_supervision": False,
            "model.landmark_supervision": False,
            "train.classification_epochs": 1,
        },
        "train.classification_epochs is a stage of fashionsearchnet_v2, and of ahbn with "
        "supervision, which this ahbn has not: 0",
    ),
    "uncertain weights of branches": (
        {"model.name": "ahbn", "train.loss_weighting": "uncertainty"},
        "train.loss_weighting uncertainty is not for ahbn, whose losses train.landmark_weight "
        "weighs: fixed",
    ),
    "a part of the branch that is left out": (
        {"model.name": "ahbn", "model.branches": "attribute", "model.fusion": "sum"},
        "model: fusion belongs to a branch that branches attribute leaves out: make it null",
    ),
    "a sample for what compares images": (
        {"train.sampled_classes": 100},
        "train.sampled_classes is for train.objective classification, not multi_similarity: null",
    ),
    "a last stage that a network has not": (
        {"model.name": "csn", "train.global_ranking_epochs": 2},
        "train.global_ranking_epochs is a stage of fashionsearchnet_v2, which csn has not: 0",
    ),
    "no epoch for embeddings": (
        {"model.name": "fashionsearchnet_v2", "train.classification_epochs": 7},
        "train.classification_epochs 7 leave none of sampling.num_epochs 7 to train embeddings",
    ),
    "stopping before embeddings": (
        {
            "model.name": "fashionsearchnet_v2",
            "train.classification_epochs": 1,
            "train.early_stopping_epochs": 2,
        },
        "train.early_stopping_epochs would count epochs of train.classification_epochs, in which",
    ),
    "more frozen epochs than there are": (
        {"model.weights": "IMAGENET1K_V1", "train.frozen_epochs": 8},
        "train.frozen_epochs 8 are more than sampling.num_epochs 7: as many to leave the backbone "
        "as it was loaded, fewer to let it learn",
    ),
    "a backbone that stays random": (
        {"train.frozen_epochs": 1},
        "train.frozen_epochs leaves the backbone as it was loaded, and model.weights none loads "
        "nothing: 0, or weights",
    ),
    "norms that stay as they begin": (
        {"train.frozen_norms": True},
        "train.frozen_norms leaves the backbone as it was loaded, and model.weights none loads "
        "nothing: false, or weights",
    ),
    "layers that learn more": ({"train.layer_decay": 1.1}, "train.layer_decay: .*1.*(got 1.1)"),
    "a backbone that never learns": (
        {"train.backbone_rate": 0.0},
        "train.backbone_rate: .*greater than 0.*(got 0.0)",
    ),
    "soft triplets on batches": (
        {"train.objective": "soft_triplet", "sampling.method": "batches"},
        "train.objective soft_triplet needs sampling.method triplets, not batches",
    ),
    "model's name with a slash": (
        {"registry.model": "team/shop"},
        "registry.model: is a name in MLflow's registry, in git tags and of folders: letters and "
        "digits of ASCII, with . _ - between them (no .. in it, no .lock at its end), up to 100 "
        "characters (got 'team/shop')",
    ),
    "experiment without a name": ({"tracking.experiment": ""}, "tracking.experiment: "),
    "supcon on triplets": (
        {"train.objective": "supcon", "sampling.method": "triplets"},
        "train.objective supcon needs sampling.method batches, not triplets",
    ),
    "triplet loss on batches": (
        {"train.objective": "triplet", "sampling.method": "batches"},
        "train.objective triplet needs sampling.method triplets, not batches",
    ),
}


@pytest.mark.parametrize(("changes", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_names_file_key_and_value(write, changes, expected):
    path = write(changes)
    message = refusal(path)

    assert message.startswith(f"{path} cannot be used:")
    problems = message.splitlines()[1:]
    pattern = expected.replace("(", r"\(").replace(")", r"\)")
    assert len(problems) == 1, "a single mistake is a single problem"
    assert re.match(f"  {pattern}", problems[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"data.format": "table", "split.method": "column"},
        {"data.format": "deepfashion", "split.method": "published"},
        {"data.format": "darn", "split.near_duplicates": "together"},
        {"data.format": "zappos50k", "sampling.triplets": "published"},
        {"data.format": "published", "data.dataset": "DARN", "split.method": "published"},
    ],
)
def test_what_goes_together_loads(write, changes):
    section = load_section(write(changes), SplitParams)

    assert section.method == changes.get("split.method", "random")


def test_a_backbone_may_be_frozen_in_all_epochs(write):
    changes = {"model.weights": "IMAGENET1K_V1", "train.frozen_epochs": 7}
    section = load_section(write(changes | {"train.frozen_norms": True}), TrainParams)

    assert (section.frozen_epochs, section.frozen_norms) == (7, True)


def test_near_duplicates_that_are_ignored_have_no_distance(write):
    distances = {
        name: load_section(
            write({"split.near_duplicates": name, "split.near_duplicate_distance": 6}), SplitParams
        ).searched_distance
        for name in ("together", "report", "ignore")
    }

    assert distances == {"together": 6, "report": 6, "ignore": None}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.root", "s3://PLANTEDKEY:planted/secret@bucket/wardrobe"),
        ("model.weights", "https://planted-token@host.example/weights.pt"),
        ("data.root", "https://host.example/wardrobe?sv=1&sig=planted"),
    ],
)
def test_credentials_are_refused_and_not_repeated(write, key, value):
    with pytest.raises(HemlineError, match=f"holds credentials in {key}:") as refused:
        load_section(write({key: value}), DataParams)
    assert "planted" not in str(refused.value).lower()


def test_several_problems_come_in_one_message(write):
    message = refusal(
        write({"train.margin": "a", "train.epochs": 3, "split.seed": "b", "model.name": "cnn"})
    )

    keys = {line.split(":")[0].strip() for line in message.splitlines()[1:]}
    assert keys == {"train.margin", "train.epochs", "split.seed", "model.name"}


def test_a_problem_in_another_section_is_found(write):
    path = write({"embed.gpus_per_worker": "yes"})

    with pytest.raises(HemlineError, match=r"embed\.gpus_per_worker"):
        load_section(path, SplitParams)


@pytest.mark.parametrize("written", ["1e-05", "1e-5", "1E-5", "0.00001", "1.0e-05"])
def test_numbers_may_be_written_as_dvc_writes_them(tmp_path, written):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"learning_rate: \S+", f"learning_rate: {written}", TEXT))

    assert load_section(path, TrainParams).learning_rate == 1e-5


def test_a_quoted_number_stays_text(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"learning_rate: \S+", 'learning_rate: "1e-05"', TEXT))

    assert "train.learning_rate" in refusal(path)


def test_a_key_that_is_not_text_is_unknown(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("  margin:", "  on: 3\n  margin:"))

    assert "train.True: unknown key" in refusal(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "is missing: run from the project's folder, or give --params"),
        ("", "must hold the sections data, preprocess"),
        ("- 1\n- 2\n", "must hold the sections data, preprocess"),
        ("a: [1\n", "is not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, expected):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)

    assert refusal(path).startswith(f"{path} {expected}")


@given(st.lists(st.sampled_from([*"aZ09._-~^:/?*[\\ @{}é", "lock"]), max_size=9).map("".join))
@example("team.schema.shop")
@example("a" * 100)
def test_a_models_name_is_one_for_mlflow_git_and_folders_or_refused(registry, name):
    try:
        checked = RegistryParams(model=name).model
    except ValidationError:
        assert not re.fullmatch(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*", name) or ".lock" in name
        return
    registry.create_registered_model(checked)
    registry.delete_registered_model(checked)
    for tag in (checked, f"retrain-{checked}-1-promoted"):
        subprocess.run(["git", "check-ref-format", f"refs/tags/{tag}"], check=True)
    assert Path(checked).name == checked


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    return MlflowClient(uri, uri)


def test_params_cannot_be_changed_after_loading():
    section = load_section(PROJECT / "params.yaml", SplitParams)

    with pytest.raises(AttributeError):
        section.seed = 1
