"""The Kubernetes manifests: their fields, what they may do, and that they belong together."""

import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from manifests import (
    ENTRY_POINT,
    INFRA,
    OUR_IMAGE,
    SCHEMAS,
    documents,
    found,
    kubernetes_files,
    read,
)

FOLDER = INFRA / "kuberay"
DOCUMENTS = [(path.name, document) for path in kubernetes_files() for document in documents(path)]
OFFICIAL = INFRA.parents[1] / "shared/crds/validate.py"


def named(kind: str) -> list[dict]:
    return [document for _, document in DOCUMENTS if document["kind"] == kind]


def schema_of(kind: str) -> dict:
    schemas = read(SCHEMAS / "kubernetes.yaml")
    document = schemas["$defs"]["document"]
    own = schemas["kinds"][kind]
    return {
        **document,
        "$defs": schemas["$defs"],
        "required": document["required"] + own.get("required", []),
        "properties": document["properties"] | own["properties"],
    }


@pytest.mark.parametrize(
    ("file", "document"), DOCUMENTS, ids=[f"{f}-{d['kind']}" for f, d in DOCUMENTS]
)
def test_fields_are_known_and_complete(file, document):
    jsonschema.validate(document, schema_of(document["kind"]))


@pytest.mark.parametrize(
    "change",
    [
        {"entrypoint": "hemline retrain"},
        {"backoffLimit": 2},
        {"shutdownAfterJobFinish": True},
        {"activeDeadlineSeconds": None},
    ],
    ids=str,
)
def test_the_schema_sees_a_fault(change):
    (job,) = named("RayJob")
    spec = {key: value for key, value in (job["spec"] | change).items() if value is not None}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job | {"spec": spec}, schema_of("RayJob"))


def test_kuberays_own_schemas_agree():
    if not OFFICIAL.exists():
        pytest.skip(f"KubeRay's schemas are not at {OFFICIAL}")
    done = subprocess.run(
        [sys.executable, OFFICIAL, *kubernetes_files()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "3 documents checked, 0 faults" in done.stdout


def test_all_of_rays_manifests_describe_one_cluster_and_one_job():
    (job,), (cluster,), (scheduled,) = named("RayJob"), named("RayCluster"), named("RayCronJob")
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]
    assert job["spec"] == scheduled["spec"]["jobTemplate"]
    assert job["spec"]["entrypoint"] == ENTRY_POINT


def test_gpus_start_from_zero_and_none_is_held_by_the_head():
    spec = named("RayCluster")[0]["spec"]
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    assert spec["enableInTreeAutoscaling"]
    assert groups["gpu"]["minReplicas"] == 0 < groups["gpu"]["maxReplicas"]
    assert list(found(groups["gpu"], "nvidia.com/gpu")) == ["1", "1"]
    assert not list(found([spec["headGroupSpec"], groups["cpu"]], "nvidia.com/gpu"))


def test_the_pods_deadline_leaves_the_job_its_own():
    (job,), (cron,) = named("RayJob"), named("CronJob")
    waiting = cron["spec"]["jobTemplate"]["spec"]
    spec = job["spec"]
    assert (
        spec["preRunningDeadlineSeconds"] + spec["activeDeadlineSeconds"]
        < (waiting["activeDeadlineSeconds"])
    )
    assert waiting["activeDeadlineSeconds"] < 24 * 3600  # of the next night


def test_every_reference_leads_somewhere():
    there = {kind: {d["metadata"]["name"] for d in named(kind)} for kind in ("ConfigMap",)}
    made = {each["name"] for each in read(FOLDER / "kustomization.yaml")["configMapGenerator"]}
    for reference in found([d for _, d in DOCUMENTS], "configMapRef"):
        assert reference["name"] in there["ConfigMap"]
    for mounted in found(named("CronJob"), "configMap"):
        assert mounted["name"] in made
    (claim,) = named("PersistentVolumeClaim")
    assert set(found(named("RayJob"), "claimName")) == {claim["metadata"]["name"]}
    secrets = (FOLDER / "secrets.example.env").read_text()
    for reference in found([d for _, d in DOCUMENTS], "secretRef"):
        assert f"generic {reference['name']} " in secrets
    (account,), (binding,), (role,) = (
        named(kind) for kind in ("ServiceAccount", "RoleBinding", "Role")
    )
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert set(found(named("CronJob"), "serviceAccountName")) == {account["metadata"]["name"]}


def test_workers_hold_no_secret():
    spec = named("RayCluster")[0]["spec"]
    assert [r["name"] for r in found(spec["headGroupSpec"], "secretRef")] == ["hemline-retrain"]
    for group in spec["workerGroupSpecs"]:
        assert not list(found(group, "secretRef"))
        assert {r["name"] for r in found(group, "configMapRef")} == {"hemline-tracking"}
        assert group["template"]["spec"]["automountServiceAccountToken"] is False


def test_the_schedule_may_create_and_look_at_ray_jobs_only():
    (role,) = named("Role")
    assert role["rules"] == [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}
    ]


def test_kustomize_brings_the_schedule_and_one_image_for_all():
    kustomization = read(FOLDER / "kustomization.yaml")
    for name in kustomization["resources"]:
        assert (FOLDER / name).is_file()
    assert "raycronjob.yaml" not in kustomization["resources"]  # one schedule, not two
    for generated in kustomization["configMapGenerator"]:
        assert all((FOLDER / name).is_file() for name in generated["files"])
    (image,) = kustomization["images"]
    assert OUR_IMAGE.split(":")[0] == image["name"]
    assert set(found([d for _, d in DOCUMENTS], "image")) == {OUR_IMAGE}


def test_kustomize_builds_what_is_applied():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed here")
    built = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, check=True)
    made = list(yaml.safe_load_all(built.stdout))
    for document in made:
        jsonschema.validate(document, schema_of(document["kind"]))
    (cron,) = [document for document in made if document["kind"] == "CronJob"]
    (container,) = next(found(cron, "containers"))
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert container["image"].startswith("registry.example.org/hemline:")
    assert variables["HEMLINE_IMAGE"] == container["image"]  # which the RayJob then runs
    (mounted,) = found(cron, "configMap")
    data = {d["metadata"]["name"]: d["data"] for d in made if d["kind"] == "ConfigMap"}
    assert mounted["name"] != "hemline-rayjob"  # it bears a hash of its content
    assert data[mounted["name"]]["rayjob.yaml"] == (FOLDER / "rayjob.yaml").read_text()


def test_the_launcher_is_where_the_schedule_runs_it():
    (command,) = found(named("CronJob"), "command")
    launcher = Path(command[1])
    assert (INFRA / launcher.relative_to("/opt/hemline/infra")).is_file()
