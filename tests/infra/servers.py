"""The servers of infra/, started here: real ones, on this machine's loopback only."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

import boto3
import psutil
import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LOOPBACK = "127.0.0.1"
BUCKET = "hemline"
S3_KEY_ID = "AKIAHEMLINE"  # no secret: every request shows it


def _new() -> str:
    return f"planted-{secrets.token_hex(16)}"


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """What must show up nowhere; generated each time, as this file itself is in the project."""

    postgres: str = field(default_factory=_new)
    s3_secret: str = field(default_factory=_new)
    mlflow_admin: str = field(default_factory=_new)
    mlflow_user: str = field(default_factory=_new)
    mlflow_forms: str = field(default_factory=_new)
    ray_token: str = field(default_factory=_new)
    git_token: str = field(default_factory=_new)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """Returns an environment with this one's programs, and none of its own settings of servers."""
    ours = ("AWS_", "MLFLOW_", "PG", "RAY_", "HEMLINE_", "GIT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "RAY_USAGE_STATS_ENABLED": "0", **more}


def status_of(url: str, headers: Mapping[str, str] | None = None) -> int | None:
    """Returns the status that a server answers with; None where none answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=5):
            return 200
    except HTTPError as error:
        return error.code
    except OSError:
        return None


@contextmanager
def running(
    *command: str | Path, log: Path, environment: Mapping[str, str], ready: Callable[[], bool]
) -> Iterator[None]:
    """Runs a server while the block lasts; what it wrote shows when it does not come up."""
    with log.open("w") as out:
        server = subprocess.Popen(
            [str(part) for part in command],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 180
        while not ready():
            assert server.poll() is None, f"{command[0]} ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{command[0]} does not answer:\n{log.read_text()}"
            time.sleep(0.2)
        yield
    finally:
        _stop(server)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stops a server and what it started, whatever session that is in."""
    try:
        started = psutil.Process(server.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
    for process in started:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(started, timeout=10)
    server.wait()


def postgres_programs() -> Path:
    """Returns the folder of PostgreSQL's programs; skips the test where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda bin: bin.parent.name)
    found = folders[-1] if folders else Path(shutil.which("initdb") or "/nowhere/initdb").parent
    if not (found / "initdb").exists():
        pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to run it as another")
    return found


@contextmanager
def postgres(folder: Path, planted: Secrets) -> Iterator[dict[str, str]]:
    """Runs PostgreSQL with passwords on; gives libpq's variables of its database `mlflow`."""
    programs = postgres_programs()
    folder.mkdir()
    as_its_user: Sequence[str] = ()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_its_user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    password = folder / "password"
    password.write_text(planted.postgres)
    password.chmod(0o644)
    made = [*as_its_user, programs / "initdb", "-D", folder / "data", "-U", "mlflow"]
    made += ["--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
    done = subprocess.run(made, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    password.unlink()
    port = free_port()
    client = {"PGHOST": LOOPBACK, "PGPORT": str(port), "PGUSER": "mlflow"}
    client |= {"PGPASSWORD": planted.postgres, "PGDATABASE": "mlflow"}
    options = {"port": port, "listen_addresses": LOOPBACK, "unix_socket_directories": folder}
    with running(
        *(*as_its_user, programs / "postgres", "-D", folder / "data", "-F"),
        *(f"--{name}={value}" for name, value in options.items()),
        log=folder.parent / "postgres.log",
        environment=environment(),
        ready=lambda: (
            subprocess.run(
                [programs / "pg_isready", "-q"], env=environment(**client), check=False
            ).returncode
            == 0
        ),
    ):
        subprocess.run([programs / "createdb", "mlflow"], env=environment(**client), check=True)
        yield client


@contextmanager
def object_store(folder: Path, planted: Secrets) -> Iterator[dict[str, str]]:
    """Runs an S3-compatible server with one bucket; gives the variables of its clients."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    client = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": S3_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": planted.s3_secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [BIN / "moto_server", "-H", LOOPBACK, "-p", str(port)]
    with running(
        *command,
        log=folder / "objects.log",
        environment=environment(),
        ready=lambda: status_of(url) is not None,
    ):
        s3_client(client).create_bucket(Bucket=BUCKET)
        yield client


def s3_client(client: Mapping[str, str]):
    """Returns boto3's client of the object store."""
    return boto3.client(
        "s3",
        endpoint_url=client["AWS_ENDPOINT_URL"],
        aws_access_key_id=client["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=client["AWS_SECRET_ACCESS_KEY"],
        region_name=client["AWS_DEFAULT_REGION"],
    )


@contextmanager
def mlflow_server(
    folder: Path, planted: Secrets, *, database: Mapping[str, str], objects: Mapping[str, str]
) -> Iterator[str]:
    """Runs the MLflow server as the image does; gives its host and port."""
    port = free_port()
    settings = {
        "MLFLOW_HOST": LOOPBACK,
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": "1",
        "MLFLOW_ALLOWED_HOSTS": f"{LOOPBACK}:{port}",
        "MLFLOW_ARTIFACTS": f"s3://{BUCKET}/mlflow",
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": planted.mlflow_admin,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": planted.mlflow_forms,
    }
    with running(
        ROOT / "infra/docker/serve_mlflow.sh",
        log=folder / "mlflow.log",
        environment=environment(**database, **objects, **settings),
        ready=lambda: status_of(f"http://{LOOPBACK}:{port}/health") == 200,
    ):
        yield f"{LOOPBACK}:{port}"


@contextmanager
def ray_cluster(folder: Path, pods: Mapping[str, str], *, num_cpus: int) -> Iterator[str]:
    """Runs a Ray head and a second node that ask for a token; gives the address of the job API.

    Args:
        folder: for the logs of starting.
        pods: environment of both nodes, the token in it.
        num_cpus: of each node.
    """
    port, api = free_port(), free_port()
    common = ["--block", "--disable-usage-stats", "--log-color=false", f"--num-cpus={num_cpus}"]
    common += ["--object-store-memory=100000000", f"--node-ip-address={LOOPBACK}"]
    head = ["--head", f"--port={port}", f"--dashboard-host={LOOPBACK}", f"--dashboard-port={api}"]
    head += [f"--ray-client-server-port={free_port()}", f"--temp-dir={folder / 'ray'}"]
    url = f"http://{LOOPBACK}:{api}"
    own = environment(**pods)

    def num_nodes() -> int:
        listed = [BIN / "ray", "list", "nodes", "--address", url, "--filter", "state=ALIVE"]
        done = subprocess.run(listed, env=own, capture_output=True, text=True, check=False)
        return done.stdout.count("ALIVE")

    with (
        running(
            *(BIN / "ray", "start", *head, *common, f"--dashboard-agent-listen-port={free_port()}"),
            log=folder / "ray_head.log",
            environment=own,
            ready=lambda: status_of(f"{url}/api/version") in (200, 401, 403),
        ),
        running(
            *(BIN / "ray", "start", f"--address={LOOPBACK}:{port}", *common),
            f"--dashboard-agent-listen-port={free_port()}",
            log=folder / "ray_node.log",
            environment=own,
            ready=lambda: num_nodes() == 2,
        ),
    ):
        yield url
