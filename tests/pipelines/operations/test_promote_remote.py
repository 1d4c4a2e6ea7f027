"""Promotion on a team's servers: MLflow with artifacts in S3, and embeddings in S3."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from promotable import Promotable
from s3fs import S3FileSystem

from components.embedding.embeddings import Vectors, read_embeddings
from components.embedding.remote_embeddings import published_files
from components.errors import HemlineError
from components.registry import promotion, versions
from components.tracking.runs import Tracking
from pipelines.operations.promote.command import promote_version
from pipelines.operations.promote.inputs import Inputs
from pipelines.operations.rollback import rollback
from pipelines.operations.search.embedded import embeddings_at
from pipelines.shell.cli import main
from tests.infra import servers

pytestmark = pytest.mark.slow

SHOP = f"s3://{servers.BUCKET}/shop/published"
NUM_IMAGES = 60


@dataclass(frozen=True, kw_only=True)
class TeamProject(Promotable):
    """A project whose registry is a server."""

    server: str

    @property
    def tracking(self) -> Tracking:
        return Tracking(uri=self.server, artifact_root="")


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An S3 store, where this process finds it."""
    with (
        servers.object_store(tmp_path_factory.mktemp("s3"), servers.Secrets()) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in client.items():
            patch.setenv(name, value)
        yield client


@pytest.fixture(scope="module")
def team(
    objects: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TeamProject]:
    """Two versions in the registry of a server that keeps files in the S3 store."""
    folder, port = tmp_path_factory.mktemp("team"), servers.free_port()
    address = f"http://{servers.LOOPBACK}:{port}"
    command = [servers.BIN / "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", f"s3://{servers.BUCKET}/mlflow"]
    with servers.running(
        *command,
        log=folder / "mlflow.log",
        environment=servers.environment(**objects, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
        ready=lambda: servers.status_of(f"{address}/health") == 200,
    ):
        project = TeamProject(folder=folder / "project", server=address)
        project.add_images(0, NUM_IMAGES)
        project.set_params(min_map_change=-100)
        for corner in (2, 4):
            project.register(corner)
        yield project


@pytest.fixture
def project(team: TeamProject, tmp_path: Path, monkeypatch) -> TeamProject:
    """The project on a machine whose cache is empty, in which nothing can start Ray."""
    monkeypatch.chdir(team.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.server)
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_ADDRESS", "nowhere://")
    S3FileSystem.clear_instance_cache()  # clients, with the endpoint that they were made with
    return team


def status_of(*arguments: str) -> object:
    with pytest.raises(SystemExit) as stopped:
        main([*arguments])
    return stopped.value.code or 0


def found_near(picture: Path, address: str, capsys: pytest.CaptureFixture[str]) -> object:
    capsys.readouterr()
    asked = ["search", "--image", str(picture), "--attribute", "top", "--format", "json"]
    assert status_of(*asked, "--embeddings", address) == 0
    return json.loads(capsys.readouterr().out)


def test_a_store_that_does_not_answer_is_told_soon(
    project: TeamProject, monkeypatch, capsys
) -> None:
    project.embed(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{servers.LOOPBACK}:9")
    began = time.monotonic()
    with pytest.raises(HemlineError, match=rf"{SHOP}/hemline-1 cannot be written: .*127.0.0.1:9"):
        promote_version(1, inputs=Inputs(embeddings_root=SHOP))
    assert versions.champion(project.tracking) is None
    asked = ("search", "--id", "1", "--attribute", "top")
    assert status_of(*asked, "--embeddings", f"{SHOP}/hemline-1") == 1
    assert f"{SHOP}/hemline-1 cannot be read" in capsys.readouterr().err
    assert time.monotonic() - began < 60, "seconds"


def test_a_champion_of_a_team_is_promoted_searched_and_rolled_back(
    project: TeamProject, objects: dict[str, str], tmp_path: Path, monkeypatch, capsys
) -> None:
    picture, near = project.folder / "raw/7.png", {}
    stored: dict[int, list[Vectors]] = {}
    for number in (1, 2):
        project.embed(number)
        stored[number] = [*read_embeddings(Path("data/embeddings")).vectors("top")]
        near[number] = found_near(picture, "data/embeddings", capsys)
        assert promote_version(number, inputs=Inputs(embeddings_root=SHOP)).passed
    champion = promotion.champion_embeddings(project.tracking)
    assert champion.embeddings == f"{SHOP}/hemline-2"
    store = servers.s3_client(objects)
    listed = store.list_objects_v2(Bucket=servers.BUCKET, Prefix="shop/")["Contents"]
    names = {f"s3://{servers.BUCKET}/{entry['Key']}" for entry in listed}
    named = {str(file) for number in (1, 2) for file in published_files(f"{SHOP}/hemline-{number}")}
    assert names == named | {f"{SHOP}/hemline-{number}/manifest.json" for number in (1, 2)}

    # another machine, which has the registry and the store alone
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "other"))
    assert found_near(picture, champion.embeddings, capsys) == near[2]
    (ours,) = embeddings_at(champion.embeddings).vectors("top")
    assert (ours.embeddings_nD == stored[2][0].embeddings_nD).all()
    assert status_of("index", "--embeddings", champion.embeddings) == 0
    assert found_near(picture, champion.embeddings, capsys) == near[2]
    rollback()
    back = promotion.champion_embeddings(project.tracking).embeddings
    assert (versions.champion(project.tracking), back) == (1, f"{SHOP}/hemline-1")
    assert found_near(picture, back, capsys) == near[1]

    # any program reads the vectors where they are
    folder = f"{back.removeprefix('s3://')}/vectors"
    assert ds.dataset(folder, filesystem=S3FileSystem()).count_rows() == 2 * NUM_IMAGES

    assert status_of("check", "--embeddings-root", SHOP) == 0
    (items,) = (name for name in names if "hemline-2/items" in name)
    key = items.removeprefix(f"s3://{servers.BUCKET}/")
    store.put_object(Bucket=servers.BUCKET, Key=key, Body=b"damaged")
    assert status_of("check", "--embeddings-root", SHOP) == 1
    assert f"{items} is damaged" in capsys.readouterr().out.replace("\n", "")
    store.delete_object(Bucket=servers.BUCKET, Key=key)
    told = rf"{SHOP}/hemline-2 lacks items-\w+.parquet: .* `hemline rollback --to 2 --embed`"
    with pytest.raises(HemlineError, match=told):
        rollback(to=2)
    rollback(to=2, embed=True, embeddings_root=SHOP)
    assert found_near(picture, f"{SHOP}/hemline-2", capsys) == near[2]
