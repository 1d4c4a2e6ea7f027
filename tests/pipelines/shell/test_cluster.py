"""Where RAY_ADDRESS may lead: to nothing, elsewhere, or to a cluster; in own programs."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]

PROGRAM = """
import time

import ray.data

from components.errors import HemlineError
from pipelines.shell.environment import ray_session

began = time.monotonic()
try:
    with ray_session():
        print("joined", ray.get(ray.remote(lambda: 42).remote()))
except HemlineError as error:
    print("refused", error)
print(time.monotonic() - began)
"""


def enter(address: str, *, alone: bool = False) -> str:
    """Returns what entering a session says; it must take less than 20 seconds."""
    done = subprocess.run(
        [*(["unshare", "-rpf", "--mount-proc"] if alone else []), sys.executable, "-c", PROGRAM],
        env={**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, _, seconds = done.stdout.rstrip().rpartition("\n")
    assert float(seconds) < 20
    if said.startswith("refused"):
        assert done.stderr == "", "one message, and nothing of Ray's C++"
        assert f"RAY_ADDRESS={address}" in said
    return said


@contextmanager
def silent_server() -> Iterator[int]:
    """Gives a port that takes connections and never answers."""
    with socket.create_server(("", 0)) as server:
        yield server.getsockname()[1]


def sees_no_other_process() -> bool:
    probe = ["unshare", "-rpf", "--mount-proc", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def test_a_dead_address_is_refused_with_the_remedy():
    with silent_server() as port:
        pass  # nobody listens there any more
    said = enter(f"127.0.0.1:{port}")
    assert "leads to no Ray cluster" in said
    assert "unset RAY_ADDRESS" in said


def test_a_server_that_never_answers_is_refused():
    with silent_server() as port:
        assert "does not answer within 10 s" in enter(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ray://127.0.0.1:10001", "ray job submit"),
        ("http://127.0.0.1:8265", "ray job submit"),
        ("head", "Invalid address format"),
    ],
)
def test_what_is_no_address_of_a_head_is_refused(address, reason):
    assert reason in enter(address)


@pytest.mark.skipif(not sees_no_other_process(), reason="this machine has no process namespaces")
def test_auto_without_a_cluster_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where `ray start` notes the last cluster
    assert "Could not find any running Ray instance" in enter("auto", alone=True)


def test_a_cluster_is_joined_unless_it_is_of_another_version(ray_session):
    import ray  # noqa: PLC0415 - started by the fixture
    from ray.experimental import internal_kv  # noqa: PLC0415

    address = ray.get_runtime_context().gcs_address
    assert "joined 42" in enter(address)
    # what a cluster's head writes as it starts, and each driver reads
    key, where = b"CLUSTER_METADATA", b"cluster"
    written = internal_kv._internal_kv_get(key, namespace=where)
    for change in ({"ray_version": "2.9.3"}, {"python_version": "3.9.18"}):
        other = json.dumps(json.loads(written) | change).encode()
        internal_kv._internal_kv_put(key, other, overwrite=True, namespace=where)
        said = enter(address)
        assert next(iter(change.values())) in said
        assert "in the environment or the image that the cluster was started with" in said
    internal_kv._internal_kv_put(key, written, overwrite=True, namespace=where)
