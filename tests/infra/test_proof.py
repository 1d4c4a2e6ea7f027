"""A scheduled retrain against real servers, each started as infra/ starts it.

PostgreSQL, MLflow with users and proxied artifacts on it, an S3-compatible store behind that and
behind DVC, two Ray nodes, a bare git remote: `infra/submit.sh` submits `infra/entrypoint.sh` to
them as the schedules do. `make prove` runs this file alone, and shows the job's log.
"""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pytest
import servers
import yaml
from servers import BUCKET, ROOT, Secrets, environment, status_of

from tests.pipelines.project import Project

pytestmark = pytest.mark.proof

SECRETS = Secrets()
USER = "retrain"
CPUS_PER_NODE = 2
PARAMS = {
    "data": {"root": "wardrobe"},
    # two workers that fit on no node together
    "train": {"num_workers": 2, "cpus_per_worker": CPUS_PER_NODE},
    # after so few steps vectors still lie closer together than a trained network's
    "gate": {"max_mean_similarity": 0.99},
}
RAY_TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": SECRETS.ray_token}


@dataclass(frozen=True, kw_only=True)
class Stack:
    """All servers, and the folders beside them."""

    folder: Path
    database: dict[str, str]
    objects: dict[str, str]
    mlflow: str
    ray_api: str
    workspace: Path
    developer: Project
    remote: Path

    @property
    def client(self) -> mlflow.MlflowClient:
        """A reader of the MLflow server."""
        return mlflow.MlflowClient(f"http://{USER}:{SECRETS.mlflow_user}@{self.mlflow}")

    def submit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Submits a retrain as a schedule does, and waits for it."""
        done = subprocess.run(
            [ROOT / "infra/submit.sh", *arguments],
            env=environment(
                RAY_API_SERVER_ADDRESS=self.ray_api,
                HEMLINE_ENTRYPOINT=str(ROOT / "infra/entrypoint.sh"),
                **RAY_TOKEN,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )
        print(done.stdout)  # noqa: T201 - what went wrong shows with a failed test
        with (self.folder / "jobs.log").open("a") as log:
            log.write(done.stdout)
        return done

    @property
    def report(self) -> dict:
        """What the last retrain says of itself."""
        return json.loads((self.workspace / "reports/retrain.json").read_text())


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    servers.postgres_programs()  # skips before anything is started
    with ExitStack() as running:
        # not pytest's folder: Ray's sockets bear no long paths, PostgreSQL's user has to get in
        folder = Path(running.enter_context(TemporaryDirectory(prefix="hemline-")))
        folder.chmod(0o711)
        database = running.enter_context(servers.postgres(folder / "db", SECRETS))
        objects = running.enter_context(servers.object_store(folder, SECRETS))
        host = running.enter_context(
            servers.mlflow_server(folder, SECRETS, database=database, objects=objects)
        )
        for _ in range(2):  # again: it changes nothing
            set_up_mlflow(host)
        developer, remote = published_project(folder, objects)
        workspace = folder / "workspace"
        pods = {
            **RAY_TOKEN,
            **objects,
            "MLFLOW_TRACKING_URI": f"http://{USER}:{SECRETS.mlflow_user}@{host}",
            "HEMLINE_GIT_URL": str(remote),
            "HEMLINE_GIT_TOKEN": SECRETS.git_token,
            "HEMLINE_WORKSPACE": str(workspace),
            "HEMLINE_SUCCESS_CODES": "0 10 11",
            "PYTHONPATH": str(workspace),
        }
        ray_api = running.enter_context(servers.ray_cluster(folder, pods, num_cpus=CPUS_PER_NODE))
        yield Stack(
            folder=folder,
            database=database,
            objects=objects,
            mlflow=host,
            ray_api=ray_api,
            workspace=workspace,
            developer=developer,
            remote=remote,
        )


def set_up_mlflow(host: str) -> None:
    """Makes the user that retrains, as docs/operations.md says."""
    administrator = {
        "MLFLOW_TRACKING_URI": f"http://{host}",
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": SECRETS.mlflow_admin,
    }
    user = {"HEMLINE_USER": USER, "HEMLINE_PASSWORD": SECRETS.mlflow_user}
    done = subprocess.run(
        [servers.BIN / "python", ROOT / "infra/docker/set_up_mlflow.py"],
        env=environment(**administrator, **user),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def published_project(folder: Path, objects: dict[str, str]) -> tuple[Project, Path]:
    """Returns a developer's project and the bare repository that it was pushed to.

    The keys of the DVC remote are in the developer's `.dvc/config.local`.
    """
    project = Project(folder / "developer")
    project.set_params(PARAMS)
    arguments = ["--images", "400", "--image-size", "64", "--seed", "5"]
    project.run("hemline", "wardrobe", "--out", "wardrobe", *arguments)
    project.run("dvc", "add", "-q", "wardrobe")
    project.run("dvc", "remote", "add", "-q", "-d", "store", f"s3://{BUCKET}/dvc")
    local = {
        "endpointurl": objects["AWS_ENDPOINT_URL"],
        "region": objects["AWS_DEFAULT_REGION"],
        "access_key_id": servers.S3_KEY_ID,
        "secret_access_key": SECRETS.s3_secret,
    }
    for name, value in local.items():
        project.run("dvc", "remote", "modify", "-q", "--local", "store", name, value)
    project.run("dvc", "push", "-q")
    remote = folder / "remote.git"
    project.run("git", "init", "-q", "--bare", "-b", "main", str(remote))
    for command in (
        ["branch", "-M", "main"],
        ["add", "-A"],
        ["commit", "-qm", "data"],
        ["remote", "add", "origin", str(remote)],
        ["push", "-q", "-u", "origin", "main"],
    ):
        project.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *command)
    return project, remote


def test_the_servers_ask_who_is_there(stack: Stack) -> None:
    search = f"http://{stack.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    login = base64.b64encode(f"{USER}:{SECRETS.mlflow_user}".encode()).decode()
    known = {"Authorization": f"Basic {login}"}
    assert status_of(search) == 401
    assert status_of(search, known) == 200
    assert status_of(search, known | {"Host": "elsewhere.example"}) == 403
    assert status_of(f"{stack.ray_api}/api/jobs/") == 401


def test_a_scheduled_retrain(stack: Stack) -> None:
    done = stack.submit()
    assert done.returncode == 0, done.stdout
    report = stack.report
    assert report["outcome"] == "promoted", report["verdict"]
    version = stack.client.get_model_version_by_alias("hemline", "champion")
    assert int(version.version) == report["version"] == 1
    assert version.source
    run = stack.client.get_run(version.run_id)
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    git = ["git", "-C", str(stack.remote)]
    pushed = subprocess.run(
        [*git, "log", "-1", "--format=%H", "main"], capture_output=True, text=True, check=True
    )
    assert pushed.stdout.strip() == report["commit"]
    locked = subprocess.run([*git, "show", "main:dvc.lock"], capture_output=True, check=True)
    outs = yaml.safe_load(locked.stdout)["stages"]["register"]["outs"]
    digest = outs[0]["md5"]
    held = servers.s3_client(stack.objects).head_object(
        Bucket=BUCKET, Key=f"dvc/files/md5/{digest[:2]}/{digest[2:]}"
    )
    assert held["ContentLength"] == outs[0]["size"]


def test_the_same_schedule_the_next_night(stack: Stack) -> None:
    done = stack.submit()
    assert done.returncode == 0, done.stdout
    assert stack.report["outcome"] == "nothing new"


def test_no_secret_is_written_anywhere(stack: Stack) -> None:
    """The database, the object store, all of git, the workspace, and the logs of all servers."""
    dump = subprocess.run(
        [servers.postgres_programs() / "pg_dump", "--inserts"],
        env=environment(**stack.database),
        capture_output=True,
        check=True,
    )
    history = subprocess.run(
        ["git", "-C", str(stack.remote), "log", "-p", "--all", "--text"],
        capture_output=True,
        check=True,
    )
    texts = {"PostgreSQL": dump.stdout, "git": history.stdout}
    store = servers.s3_client(stack.objects)
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page["Contents"]:
            body = store.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"]
            texts[f"s3 {entry['Key']}"] = body.read()
    for place in (stack.workspace, stack.folder / "ray", *stack.folder.glob("*.log")):
        files = [place] if place.is_file() else place.rglob("*")
        texts |= {str(file): file.read_bytes() for file in files if file.is_file()}
    assert len(texts) > 100  # it has looked at something
    found = {
        where: secret
        for where, text in texts.items()
        for secret in astuple(SECRETS)
        if secret.encode() in text
    }
    assert not found
