"""The whole line with real DVC, Ray and MLflow: what it makes, what it skips, what it repeats."""

import base64
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image, ImageColor
from programs import kill, wait_until
from project import ROOT, Project

from components.embedding.embeddings import Embeddings, read_embeddings
from components.figures.frames import FRAMES
from components.tables import read_catalog
from components.training.trained import read_trained_model

pytestmark = pytest.mark.slow

STAGES = [
    "ingest",
    "preprocess",
    "split",
    "triplets",
    "train",
    "prototypes",
    "quantise",
    "evaluate",
    "register",
    "embed",
]


def stages_that_ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def hash_of(project: Project, stage: str, path: str) -> str:
    outs = {out["path"]: out["md5"] for out in project.lock[stage]["outs"]}
    return outs[path]


def vectors_of(embeddings: Embeddings, attribute: str) -> dict[int, np.ndarray]:
    """Returns each image's embedding for an attribute."""
    return {
        int(image): vector
        for part in embeddings.vectors(attribute)
        for image, vector in zip(part.images_n, part.embeddings_nD.astype(np.float32), strict=True)
    }


def test_repro_measures_registers_and_embeds(project: Project, tmp_path: Path) -> None:
    figures = json.loads((project.folder / "metrics/evaluation.json").read_text())
    assert len(figures["attributes"]) > 4  # of 8: the tiny split leaves some without a query
    assert 0 < figures["random_map"] < 100
    assert 0 < figures["map"] <= 100
    assert 0 < figures["region_share"] < 100
    assert 0 < figures["attention_in_region"] < 100
    for row in figures["attributes"].values():
        assert 0 <= row["attention_in_region"] <= 100
    model = read_trained_model(project.folder / "models/network")
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    assert figures["num_parameters"] == parameters

    page = project.folder / "reports/report.html"
    run_id = json.loads((project.folder / "models/run.json").read_text())["run_id"]
    assert f"<dd>{run_id}</dd>" in page.read_text()
    client = mlflow.MlflowClient(project.tracking_uri)
    copy = client.download_artifacts(run_id, "report.html", str(tmp_path))
    assert Path(copy).read_bytes() == page.read_bytes()

    catalog = read_catalog(project.folder / "data/catalog")
    stored = vectors_of(read_embeddings(project.folder / "data/embeddings"), "coat_length")
    assert sorted(stored) == catalog.images["image"].to_pylist()
    norms = np.linalg.norm([*stored.values()], axis=1)
    np.testing.assert_allclose(norms, 1, atol=2e-3)  # float16 keeps eleven bits

    parts = sorted((project.folder / "data/embeddings").glob("vectors/*.parquet"))
    assert len(parts) == 8 * 4  # attributes x parts
    assert str(pq.read_schema(parts[0]).field("embedding").type).startswith("fixed_size_list")


def test_embedding_prints_nothing_of_ray(project: Project) -> None:
    """What its processes say has a prefix with their number."""
    done = project.run("hemline", "embed", "--embeddings", "again")
    assert read_embeddings(project.folder / "again").num_images
    assert "pid=" not in done.stdout + done.stderr
    shutil.rmtree(project.folder / "again")


def test_repro_again_runs_nothing(project: Project) -> None:
    done = project.run("dvc", "repro")
    assert stages_that_ran(done.stdout) == []
    assert done.stdout.count("didn't change, skipping") == len(STAGES)


@pytest.fixture(scope="module")
def resumed(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project whose training was killed and resumed, and what DVC printed then."""
    for _ in range(3):  # on a busy machine it may be beyond the first epoch before it is seen
        again = trained.copy(tmp_path_factory.mktemp("again") / "hemline")
        forget_training(again)
        if killed_in_the_first_epoch(again):
            done = again.run("dvc", "repro", "train")
            return again, done.stdout + done.stderr
    raise AssertionError("training could not be killed in its first epoch")


def killed_in_the_first_epoch(project: Project) -> bool:
    """Starts training and kills it once a state is saved; returns whether that was early enough."""
    driver = subprocess.Popen(
        ["dvc", "repro", "train"],
        cwd=project.folder,
        env=Project(project.folder).environment,  # its own processes, for the signal to reach them
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    states = project.folder / ".hemline/training"
    try:
        wait_until(lambda: bool([*states.glob("*/step-*.pt")]) or driver.poll() is not None)
    finally:
        kill(driver)
    journals = [*states.glob("*/metrics.jsonl")]  # of a training that has not ended
    return bool(journals) and '"epoch"' not in journals[0].read_text()


def forget_training(project: Project) -> None:
    """Leaves neither outputs of `train`, nor DVC's memory of how it ended."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    for out in lock["stages"].pop("train")["outs"]:
        place = project.folder / out["path"]
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    (project.folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    shutil.rmtree(project.folder / ".dvc/cache/runs")


def test_the_same_inputs_give_the_same_weights_after_a_kill_too(
    project: Project, resumed: tuple[Project, str]
) -> None:
    again, shown = resumed
    assert stages_that_ran(shown) == ["train"]
    assert "epoch 2/2: loss" in shown
    assert not list((again.folder / ".hemline/training").glob("*"))
    ours, theirs = (hash_of(p, "train", "models/network") for p in (project, again))
    assert ours == theirs
    run_id = json.loads((again.folder / "models/run.json").read_text())["run_id"]
    client = mlflow.MlflowClient(again.tracking_uri)
    for metric, expected in (("step/loss", [*range(1, 41)]), ("valid/map", [0, 1])):
        history = client.get_metric_history(run_id, metric)
        assert [entry.step for entry in history] == expected


def test_new_images_alone_are_decoded_and_nothing_old_moves(
    resumed: tuple[Project, str],
) -> None:
    grown, _ = resumed
    folder = grown.folder / "data"
    before, splits_before = read_catalog(folder / "catalog"), splits_of(grown)
    grown.draw("data/raw/wardrobe/train2", num_images=20, seed=6)
    done = grown.run("dvc", "repro", "split")

    assert stages_that_ran(done.stdout) == ["ingest", "preprocess", "split"]
    assert "20 decoded, 400 kept" in done.stdout
    after = read_catalog(folder / "catalog")
    assert after.images[:400] == before.images
    assert after.images["image"].to_pylist() == list(range(420))
    rows = splits_of(grown)
    assert splits_before < rows
    assert {image for image, *_ in rows - splits_before} == set(range(400, 420))


def splits_of(project: Project) -> set[tuple[int, int, int, str, str]]:
    table = pq.read_table(project.folder / "data/splits/splits.parquet")
    return {tuple(row.values()) for row in table.to_pylist()}


def test_the_run_knows_params_metrics_and_origin(project: Project) -> None:
    client = mlflow.MlflowClient(project.tracking_uri)
    run_id = json.loads((project.folder / "models/run.json").read_text())["run_id"]
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.margin"] == "0.1"
    logged = {"valid/map", "train/loss", "train/images_per_s", "test/map", "test/random_map"}
    assert run.data.metrics.keys() >= logged | {"test/gain", "test/images_per_s"}
    groups = {name.split("/")[0] for name in run.data.metrics}
    assert groups - {"system"} == {"train", "step", "valid", "test"}  # system: after ten seconds
    assert run.info.run_name == "ag_man · wardrobe"
    note = run.data.tags["mlflow.note.content"]
    assert all(f"/artifacts/{name})" in note for name in ("report.html", "model_card.md"))
    figures = json.loads((project.folder / "metrics/evaluation.json").read_text())
    for name, row in figures["attributes"].items():
        assert run.data.metrics[f"test/map/{name}"] == row["map"]
    report = json.loads((project.folder / "data/splits/report.json").read_text())
    for kind, found in report["leaks"].items():
        assert run.data.tags[f"leaks.{kind}"] == str(found["num_images"])
    attached = {artifact.path for artifact in client.list_artifacts(run_id, "splits")}
    assert attached == {"splits/report.json", "splits/leaks.parquet"}
    steps = [metric.step for metric in client.get_metric_history(run_id, "valid/map")]
    assert steps == [0, 1]
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert run.data.tags["mlflow.source.git.commit"] == head
    assert run.data.tags["dvc.data/store"] == hash_of(project, "preprocess", "data/store")


def aliases_of(project: Project) -> dict[str, int]:
    model = mlflow.MlflowClient(project.tracking_uri).get_registered_model("hemline")
    return {alias: int(number) for alias, number in model.aliases.items()}


def test_a_version_is_champion_when_the_gate_says_so(project: Project) -> None:
    assert aliases_of(project) == {"challenger": 1}
    done = project.run("hemline", "promote", check=False)
    tags = mlflow.MlflowClient(project.tracking_uri).get_model_version("hemline", "1").tags
    verdict = json.loads(tags["hemline.verdict"])
    # so little training may or may not be better than chance
    assert done.returncode == (0 if verdict["passed"] else 10), done.stderr
    assert aliases_of(project) == {"challenger": 1} | ({"champion": 1} if verdict["passed"] else {})
    figures = json.loads((project.folder / "metrics/evaluation.json").read_text())
    judged = {row["name"]: row["challenger_map"] for row in verdict["attributes"]}
    measured = {name: row["map"] for name, row in figures["attributes"].items()}
    assert judged == pytest.approx(measured)


def test_the_registered_model_gives_the_embeddings(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(project.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/hemline@challenger")
    catalog = read_catalog(project.folder / "data/catalog")
    files = [
        project.folder / "data/raw/wardrobe" / path
        for path in catalog.images["path"][:3].to_pylist()
    ]
    forms = [files[0].read_bytes(), base64.b64encode(files[1].read_bytes()).decode(), str(files[2])]
    attributes = ["skirt_length", "neck_design", "skirt_length"]
    embedded = read_embeddings(project.folder / "data/embeddings")
    rows = model.predict(pd.DataFrame({"image": forms, "attribute": attributes}))
    assert rows["attribute"].tolist() == attributes
    for number, (attribute, embedding) in enumerate(rows.itertuples(index=False)):
        same = vectors_of(embedded, attribute)[number]
        assert np.dot(embedding, same) / np.linalg.norm(same) > 0.9999  # stored as float16


def test_search_prints_ten_and_frames_them(project: Project) -> None:
    image = next((project.folder / "data/raw/wardrobe/Images/neckline_design_labels").iterdir())
    query = str(image.relative_to(project.folder))
    arguments = ["--image", query, "--attribute", "neckline_design", "--sheet", "sheet.png"]
    done = project.run("hemline", "search", *arguments)
    assert len(re.findall(r"│\s+\d+ │\s+0\.\d{4} │", done.stdout)) == 10
    assert image.name not in done.stdout.split("query:")[0]
    with Image.open(project.folder / "sheet.png") as sheet:
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(2**24)}
    frames = [frame.colour for name, frame in FRAMES.items() if name in ("agrees", "differs")]
    assert colours & {ImageColor.getrgb(colour) for colour in frames}


def test_search_for_an_unknown_attribute_names_the_known(project: Project) -> None:
    arguments = ["--image", "params.yaml", "--attribute", "hem"]
    done = project.run("hemline", "search", *arguments, check=False)
    assert done.returncode == 1
    assert "no attribute 'hem'" in done.stderr
    assert "coat_length" in done.stderr
    assert "Traceback" not in done.stderr


def test_summary_shows_every_attribute_and_what_to_try(project: Project) -> None:
    shown = project.run("hemline", "summary").stdout
    figures = json.loads((project.folder / "metrics/evaluation.json").read_text())
    for name, row in figures["attributes"].items():
        assert re.search(
            rf"{name}\s+│\s+{row['map']:.2f}\s+│\s+{row['random_map']:.2f}\s+│\s+{row['gain']:.1f}",
            shown,
        )
    for command in ("hemline search --image", "mlflow ui", "dvc exp run -S train.margin=0.3"):
        assert command in shown


@pytest.mark.parametrize(
    "command",
    [
        ["summary"],
        ["describe"],
        ["lineage", "models:/hemline/1"],
        ["search", "--id", "0", "--attribute", "neckline_design", "--format", "json"],
        ["promote"],  # the verdict stands
        ["rollback"],  # there is no earlier champion, which is an error
    ],
    ids=lambda command: command[0],
)
def test_a_command_that_runs_no_network_imports_none(project: Project, command: list[str]) -> None:
    program = (
        "import sys\n"
        "from pipelines.shell.cli import main\n"
        f"try: main({command})\n"
        "except SystemExit: pass\n"
        "print('loaded', *{'torch', 'torchvision', 'ray'} & set(sys.modules))\n"
    )
    done = project.run("python", "-c", program)
    assert len(done.stdout + done.stderr) > 100
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"


def test_an_experiment_runs_training_and_what_follows(project: Project) -> None:
    before = hash_of(project, "train", "models/network")
    champion = aliases_of(project)
    changes = ["-S", "train.margin=0.3", "-S", "embed.num_workers=0"]
    done = project.run("dvc", "exp", "run", *changes, "--name", "wide-margin")
    assert stages_that_ran(done.stdout) == STAGES[STAGES.index("train") :]
    assert hash_of(project, "train", "models/network") != before
    shown = project.run("dvc", "exp", "show", "--csv").stdout
    assert "wide-margin" in shown
    run_id = json.loads((project.folder / "models/run.json").read_text())["run_id"]
    run = mlflow.MlflowClient(project.tracking_uri).get_run(run_id)
    assert run.info.run_name == "ag_man · wide-margin · train.margin=0.3"
    assert "train.margin" in shown
    command = re.findall(r"^(dvc exp show .+?) +#", (ROOT / "README.md").read_text(), re.MULTILINE)
    lines = project.run(*shlex.split(command[0])).stdout.splitlines()
    assert lines[1].split()[:3] == ["Experiment", "map", "gain"]
    assert max(map(len, lines)) <= 80
    difference = json.loads(
        project.run("dvc", "metrics", "diff", "wide-margin", "--all", "--json").stdout
    )
    assert "metrics/evaluation.json" in json.dumps(difference)
    project.run("dvc", "plots", "show", "--out", "pages")
    page = (project.folder / "pages/index.html").read_text()
    figures = json.loads((project.folder / "metrics/evaluation.json").read_text())
    assert all(name in page for name in figures["attributes"])
    assert "valid_map" in page
    assert aliases_of(project) == {**champion, "challenger": 2}


def test_another_model_is_registered_alone_and_another_experiment_trains_nothing(
    project: Project,
) -> None:
    run_id = json.loads((project.folder / "models/run.json").read_text())["run_id"]
    project.set_params({"tracking": {"experiment": "nightly"}, "registry": {"model": "shop"}})
    assert stages_that_ran(project.run("dvc", "repro", "register").stdout) == ["register"]
    client = mlflow.MlflowClient(project.tracking_uri)
    version = client.get_model_version_by_alias("shop", "challenger")
    assert (version.version, version.run_id) == (1, run_id)
    assert 'load_model("models:/shop@champion")' in version.description
    kept = json.loads((project.folder / "models/registration.json").read_text())
    assert kept["uri"] == "models:/shop/1"

    older = project.folder / "params.yaml"
    params = yaml.safe_load(older.read_text())
    del params["registry"], params["tracking"]
    older.write_text(yaml.safe_dump(params, sort_keys=False))
    shown = project.run("dvc", "repro", "register").stdout
    assert stages_that_ran(shown) == ["register"]
    assert aliases_of(project)["challenger"] == 2
