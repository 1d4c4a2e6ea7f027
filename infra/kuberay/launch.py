"""Creates the RayJob of one scheduled run and waits for its end: what cronjob.yaml's pod does.

    HEMLINE_RUN=<name of the run> HEMLINE_IMAGE=<image> python launch.py rayjob.yaml

The RayJob bears the run's name, so that a pod that takes another's place finds the RayJob that is
there and waits for it. Exit status: 0 it succeeded, 1 it did not.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

PLACE = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
ENDED = {"Complete", "Failed", "ValidationFailed"}
CONFLICT, TOO_MANY, SERVER_ERROR = 409, 429, 500
SECONDS_BETWEEN_LOOKS = 15.0


def job_of(manifest: Path, *, run: str, image: str) -> dict[str, Any]:
    """Returns the RayJob of a run: the manifest's, with a name and with this image everywhere."""
    job: dict[str, Any] = yaml.safe_load(manifest.read_text())
    job["metadata"] = {k: v for k, v in job["metadata"].items() if k != "generateName"}
    job["metadata"]["name"] = run
    for container in containers(job["spec"]):
        container["image"] = image
    return job


def containers(node: Any) -> Iterator[dict[str, Any]]:
    """Yields every container of every pod template under a node."""
    if isinstance(node, list):
        for child in node:
            yield from containers(child)
    elif isinstance(node, dict):
        for name in ("initContainers", "containers"):
            yield from node.get(name, [])
        for child in node.values():
            yield from containers(child)


def create(api: client.CustomObjectsApi, job: dict[str, Any]) -> None:
    """Creates a RayJob, unless one of its name is there."""
    metadata = job["metadata"]
    try:
        api.create_namespaced_custom_object(namespace=metadata["namespace"], body=job, **PLACE)
        say(f"created RayJob {metadata['name']}")
    except ApiException as error:
        if error.status != CONFLICT:
            raise
        say(f"RayJob {metadata['name']} is there already")


def wait(api: client.CustomObjectsApi, job: dict[str, Any], *, every_s: float) -> dict[str, Any]:
    """Returns the status of a RayJob once it has ended; the pod's deadline ends the waiting."""
    metadata, before = job["metadata"], None
    while True:
        status = look(api, namespace=metadata["namespace"], name=metadata["name"])
        if status is not None:
            now = (status.get("jobDeploymentStatus"), status.get("jobStatus"))
            if now != before:
                say(f"{metadata['name']}: {' '.join(filter(None, now)) or 'not seen yet'}")
                before = now
            if now[0] in ENDED:
                return status
        time.sleep(every_s)


def look(api: client.CustomObjectsApi, *, namespace: str, name: str) -> dict[str, Any] | None:
    """Returns the status of a RayJob; None when Kubernetes has no answer now but may have soon."""
    try:
        job = api.get_namespaced_custom_object(namespace=namespace, name=name, **PLACE)
    except ApiException as error:
        if error.status < SERVER_ERROR and error.status != TOO_MANY:
            raise  # deleted, or no right to see it: waiting does not help
        say(f"Kubernetes answers {error.status}; asking again")
        return None
    except HTTPError as error:
        say(f"Kubernetes does not answer ({type(error).__name__}); asking again")
        return None
    status: dict[str, Any] = job.get("status", {})
    return status


def say(text: str) -> None:
    """Prints a line at once."""
    print(text, flush=True)


def main(manifest: str) -> int:
    """Runs one RayJob to its end and returns this program's exit status."""
    try:
        config.load_incluster_config()
    except ConfigException:  # by hand, from a workstation
        config.load_kube_config()
    api = client.CustomObjectsApi()
    job = job_of(Path(manifest), run=os.environ["HEMLINE_RUN"], image=os.environ["HEMLINE_IMAGE"])
    create(api, job)
    every_s = float(os.environ.get("HEMLINE_POLL_S", SECONDS_BETWEEN_LOOKS))
    status = wait(api, job, every_s=every_s)
    if status.get("message"):
        say(status["message"])
    return 0 if status.get("jobStatus") == "SUCCEEDED" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
