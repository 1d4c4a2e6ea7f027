"""Nothing here gives text to a shell, or lets a file that is read run code (docs/security.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    file for top in ("components", "pipelines", "infra") for file in ROOT.glob(f"{top}/**/*.py")
)
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
UNPICKLE = {"pickle.load", "pickle.loads", "cloudpickle.load", "joblib.load", "dill.load"}
RUN_CODE = {"eval", "exec", "yaml.unsafe_load", "yaml.full_load"}


def faults(source: str) -> Iterator[str]:
    """Yields the calls that are not allowed, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {each.arg: ast.unparse(each.value) for each in node.keywords}
        # PyYAML's takes one and has no default; ruamel's, which takes none, runs nothing
        loaders = [*map(ast.unparse, node.args[1:]), *filter(None, [given.get("Loader")])]
        if (
            name in SHELLS | UNPICKLE | RUN_CODE
            or given.get("shell", "False") != "False"
            or given.get("allow_pickle", "False") != "False"
            or (name == "torch.load" and given.get("weights_only") != "True")
            or (name == "yaml.load" and not set(loaders) <= {"_Loader", "yaml.SafeLoader"})
        ):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def test_no_call_runs_what_it_is_given() -> None:
    found = [
        f"{file.relative_to(ROOT)}, {call}" for file in FILES for call in faults(file.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run(f'ls {name}', shell=True)",
        "os.system(command)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text, yaml.UnsafeLoader)",
        "pickle.loads(data)",
    ],
)
def test_the_check_sees_a_breach(source: str) -> None:
    assert len(list(faults(source))) == 1
