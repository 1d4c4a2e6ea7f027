"""Versions, aliases and URIs in a real registry; what a version is made of."""

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from components.errors import HemlineError
from components.provenance import origin
from components.registry import promotion, registration, versions
from components.registry.versions import RegisteredVersion, resolve
from components.tracking.runs import Tracking, start_run

LONG = "".join(f"line {number} of a card\n" for number in range(400))


@pytest.fixture(scope="module")
def tracking(example, tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A registry with two versions: the champion, and the challenger, whose card is long."""
    folder = tmp_path_factory.mktemp("mlflow")
    tracking = Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "files"))
    for card in ("# A card\n", LONG):
        run_id = start_run(tracking, params={}, tags={})
        registration.register_package(
            example.package.folder, card=card, tracking=tracking, run_id=run_id
        )
    assert versions.champion(tracking) is None, "registering makes no champion"
    promotion.move_champion("promote", 1, expected=None, who="a test", tracking=tracking)
    return tracking


@pytest.mark.parametrize(
    ("which", "version"),
    [("@champion", 1), ("@challenger", 2), ("/1", 1), ("/2", 2), ("/latest", 2)],
)
def test_a_uri_names_a_version(tracking, which, version) -> None:
    found = resolve(f"models:/hemline{which}", tracking)
    assert found == RegisteredVersion(name="hemline", version=version)


@pytest.mark.parametrize("uri", ["hemline/1", "models:/hemline", "models:/hemline/Staging", ""])
def test_other_forms_are_refused_with_those_that_are_known(tracking, uri) -> None:
    with pytest.raises(HemlineError, match="models:/hemline@champion, models:/hemline/3"):
        resolve(uri, tracking)


@pytest.mark.parametrize("which", ["@best", "/3"])
def test_an_unknown_version_is_told_with_those_that_are_there(tracking, which) -> None:
    with pytest.raises(HemlineError, match="MLFLOW_TRACKING_URI") as raised:
        resolve(f"models:/hemline{which}", tracking)
    for known in ("/1", "/2", "/latest", "@champion", "@challenger"):
        assert f"models:/hemline{known}" in str(raised.value)


def test_an_unknown_model_is_told(tracking) -> None:
    with pytest.raises(HemlineError, match="which has no version of other; set MLFLOW_TRACKING"):
        resolve("models:/other/1", tracking)


def test_a_store_that_does_not_answer_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    nowhere = Tracking(uri="http://127.0.0.1:9", artifact_root="")
    with pytest.raises(HemlineError, match=r"127\.0\.0\.1:9 does not answer"):
        resolve("models:/hemline/1", nowhere)


def test_a_version_comes_back_as_it_was_written(tracking, example) -> None:
    package = versions.download(resolve("models:/hemline/2", tracking), tracking=tracking)
    assert package.schema == example.package.schema
    assert package.image_size_px == example.package.image_size_px


def test_the_card_is_described_beside_the_model_and_on_the_run(tracking, tmp_path) -> None:
    client = tracking.client()
    version = client.get_model_version("hemline", "1")
    assert version.description.endswith("model_card.md)\n\n# A card\n")
    copies = [
        client.download_artifacts(version.run_id, "model_card.md", str(tmp_path)),
        mlflow.artifacts.download_artifacts("models:/hemline/1/artifacts/model_card.md"),
    ]
    assert [Path(copy).read_text() for copy in copies] == ["# A card\n"] * 2


def test_a_card_that_is_too_long_to_describe_is_cut_at_a_line(tracking) -> None:
    client = tracking.client()
    description = client.get_model_version("hemline", "2").description
    assert 4900 < len(description) <= 5000  # what a database of MLflow's keeps
    links, *lines, notice = description.rstrip().split("\n")
    assert links.startswith("[model card](#/experiments/")
    assert all(line in LONG.split("\n") for line in lines)
    assert "model_card.md" in notice


def test_the_requirements_travel_with_the_model(tracking) -> None:
    tracking.activate()
    path = mlflow.artifacts.download_artifacts("models:/hemline/1/requirements.txt")
    names = [line.split("==")[0] for line in Path(path).read_text().split()]
    decoder = ["numpy", "pillow", "simplejpeg"]
    assert sorted(names) == sorted([*decoder, "mlflow", "pandas", "pyarrow", "torch"])


def test_a_stage_that_is_run_again_does_not_register_twice(example, tmp_path) -> None:
    """As where it was killed between the registry's answer and its own output."""
    store = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_root=str(tmp_path / "files"))
    run_id = start_run(store, params={}, tags={})

    def register(card: str) -> int:
        package = example.package.folder
        return registration.register_package(
            package, card=card, tracking=store, run_id=run_id
        ).version

    assert [register("# A card\n"), register("# A card\n")] == [1, 1]
    assert register("# Another evaluation\n") == 2
    assert resolve("models:/hemline@challenger", store).version == 2


def test_versions_go_to_a_registry_of_its_own_under_the_name_that_is_asked_for(
    example, tmp_path: Path
) -> None:
    store = Tracking(
        uri=f"sqlite:///{tmp_path}/mlflow.db",
        artifact_root=str(tmp_path / "files"),
        registry_uri=f"sqlite:///{tmp_path}/models.db",
        model_name="team.schema.shop",
    )
    run_id = start_run(store, params={}, tags={})
    version = registration.register_package(
        example.package.folder, card="# A card\n", tracking=store, run_id=run_id
    )
    assert version.uri == "models:/team.schema.shop/1"
    assert MlflowClient(store.uri, store.uri).search_registered_models() == []
    found = MlflowClient(store.registry_uri, store.registry_uri)
    assert found.get_model_version("team.schema.shop", "1").run_id == run_id
    package = versions.download(
        resolve("models:/team.schema.shop@challenger", store), tracking=store
    )
    assert package.schema == example.package.schema
    promotion.move_champion("promote", 1, expected=None, who="a test", tracking=store)
    assert versions.champion(store) == 1
    assert origin.versions_of(run_id, tracking=store) == (version,)
    with pytest.raises(HemlineError, match=r"/9 is not in the registry sqlite:///.*/models\.db"):
        resolve("models:/team.schema.shop/9", store)
