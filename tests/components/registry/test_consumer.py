"""The model far from home: a new environment, a folder without this repository, real servers."""

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pandas as pd
import pytest
from consumer_docs import documented
from fresh_environment import create_environment

from components.errors import HemlineError
from components.provenance import origin
from components.registry import promotion, registration, versions
from components.tracking.runs import Tracking, start_run

pytestmark = pytest.mark.slow

URI = "models:/hemline@champion"
SAME = 0.9999
START_S = 120
NUM_PICTURES = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """An MLflow server that hands out artifacts itself."""
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    settings = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # starts faster
    with started(command, environment=settings, folder=folder) as server:
        yield server


@pytest.fixture(scope="module")
def published(server: "Server", example) -> Tracking:
    """The store where the model is champion, filled over HTTP; it starts during the export."""
    tracking = Tracking(uri=server.address_when_up(), artifact_root="")
    run_id = start_run(tracking, params={}, tags={})
    registration.register_package(
        example.package.folder, card="# A card\n", tracking=tracking, run_id=run_id
    )
    promotion.move_champion("promote", 1, expected=None, who="a test", tracking=tracking)
    return tracking


@pytest.fixture(scope="module")
def consumer(published: Tracking, tmp_path_factory) -> dict[str, str]:
    """The environment variables of a consumer: nothing but its own programs and the server."""
    published.activate()
    requirements = Path(mlflow.artifacts.download_artifacts(f"{URI}/requirements.txt"))
    folder = tmp_path_factory.mktemp("consumer")
    programs = create_environment(folder / "venv", requirements.read_text().split())
    return {
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(folder),
        "MLFLOW_TRACKING_URI": published.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@pytest.fixture(scope="module")
def scoring(consumer: dict[str, str], tmp_path_factory) -> Iterator["Server"]:
    """A server of the model, which starts while the first test runs."""
    command = [program(consumer, "python"), "-m", "mlflow", "models", "serve"]
    command += ["--model-uri", URI, "--env-manager", "local", "--workers", "1"]
    folder = tmp_path_factory.mktemp("scoring")
    with started(command, environment=consumer, folder=folder) as server:
        yield server


@pytest.mark.usefixtures("scoring")
def test_a_consumer_loads_and_predicts(example, consumer, pictures, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).with_name("consumer.py"), tmp_path)
    for number, data in enumerate(pictures[:NUM_PICTURES]):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    command = [program(consumer, "python"), "consumer.py", URI, "."]
    done = subprocess.run(
        command, cwd=tmp_path, env=consumer, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["absent"] == ["components", "pipelines", "dvc", "ray", "torchvision", "typer"]
    assert told["unpickled"] == []
    assert told["notices"]
    names = example.package.schema.names
    assert told["attributes"] == names * NUM_PICTURES
    assert told["rows"] == [row for row in range(NUM_PICTURES) for _ in names]
    check_same(told["embeddings"], example.embeddings(pictures[:NUM_PICTURES]))


def test_a_consumer_serves_and_is_called(example, scoring, pictures, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(pictures[0])
    address = scoring.address_when_up()
    expected = example.embeddings(pictures[:2])
    texts = [base64.b64encode(data).decode() for data in pictures[:2]]
    split = {"columns": ["image"], "data": [[text] for text in texts]}
    found = called(address, {"dataframe_split": split})
    assert [row["attribute"] for row in found] == example.package.schema.names * 2
    check_same([row["embedding"] for row in found], expected)

    records = [
        {"image": texts[1], "attribute": "skirt"},
        {"image": texts[0], "attribute": None},
    ]
    found = called(address, {"dataframe_records": records})
    assert [row["attribute"] for row in found] == ["skirt", *example.package.schema.names]
    check_same([row["embedding"] for row in found], np.concatenate([expected[1, 1:2], expected[0]]))

    bad = [{"image": texts[0], "attribute": "skirt"}, {"image": "", "attribute": "skirt"}]
    status, message = refused(address, json.dumps({"dataframe_records": bad}).encode())
    assert status == 400
    assert "row 1: empty_file" in message
    assert "Traceback" not in message
    null = {"dataframe_records": bad, "params": {"on_error": "null"}}
    assert [row["embedding"] is None for row in called(address, null)] == [False, True]

    # as Parquet, text arrives as it is: the server's own file must not be read
    table = io.BytesIO()
    pd.DataFrame({"image": [str(secret)], "attribute": ["skirt"]}).to_parquet(table)
    status, message = refused(address, table.getvalue(), "application/vnd.apache.parquet")
    assert status == 400
    assert "HEMLINE_READ_PATHS does not let this process read a file" in message


def test_the_documented_request_is_answered(
    example, scoring, pictures, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").write_bytes(pictures[0])
    found: dict[str, Any] = {}
    address = scoring.address_when_up()
    text = documented("Serve").replace("http://127.0.0.1:5001", address)
    exec(text.replace("neckline_design", "skirt"), found)
    (row,) = found["answer"].json()["predictions"]
    vector = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")
    check_same([vector], example.embeddings(pictures[:1])[0, 1:2])
    columns = {"image": [found["text"]] * 2, "attribute": ["skirt", None]}
    assert len(called(address, {"inputs": columns})) == 4


def test_mlflow_alone_fetches_the_requirements(consumer, tmp_path: Path) -> None:
    command = [program(consumer, "mlflow"), "artifacts", "download"]
    done = subprocess.run(
        [*command, "-u", f"{URI}/requirements.txt"],
        cwd=tmp_path,
        env=consumer,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).read_text().startswith("mlflow==")


def test_two_projects_share_a_server_and_nothing_else(published: Tracking, example) -> None:
    names = {"shop": "of the shop", "hemline": "hemline"}
    projects = {
        name: replace(published, model_name=name, experiment=experiment)
        for name, experiment in names.items()
    }
    before = promotion.read_moves(projects["hemline"])
    made = {}
    for name, where in projects.items():
        run_id = start_run(where, params={}, tags={origin.COMMIT_TAG: "c0ffee"})
        version = registration.register_package(
            example.package.folder, card=f"# {name}\n", tracking=where, run_id=run_id
        )
        made[name] = (run_id, version)
    assert made["shop"][1].uri == "models:/shop/1"
    assert made["hemline"][1].uri == "models:/hemline/2"
    promotion.move_champion("promote", 1, expected=None, who="a test", tracking=projects["shop"])
    versions.write_tag(
        made["shop"][1], promotion.EMBEDDINGS_TAG, "/shop-1", tracking=projects["shop"]
    )
    assert promotion.champion_embeddings(projects["shop"]).version.uri == "models:/shop/1"
    assert [move.version for move in promotion.read_moves(projects["shop"])] == [1]
    assert promotion.read_moves(projects["hemline"]) == before
    assert versions.champion(projects["hemline"]) == 1
    with pytest.raises(HemlineError, match="champion, version 1, has no embeddings"):
        promotion.champion_embeddings(projects["hemline"])
    for name, where in projects.items():
        run_id, version = made[name]
        assert versions.resolve(f"models:/{name}@challenger", where) == version
        (found,) = origin.find_runs("c0ffee", run_file=None, tracking=where)
        assert found.run_id == run_id
        assert origin.versions_of(run_id, tracking=where) == (version,)
        described = where.client().get_model_version(name, str(version.version)).description
        assert described.endswith(f"\n\n# {name}\n")


def program(environment: dict[str, str], name: str) -> str:
    return str(Path(environment["PATH"].split(":")[0]) / name)


def check_same(found: list[list[float]], expected: np.ndarray) -> None:
    vectors_RD, expected_RD = np.array(found), expected.reshape(-1, expected.shape[-1])
    assert (np.einsum("rd,rd->r", vectors_RD, expected_RD) >= SAME).all()


def called(address: str, content: dict[str, Any]) -> list[dict[str, Any]]:
    with post(address, json.dumps(content).encode()) as response:
        return json.load(response)["predictions"]


def refused(address: str, data: bytes, kind: str = "application/json") -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as raised:
        post(address, data, kind)
    return raised.value.code, raised.value.read().decode()


def post(address: str, data: bytes, kind: str = "application/json") -> Any:
    request = urllib.request.Request(f"{address}/invocations", data, {"Content-Type": kind})
    return urllib.request.urlopen(request, timeout=60)


class Server(NamedTuple):
    """A program that listens, or will."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def address_when_up(self) -> str:
        deadline = time.monotonic() + START_S
        while not is_up(self.address):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        return self.address


@contextmanager
def started(command: list[str], *, environment: dict[str, str], folder: Path) -> Iterator[Server]:
    """Runs a server on a free port of this machine while the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / f"server-{port}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=environment,
            start_new_session=True,
            stdout=file,
            stderr=file,
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", process, log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_up(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/health", timeout=5).status == 200
    except OSError:
        return False
