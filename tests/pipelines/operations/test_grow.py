"""Growing by command: what is refused changes nothing, and what is taken is the version's own."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import growing
import pytest
import torch
from builders import PROJECT
from growing import OLD, SIZE_PX, SMALL, new_line, schema_of

from components import files
from components.models.build import build_model
from components.models.network import EmbeddingNetwork
from components.networks import IMAGENET_PIXELS
from components.params import ModelParams, TrainParams, load_section, resolved
from components.registry import promotion, registration, versions
from components.registry.graph import write_package
from components.registry.package import NETWORK_FILE, PACKAGE_FILE, Ancestor, read_package
from components.registry.versions import EXTENDS_TAG, UNCHANGED_TAG, RegisteredVersion
from components.tables import PARENT_PACKAGE, PARENT_VERSION
from components.tracking import runs
from components.tracking.runs import Tracking
from components.training.growth import read_parent
from pipelines.operations.grow import command
from pipelines.operations.grow.parent import take_parent
from pipelines.shell.cli import main
from pipelines.shell.params_file import write_values

torch.set_num_threads(1)

NEW, OLDER, WITHOUT_RUN, WITHOUT_PARAMS, DELETED, WITHOUT_FILES, GROWN, GROWN_OF_NONE = range(1, 9)
PIXELS = {"pixel_mean": [0.25, 0.5, 0.75], "pixel_std": [0.5, 0.25, 0.125]}


def version(number: int) -> RegisteredVersion:
    return RegisteredVersion(name="hemline", version=number)


def small_network(model: ModelParams, *, seed: int) -> EmbeddingNetwork:
    torch.manual_seed(seed)
    return build_model(num_values=[3, 3], **asdict(model)).eval().for_inference()


def register(
    folder: Path,
    model: ModelParams,
    *,
    seed: int = 1,
    is_older: bool = False,
    ancestors: Sequence[Ancestor] = (),
) -> RegisteredVersion:
    """Returns a version that knows collar and sleeve; its run has the params."""
    package, where = folder / "package", tracking_of(folder)
    write_package(
        small_network(model, seed=seed),
        package,
        schema=schema_of(OLD),
        image_size_px=SIZE_PX,
        description={"model": asdict(model)},
        ancestors=ancestors,
    )
    tags = {EXTENDS_TAG: ancestors[0].uri, UNCHANGED_TAG: "0" * 64} if ancestors else {}
    if is_older:
        content = files.read_json(package / PACKAGE_FILE)
        del content["description"], content["ancestors"]
        files.write_json(content, package / PACKAGE_FILE)
    params = resolved(folder / "params.yaml") | {"model": asdict(model)}
    run_id = runs.start_run(where, params=params, tags={})
    return registration.register_package(
        package, card="# Card\n", tracking=where, run_id=run_id, tags=tags
    )


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that trained a version and now has labels of hem and pattern too.

    Version 1 is champion, and lies in models/parent. An older hemline made 2, 3 and 4; the run of 3
    is gone, that of 4 says nothing. 5 was deleted, and files of 6 were. 8 was grown from 7, in a
    registry where that had another number; neither was ever champion.
    """
    folder = tmp_path_factory.mktemp("begun")
    new_line(folder / "data")
    shutil.copy(PROJECT / "params.yaml", folder)
    before = resolved(folder / "params.yaml")["model"]
    changes = {key: value for key, value in asdict(SMALL).items() if value != before[key]}
    write_values({f"model.{key}": value for key, value in changes.items()}, folder / "params.yaml")
    client = tracking_of(folder).client()
    sources = {}
    for model, number in ((SMALL, NEW), (replace(SMALL, **PIXELS), OLDER)):
        assert register(folder, model, is_older=number == OLDER) == version(number)
        sources[number] = client.get_model_version("hemline", str(number)).source
    for number, source, tags in (
        (WITHOUT_RUN, sources[OLDER], {}),
        (WITHOUT_PARAMS, sources[OLDER], {}),
        (DELETED, sources[NEW], {}),
        (WITHOUT_FILES, str(folder / "nowhere"), {}),
    ):
        is_lost = number == WITHOUT_RUN
        run_id = "0" * 32 if is_lost else runs.start_run(tracking_of(folder), params={}, tags={})
        made = client.create_model_version("hemline", source, run_id=run_id, tags=tags)
        assert int(made.version) == number
    assert register(folder, SMALL, seed=2) == version(GROWN)
    graph = client.get_model_version("hemline", str(GROWN)).tags[versions.GRAPH_TAG]
    parent = Ancestor(name="hemline", version=42, graph_sha256=graph, attributes=tuple(OLD))
    made = register(folder, SMALL, seed=3, ancestors=[parent])
    assert made == version(GROWN_OF_NONE)
    client.delete_model_version("hemline", str(DELETED))
    promotion.move_champion(
        "promote", NEW, expected=None, who="a test", tracking=tracking_of(folder)
    )
    take_parent(version(NEW), folder / "models/parent", where=tracking_of(folder))
    return folder


def tracking_of(folder: Path) -> Tracking:
    return Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "mlartifacts"))


@pytest.fixture
def project(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, as the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(begun, folder, ignore=shutil.ignore_patterns("mlartifacts"))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


def state(folder: Path) -> dict[str, Any]:
    """Returns all that growing changes: params, the version that lies here, and the registry."""
    where = tracking_of(folder)
    model = where.client().get_registered_model("hemline")
    registered = where.client().search_model_versions("name='hemline'")
    experiments = where.client().search_experiments()
    return {
        "files": {
            str(path.relative_to(folder)): path.read_bytes()
            for part in ("models", "data", ".hemline", "params.yaml")
            for path in [folder / part, *(folder / part).rglob("*")]
            if path.is_file()
        },
        "folders": sorted(path.name for path in folder.iterdir()),
        "aliases": model.aliases,
        "model": model.tags,
        "versions": {int(each.version): (each.aliases, each.tags) for each in registered},
        "runs": {
            run.info.run_id: run.data.tags
            for run in where.client().search_runs([each.experiment_id for each in experiments])
        },
    }


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs the command, which must refuse, and returns what it says in one line."""
    with pytest.raises(SystemExit) as stopped:
        main(["grow", *arguments])
    assert stopped.value.code == 1
    return " ".join(capsys.readouterr().err.split())


def label(*names: str) -> None:
    """Makes the catalog have these attributes, and no others."""
    growing.Line(folder=Path("data")).label(names)


REFUSED = {
    "known already": (
        ["--attribute", "sleeve"],
        "models:/hemline/1 knows sleeve already; to train",
    ),
    "unknown": (
        ["--attribute", "belt"],
        "the catalog data/catalog has no attribute 'belt'; new in it: hem, pattern. `dvc repro",
    ),
    "another one is new": (
        ["--attribute", "pattern"],
        "the catalog has hem too, which models:/hemline/1 does not know: grow it as well "
        "(--attribute hem), or leave it out (data.exclude_attributes)",
    ),
    "no such version": (["models:/hemline/77"], "models:/hemline/77 is not in the registry"),
    "no version": (["hemline/1"], "'hemline/1' names no version of a model"),
    "no such alias": (["models:/hemline@best"], "models:/hemline@best is not in the registry"),
    "deleted": (["models:/hemline/5"], "models:/hemline/5 is not in the registry"),
    "its files are gone": (["models:/hemline/6"], "package.json is missing"),
    "its run is gone": (
        ["models:/hemline/3"],
        "models:/hemline/3 cannot be grown: an older hemline registered it, which did not write "
        "into it what its network is built from, and its run does not say so (the MLflow store",
    ),
    "its run says nothing": (["models:/hemline/4"], "does not say so (it has no model.name)"),
    "undo of a version": (["models:/hemline/1", "--undo"], "--undo takes no version"),
    "undo of an attribute": (["--undo", "--attribute", "hem"], "--undo takes no version and no"),
    "undo of what was not grown": (["--undo"], "the champion, models:/hemline/1, was not grown"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(project, capsys, case):
    arguments, expected = REFUSED[case]
    before = state(project)
    assert expected in refused(capsys, *arguments)
    assert state(project) == before


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing new": (
        lambda _: label(*OLD),
        "models:/hemline/1 knows every attribute of the catalog data/catalog (collar, sleeve) and "
        "every value of its training images: there is nothing to grow",
    ),
    "too few labels": (
        lambda _: growing.Line(folder=Path("data")).label(
            [*OLD, "hem"],
            [row for row in growing.rows_of([*OLD, "hem"]) if row[1] < 2 or row[0] > 60],
        ),
        "hem: 35 training images have a label, and growing needs 50",
    ),
    "other images": (
        lambda _: growing.store_pictures(Path("data/store"), image_size_px=32),
        "models:/hemline/1 takes images of 64 px, and the store has 32",
    ),
    "another network": (
        lambda folder: write_values({"model.embedding_dim": 32}, folder / "params.yaml"),
        "model.embedding_dim is 32, and models:/hemline/1 has 16",
    ),
    "no catalog": (
        lambda folder: shutil.rmtree(folder / "data/catalog"),
        "data/catalog/schema.json is missing",
    ),
    "no champion": (
        lambda folder: (
            tracking_of(folder).client().delete_registered_model_alias("hemline", "champion")
        ),
        "models:/hemline@champion is not in the registry",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_cannot_be_grown_changes_nothing(project, capsys, case):
    change, expected = CHANGES[case]
    change(project)
    before = state(project)
    assert expected in refused(capsys)
    assert state(project) == before


def test_undo_needs_a_champion_that_was_grown_of_one(project, capsys):
    where = tracking_of(project)
    where.client().set_registered_model_alias("hemline", "champion", str(GROWN_OF_NONE))
    before = state(project)
    said = refused(capsys, "--undo")
    assert "models:/hemline/8 extends models:/hemline/7, which was never champion: " in said
    assert "`hemline promote 7`" in said
    assert state(project) == before
    where.client().delete_model_version_tag("hemline", str(GROWN), versions.GRAPH_TAG)
    assert "models:/hemline/8 was grown in another registry, and " in refused(capsys, "--undo")
    where.client().delete_registered_model_alias("hemline", "champion")
    assert "has no champion of hemline" in refused(capsys, "--undo")


def test_a_version_is_taken_with_its_network_and_what_it_was_registered_with(project):
    """The graph's bytes, and a network that gives what the registered one was exported from."""
    folder = project / "taken"
    take_parent(version(NEW), folder, where=tracking_of(project))
    package = versions.download(version(NEW), tracking=tracking_of(project))
    assert read_package(folder / PARENT_PACKAGE).graph_sha256 == package.graph_sha256
    described = files.read_json(folder / PARENT_VERSION)
    assert described["uri"] == "models:/hemline/1"
    assert described["graph_sha256"] == package.graph_sha256
    taken = read_parent(folder, package.graph_sha256)
    assert taken.description == {
        "model": asdict(SMALL)
        | {"pixel_mean": [*IMAGENET_PIXELS.mean], "pixel_std": [*IMAGENET_PIXELS.std]}
    }
    assert_gives(taken.model.network, small_network(SMALL, seed=1))
    assert (taken.model.schema, taken.model.image_size_px) == (schema_of(OLD), SIZE_PX)


def assert_gives(network: EmbeddingNetwork, expected: EmbeddingNetwork) -> None:
    assert network.pixel_statistics == expected.pixel_statistics
    images = torch.randn(2, 3, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(2))
    asked = torch.tensor([[0, 1]]).expand(2, -1)
    with torch.inference_mode():
        assert torch.equal(network(images, asked), expected(images, asked))


def test_an_older_version_is_taken_by_what_its_run_says(project):
    """Parts that are as in the paper, pixels of its own: everything that builds its network."""
    folder = project / "taken"
    take_parent(version(OLDER), folder, where=tracking_of(project))
    described = files.read_json(folder / PARENT_VERSION)
    taken = read_parent(folder, described["graph_sha256"])
    model = replace(SMALL, **PIXELS)
    assert taken.description == {"model": asdict(model)}
    assert ModelParams(**taken.description["model"]) == model
    assert_gives(taken.model.network, small_network(model, seed=1))
    assert files.sha256(folder / PARENT_PACKAGE / NETWORK_FILE) == described["graph_sha256"]


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", ["rmtree", "track", "write_values"])
def test_killed_before_params_name_it_and_started_again_the_project_holds_it(
    project, monkeypatch, moment
):
    """In place of the champion, which lies there; what params say else, and how, stays."""
    monkeypatch.setattr(command.dvc, "track", lambda _: None)
    where, params = tracking_of(project), project / "params.yaml"
    text = params.read_text()

    def kill(*_: object, **__: object) -> None:
        raise KilledError

    def start() -> None:
        command.prepare(version(OLDER), None, params=params, where=where)

    with monkeypatch.context() as patch:
        place = {"rmtree": shutil, "track": command.dvc, "write_values": command}[moment]
        patch.setattr(place, moment, kill)
        with pytest.raises(KilledError):
            start()
    assert params.read_text() == text
    start()
    graph = versions.graph_sha256(version(OLDER), tracking=where)
    assert read_parent(project / "models/parent", graph).uri == version(OLDER).uri
    assert load_section(params, TrainParams).parent == graph
    lines = [*zip(text.splitlines(), params.read_text().splitlines(), strict=True)]
    (changed,) = [after for before, after in lines if before != after]
    assert changed.split()[:2] == ["parent:", graph]
    before = state(project)
    start()
    assert state(project) == before, "what is there is left as it is"
