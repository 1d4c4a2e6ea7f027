"""Image, compose stack, workflow, units and scripts: fields, pins, secrets, one entry point."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
from manifests import ENTRY_POINT, INFRA, SCHEMAS, documents, found, kubernetes_files, read

COMPOSE = read(INFRA / "compose/compose.yaml")
DOCKERFILE = (INFRA / "docker/Dockerfile").read_text()
WORKFLOW = read(INFRA / "github/retrain.yml")
CLUSTER = read(INFRA / "ray/cluster.yaml")
SERVICE = INFRA / "systemd/hemline-retrain.service"
SCRIPTS = sorted(INFRA.rglob("*.sh"))
VARIABLE = re.compile(r"\$\{(\w+)(?::[?-][^}]*)?\}")


def services() -> dict[str, dict]:
    return COMPOSE["services"]


def test_the_compose_stack_has_known_fields():
    plain = {key: value for key, value in COMPOSE.items() if not key.startswith("x-")}
    jsonschema.validate(plain, read(SCHEMAS / "compose.yaml"))


@pytest.mark.parametrize("change", [{"ports": ["5000:5000"]}, {"restarts": "always"}], ids=str)
def test_the_compose_schema_sees_a_fault(change):
    plain = {key: value for key, value in COMPOSE.items() if not key.startswith("x-")}
    faulty = {"mlflow": services()["mlflow"] | change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain | {"services": faulty}, read(SCHEMAS / "compose.yaml"))


def test_the_gpu_file_adds_to_a_service_that_is_there():
    plain = {key: value for key, value in COMPOSE.items() if not key.startswith("x-")}
    added = read(INFRA / "compose/gpu.yaml")
    assert added.keys() == {"services"}
    merged = {name: services()[name] | more for name, more in added["services"].items()}
    both = plain | {"services": services() | merged}
    jsonschema.validate(both, read(SCHEMAS / "compose.yaml"))
    assert merged.keys() == {"ray-worker"}


def test_compose_names_what_it_has():
    for name, service in services().items():
        assert set(service["networks"]) <= COMPOSE["networks"].keys(), name
        assert service.get("depends_on", {}).keys() <= services().keys(), name
        for needed in service.get("depends_on", {}):
            assert "healthcheck" in services()[needed], needed
        for mounted in service.get("volumes", []):
            assert mounted.split(":")[0] in COMPOSE["volumes"], name
        build = service.get("build")
        assert (
            build is None or (INFRA / "compose" / build["context"] / build["dockerfile"]).is_file()
        )
    running = {name for name, service in services().items() if "profiles" not in service}
    assert all("healthcheck" in services()[name] for name in running)


def test_every_variable_of_compose_stands_in_the_example_and_every_secret_is_asked_for():
    text = (INFRA / "compose/compose.yaml").read_text()
    example = (INFRA / "compose/.env.example").read_text()
    listed = dict(re.findall(r"^(\w+)=(.*)$", example, re.M))
    assert set(VARIABLE.findall(text)) == listed.keys()
    for name, value in listed.items():
        if re.search("PASSWORD|SECRET|TOKEN|KEY", name):
            assert not value, f"{name}: a secret has no default"
            assert f"${{{name}:-" not in text or name == "HEMLINE_GIT_TOKEN"


def test_secrets_come_from_the_environment_only():
    """Wherever a name says that it is a secret, its value is a reference or empty."""
    secret = re.compile(r"(PASSWORD|SECRET|TOKEN|ACCESS_KEY|_KEY_ID)[A-Z_]*$")
    reference = re.compile(r"^(\$\{[^}]*\}|\$\{\{ (secrets|vars)\.\w+ \}\})?$")
    sources = [COMPOSE, WORKFLOW, CLUSTER, *(d for f in kubernetes_files() for d in documents(f))]
    pairs = [
        (name, value)
        for source in sources
        for key in ("env", "environment", "data", "args")
        for block in found(source, key)
        for name, value in (
            block.items()
            if isinstance(block, dict)
            else ((each.get("name"), each.get("value")) for each in block if isinstance(each, dict))
        )
        if isinstance(value, str)
    ]
    asked = [(name, value) for name, value in pairs if secret.search(name or "")]
    assert len(asked) > 8  # it has found the ones that are there
    assert [pair for pair in asked if not reference.match(pair[1])] == []
    examples = [*INFRA.rglob("*.example"), *INFRA.rglob("*.example.env")]
    assert len(examples) == 3
    for example in examples:
        for name, value in re.findall(r"^(\w+)=(.*)$", example.read_text(), re.M):
            assert not (secret.search(name) and value), f"{example.name}: {name}"


def test_images_are_pinned():
    others = {service["image"] for service in services().values()} - {services()["mlflow"]["image"]}
    base = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.M)
    assert base
    for image in (*others, base[1]):
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+[\w.-]*", image), image
    assert services()["mlflow"]["image"].startswith("hemline:${GIT_SHA:?")
    for path in INFRA.rglob("*"):
        if path.is_file():
            assert ":latest" not in path.read_text(), path


def test_the_image_is_built_of_what_is_there_and_runs_as_nobody():
    froms = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert froms == ["${PYTHON_IMAGE}"] * 2
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M):
        for source in line.split():
            assert (INFRA.parent / source).exists(), source
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    users = re.findall(r"^USER (\S+)$", last, re.M)
    assert users == ["10001:10001"]
    assert last.index("USER ") > last.rindex("RUN ")  # nothing is left to do as root
    assert "HEMLINE_GIT_SHA=${GIT_SHA}" in last
    assert 'test -n "$GIT_SHA"' in last
    for install in re.findall(r"pip install[^;\n]*", DOCKERFILE):
        assert "--constraint constraints.txt" in install
    assert f'CMD ["{ENTRY_POINT}"]' in last


def test_the_image_holds_only_what_is_named():
    first, *kept = [
        line
        for line in (INFRA / "docker/Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert first == "*"
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
        for source in line.split()
    }
    assert {line[1:] for line in kept if line.startswith("!")} == copied
    assert "**/.env" in kept


def test_the_workflow_has_known_fields_and_pinned_actions():
    jsonschema.validate(WORKFLOW, read(SCHEMAS / "workflow.yaml"))
    lines = re.findall(r"uses: .*", (INFRA / "github/retrain.yml").read_text())
    assert lines
    assert all(re.search(r" # v\d+\.\d+\.\d+$", line) for line in lines)  # which version that is


def test_ray_takes_the_cluster_file():
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(CLUSTER, schema)
    assert CLUSTER["head_node_type"] in CLUSTER["available_node_types"]
    assert CLUSTER["available_node_types"]["gpu"]["min_workers"] == 0
    assert any("--dashboard-host=127.0.0.1" in line for line in CLUSTER["head_start_ray_commands"])
    assert "--env=RAY_AUTH_MODE=token" in CLUSTER["docker"]["run_options"]


def test_systemd_takes_the_units(tmp_path: Path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    shutil.copy(INFRA / "systemd/hemline-retrain.timer", tmp_path)
    # of a machine that has no clone at that place
    text = SERVICE.read_text().replace("/srv/hemline/infra", str(INFRA))
    (tmp_path / SERVICE.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "hemline" in line]
    assert done.returncode == 0, done.stderr
    assert not ours, ours


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(INFRA)))
def test_scripts_parse_and_stop_at_the_first_fault(script: Path):
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in text or script.name == "askpass.sh"
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


def test_every_schedule_runs_the_same_entry_point():
    submit = (INFRA / "submit.sh").read_text()
    assert ENTRY_POINT in submit
    commands = [services()["submit"]["command"], services()["scheduler"]["command"]]
    assert commands == [["/opt/hemline/infra/submit.sh"], ["/opt/hemline/infra/compose/nightly.sh"]]
    assert "/../submit.sh" in (INFRA / "compose/nightly.sh").read_text()
    assert "ExecStart=/srv/hemline/infra/entrypoint.sh\n" in SERVICE.read_text()
    assert [
        s["run"] for s in WORKFLOW["jobs"]["retrain"]["steps"] if s.get("name") == "retrain"
    ] == ["infra/entrypoint.sh"]
    assert set(found([d for f in kubernetes_files() for d in documents(f)], "entrypoint")) == {
        ENTRY_POINT
    }


def test_success_means_the_same_everywhere():
    """A rejected model and nothing new are no failures; a lock that another one holds is."""
    codes = {
        "compose": services()["ray-head"]["environment"]["HEMLINE_SUCCESS_CODES"],
        "kuberay": next(found(documents(INFRA / "kuberay/config.yaml"), "HEMLINE_SUCCESS_CODES")),
        "github": WORKFLOW["jobs"]["retrain"]["env"]["HEMLINE_SUCCESS_CODES"],
        "systemd": "0 " + re.findall(r"^SuccessExitStatus=(.*)$", SERVICE.read_text(), re.M)[0],
    }
    assert set(codes.values()) == {"0 10 11"}, codes
