"""The CronJob's pod: it creates one RayJob for a night, waits for its end, and tells how it went.

Kubernetes' API is played by a small server; client, program and HTTP are real.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from manifests import INFRA, found

pytestmark = pytest.mark.slow

RUN, IMAGE = "hemline-retrain-29401234", "registry.example.org/hemline:0a1b2c3"
JOBS = "/apis/ray.io/v1/namespaces/hemline/rayjobs"
WAITING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
SUCCEEDED = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}


@dataclass
class Cluster:
    """RayJobs by name, and the answers that are still to come: a status, or an error's number."""

    answers: list[dict[str, str] | int]
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    url: str = ""

    def create(self, job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name = job["metadata"]["name"]
        if name in self.jobs:
            return 409, {"reason": "AlreadyExists"}
        self.jobs[name] = job
        return 201, job

    def look(self, name: str) -> tuple[int, dict[str, Any]]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, int):
            return answer, {"reason": "told to"}
        return 200, self.jobs[name] | {"status": answer}


@contextmanager
def cluster(*answers: dict[str, str] | int) -> Iterator[Cluster]:
    state = Cluster(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == JOBS
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*state.create(json.loads(body)))

        def do_GET(self):
            folder, _, name = self.path.rpartition("/")
            assert folder == JOBS
            self.answer(*state.look(name))

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def launch(state: Cluster, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the program as somebody does who has access to the cluster."""
    config = folder / "kubeconfig"
    access = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": state.url}}],
        "users": [{"name": "me", "user": {}}],
    }
    config.write_text(yaml.safe_dump(access))
    own = {"KUBECONFIG": str(config), "HEMLINE_RUN": RUN, "HEMLINE_IMAGE": IMAGE}
    return subprocess.run(
        [sys.executable, INFRA / "kuberay/launch.py", INFRA / "kuberay/rayjob.yaml"],
        env=os.environ | own | {"HEMLINE_POLL_S": "0.01"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_run_is_created_and_waited_for(tmp_path):
    with cluster({}, WAITING, WAITING, SUCCEEDED) as state:
        done = launch(state, tmp_path)
    assert done.returncode == 0, done.stderr
    job = state.jobs[RUN]
    assert job["spec"]["entrypoint"].endswith("/infra/entrypoint.sh")
    assert "generateName" not in job["metadata"]
    assert set(found(job, "image")) == {IMAGE}
    assert done.stdout.splitlines() == [
        f"created RayJob {RUN}",
        f"{RUN}: not seen yet",
        f"{RUN}: Running RUNNING",
        f"{RUN}: Complete SUCCEEDED",
    ]


def test_a_pod_in_anothers_place_waits_for_the_same_run(tmp_path):
    with cluster(WAITING, SUCCEEDED) as state:
        first = state.jobs[RUN] = {"metadata": {"name": RUN}, "spec": {}}
        done = launch(state, tmp_path)
    assert done.returncode == 0, done.stderr
    assert state.jobs == {RUN: first}
    assert f"RayJob {RUN} is there already" in done.stdout


@pytest.mark.parametrize(
    "status",
    [
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "exit code 1"},
        {"jobDeploymentStatus": "Failed", "message": "the deadline was exceeded"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED", "message": "stopped"},
        {"jobDeploymentStatus": "ValidationFailed", "message": "unknown field"},
    ],
    ids=lambda status: status["message"],
)
def test_a_run_that_fails_fails_the_pod_and_says_why(tmp_path, status):
    with cluster(WAITING, status) as state:
        done = launch(state, tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.endswith(f"{status['message']}\n")


def test_an_api_that_is_away_for_a_moment_is_asked_again(tmp_path):
    with cluster(WAITING, 503, 429, SUCCEEDED) as state:
        done = launch(state, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Kubernetes answers 503; asking again" in done.stdout


def test_a_run_that_was_deleted_is_not_waited_for(tmp_path):
    with cluster(WAITING, 404) as state:
        done = launch(state, tmp_path)
    assert done.returncode == 1
    assert "404" in done.stderr
