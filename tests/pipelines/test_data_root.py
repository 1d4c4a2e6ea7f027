"""Any folder that params accept as data.root is the folder that DVC watches and stages read."""

import os
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from dvc_objects.fs import registry
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_line import run_dvc

from components.errors import HemlineError
from components.params import DataParams, load_section
from components.tables import read_catalog

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())

_PARTS = st.text(
    st.sampled_from(" !\"#$%&'()*+,-.:;<=>?@[\\]^`{|}~aé日\t\n")
    | st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"),
    min_size=1,
    max_size=12,
)
FOLDERS = st.lists(_PARTS, min_size=1, max_size=3).map("/".join)


def write_params(root: str) -> None:
    text = yaml.safe_dump({"data": {"root": root}}, default_style='"', allow_unicode=False)
    Path("params.yaml").write_text(text)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project with what the stages of this one read of `data.root`."""
    folder = tmp_path_factory.mktemp("project")
    with chdir(folder):
        Repo.init(no_scm=True).close()
    stages = {
        name: {"cmd": stage["cmd"], "deps": [dep for dep in stage["deps"] if "$" in dep]}
        for name, stage in PIPELINE["stages"].items()
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    return folder


def test_no_command_holds_a_value_of_the_params() -> None:
    """A shell would take blanks, quotes and the like in it apart."""
    for name, stage in PIPELINE["stages"].items():
        assert "${" not in stage["cmd"], name


@example("two words & more")
@example("-rf")
@example("--data")
@example("it's")
@example("$HOME")
@example("${data.root}")
@example("a;b #c*?")
@example("~")
@example("C:\\pictures")
@example("s3:x")
@example("./s3:x")
@example("trailing/")
@given(FOLDERS)
@settings(max_examples=25)
def test_dvc_watches_the_folder_that_stages_read(project: Path, root: str) -> None:
    assume(".." not in root.split("/"))
    with chdir(project):
        write_params(root)
        try:
            read = Path(load_section(Path("params.yaml"), DataParams).root)
        except HemlineError:
            return  # said when params are loaded
        assume(len(os.fsencode(root)) < 200)
        top = Path(read.parts[0])
        assume(top not in map(Path, (".dvc", ".dvcignore", "dvc.yaml", "params.yaml")))
        (read / "images").mkdir(parents=True)
        with Repo() as repo:
            watched = {stage.name: stage.deps for stage in repo.index.stages if stage.deps}
            assert watched.keys() == {"ingest", "preprocess"}
            for (dep,) in watched.values():
                assert dep.exists
                assert Path(dep.fs_path).samefile(read)
                dep.save()  # hashed as a folder: what a run does before and after
        shutil.rmtree(top)


@pytest.mark.slow
def test_dvc_and_a_shell_run_the_stage_in_any_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    root = '-it\'s $HOME & "more"; #1 *'
    Path(root).mkdir()
    rows = ["image,attribute,value", "a.png,sleeve,long", "b.png,sleeve,short"]
    (Path(root) / "labels.csv").write_text("\n".join(rows))
    for number, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(Path(root) / name)
    params = {"data": {"root": root, "format": "table"}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    run_dvc("repro", "ingest")
    assert len(read_catalog(Path("data/catalog")).images) == 2


@pytest.mark.parametrize("scheme", [*(x for x in registry if x not in ("local", "file")), "remote"])
def test_what_dvc_takes_for_a_url_is_refused_with_the_remedy(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for root in (f"{scheme}:x", f"{scheme.upper()}:x", f"{scheme}://bucket/x"):
        write_params(root)
        with pytest.raises(HemlineError, match="data: root is a folder of this machine"):
            load_section(Path("params.yaml"), DataParams)


@pytest.mark.parametrize("root", ["", ".", "./", "..", "../..", "x.dvc"])
def test_the_project_itself_and_files_of_dvc_are_refused(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(root)
    with pytest.raises(HemlineError, match="data: root is "):
        load_section(Path("params.yaml"), DataParams)
