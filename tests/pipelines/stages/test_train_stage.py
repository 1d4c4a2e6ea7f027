"""Stage `train`: which precision params name where they leave it to the machine."""

import json
from pathlib import Path

import mlflow
import pytest
import yaml
from builders import PROJECT, images_table, labels_table
from small_run import NUM_IMAGES, SCHEMA, write_inputs

from components import files, tables
from components.precision import resolve_precision
from components.tables import Catalog, Numbering
from pipelines.shell.cli import main
from pipelines.stages import train

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


@pytest.mark.slow
def test_a_run_keeps_what_auto_stands_for(arguments, monkeypatch):
    used = []
    run_training = train.run_training

    def note(inputs, **params):
        used.append(params["train_params"].precision)
        run_training(inputs, **params)

    monkeypatch.setattr(train, "run_training", note)  # which goes on to train
    run(arguments)
    assert used == [PRECISION]
    kept = mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db").get_run(
        json.loads(Path("models/run.json").read_text())["run_id"]
    )
    assert kept.data.params["train.precision"] == "auto"
    assert kept.data.tags[train.PRECISION_TAG] == PRECISION
