"""Stage `train`: which precision `auto` stands for, and which weights training begins with."""

import hashlib
import json
from pathlib import Path

import mlflow
import pytest
import timm
import torch
import yaml
from builders import PROJECT, images_table, labels_table
from mlflow.entities import Run
from safetensors.torch import load_file
from small_run import MODEL, NUM_IMAGES, SCHEMA, TRAIN, write_inputs

from components import files, tables
from components.params import ModelParams, TrainParams
from components.precision import resolve_precision
from components.tables import Catalog, Numbering
from components.training import worker
from components.training.setup import initial_weights, with_absolute_weights
from pipelines.shell.cli import main
from pipelines.stages import train
from pipelines.stages.dry_run import describe_training

PRECISION = resolve_precision("auto", on_gpu=False)


@pytest.fixture
def arguments(repository: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stage's arguments in a folder with all of its inputs; its params say `auto`."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{repository}/mlflow.db")
    Path("dvc.lock").unlink()
    inputs = write_inputs(repository, num_epochs=1, steps_per_epoch=2)
    catalog = Catalog(
        schema=SCHEMA,
        numbering=Numbering(origin="0", next_image=NUM_IMAGES),
        images=images_table(str(image) for image in range(NUM_IMAGES)),
        labels=labels_table((image, 0, image % 2) for image in range(NUM_IMAGES)),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.quarantine_table([]),
        left_out={},
    )
    tables.write_catalog(catalog, inputs.catalog)
    report = {"splits": {}, "leaks": {}, "unanswerable": {}}
    files.write_json(report, inputs.splits / "report.json")
    files.write_table(
        tables.LEAKS.empty_table(), inputs.splits / "leaks.parquet", schema=tables.LEAKS
    )
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["model"] |= {"backbone": "tiny", "weights": "none", "embedding_dim": 16}
    params["train"] |= {"precision": "auto", "num_workers": 0, "use_gpu": False}
    (repository / "params.yaml").write_text(yaml.safe_dump(params))
    return ["train", "--store", str(inputs.store.local())] + [
        argument for name in ("catalog", "splits", "triplets") for argument in (f"--{name}", name)
    ]


def run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code in (None, 0)


def test_a_dry_run_says_what_auto_stands_for(arguments, capsys):
    run([*arguments, "--dry-run"])
    (objective,) = (x for x in capsys.readouterr().out.splitlines() if "objective" in x)
    assert objective.split()[-2] == PRECISION


TUNED = {"backbone_rate": 0.5, "layer_decay": 0.1, "learning_rate": 0.02, "frozen_epochs": 1}


@pytest.mark.parametrize(
    ("num_epochs", "changes", "expected"),
    [
        (1, {"learning_rate": 0.02}, "4 blocks at 0.02"),
        (1, TUNED, "stays as it was loaded"),
        (
            2,
            {**TUNED, "frozen_norms": True},
            "as it was loaded for 1 of 2 epochs, which take less memory; then 4 blocks at 1e-06 to "
            "0.001; BatchNorm as it was loaded",
        ),
    ],
    ids=["as the rest", "never", "later and slower"],
)
def test_a_dry_run_says_how_the_backbone_learns(tmp_path, capsys, num_epochs, changes, expected):
    written = write_inputs(tmp_path, num_epochs=num_epochs, steps_per_epoch=1)
    describe_training(
        written, model_params=MODEL, train_params=TrainParams(**TRAIN | changes), attributes=[]
    )
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())  # rows may be wrapped
    assert f" backbone {expected} workers " in shown


@pytest.mark.slow
def test_a_run_keeps_what_auto_stands_for(arguments, monkeypatch):
    used = []
    run_training = worker.run_training

    def note(inputs, **params):
        used.append(params["train_params"].precision)
        run_training(inputs, **params)

    monkeypatch.setattr(worker, "run_training", note)  # which goes on to train
    run(arguments)
    assert used == [PRECISION]
    kept = mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db").get_run(
        json.loads(Path("models/run.json").read_text())["run_id"]
    )
    assert kept.data.params["train.precision"] == "auto"
    assert kept.data.tags[train.PRECISION_TAG] == PRECISION


def run_of_the_model() -> Run:
    """Returns the MLflow run that trained the model that lies here."""
    run_id = json.loads(Path("models/run.json").read_text())["run_id"]
    return mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db").get_run(run_id)


@pytest.fixture
def weights(arguments) -> Path:
    """Initial weights in a file that params name by its place in the project."""
    change_params(model={"backbone": "timm:test_efficientnet", "weights": "mine.pth"})
    write_weights(Path("mine.pth"), seed=1)
    return Path("mine.pth")


def change_params(**sections: dict[str, object]) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    for name, changes in sections.items():
        params[name] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(params))


def write_weights(path: Path, *, seed: int) -> None:
    torch.manual_seed(seed)
    torch.save(timm.create_model("test_efficientnet").state_dict(), path)


@pytest.mark.slow
def test_a_run_has_the_checksum_of_the_weights_that_it_began_with(arguments, weights):
    change_params(train={"learning_rate": 1e-9})
    run(arguments)
    expected = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert run_of_the_model().data.tags[train.INITIAL_WEIGHTS_TAG] == expected
    began = torch.load(weights)["conv_stem.weight"]
    ended = load_file("models/network/weights.safetensors")
    assert any(
        tensor.shape == began.shape and torch.allclose(tensor, began, atol=1e-6)
        for tensor in ended.values()
    )
    described = json.loads(Path("models/network/model.json").read_text())["model"]
    assert described["weights"] == "mine.pth"


def test_weights_that_do_not_fit_are_refused_before_there_is_a_run(arguments, weights, capsys):
    """Not by every worker, as often as `train.max_failures` allows."""
    change_params(train={"num_workers": 2}, model={"weights": "absent.pth"})
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    assert "hemline: model.weights: no file absent.pth, and no published" in capsys.readouterr().err
    assert not Path("mlflow.db").exists()


@pytest.mark.slow
def test_other_weights_under_the_same_name_are_another_run(arguments, weights, monkeypatch):
    """Where training was interrupted, it is not resumed. Workers, in their folders, find them."""
    given = []

    class InterruptedError(Exception):
        pass

    def interrupt(inputs, **params):
        given.append(params)
        raise InterruptedError

    monkeypatch.setattr(worker, "run_training", interrupt)
    for seed in (1, 2, 1):
        write_weights(weights, seed=seed)
        with pytest.raises(InterruptedError):
            main(arguments)
    first, other, again = (params["state_folder"] for params in given)
    assert first == again != other
    assert {params["model_params"].weights for params in given} == {str(weights.absolute())}


def test_what_names_no_file_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for weights in ("none", "IMAGENET1K_V1", "package:some/file.pth", "absent.pth", "."):
        params = ModelParams(weights=weights)
        assert with_absolute_weights(params) == params
    (tmp_path / "none").touch()
    assert with_absolute_weights(ModelParams()) == ModelParams()
    assert initial_weights(ModelParams()) is None
