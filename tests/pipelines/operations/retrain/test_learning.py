"""How what is new is learned, decided in real git, DVC and MLflow; what is learned is not trained.

Growing itself is stood in for by what it leaves: models/parent under DVC, and train.parent.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from growing_line import (
    CODE,
    KNOWN,
    NUM_IMAGES,
    OTHER_CODE,
    begin,
    champion,
    commit,
    lay,
    tracking,
)
from small_line import run_dvc

from components import files
from components.errors import HemlineError
from components.evaluation.verdict import Rule, Verdict
from components.params import RetrainParams, TrainParams, load_section
from components.provenance import git
from components.registry.versions import RegisteredVersion
from components.tracking.runs import Tracking
from pipelines.operations.grow import command as grow
from pipelines.operations.retrain import learning, result
from pipelines.operations.retrain.new_data import DataRefusedError, check_data, check_tree
from pipelines.operations.retrain.report import RetrainReport
from pipelines.operations.retrain.state import Decision, RetrainState, read_state, save_state
from pipelines.shell import dvc
from pipelines.shell.params_file import write_values

pytestmark = pytest.mark.slow

PARAMS = Path("params.yaml")
GRAPH = "a" * 64
VERDICT = Verdict(
    challenger=2,
    champion=1,
    splits="0" * 64,
    limits={},
    rules=(Rule("MAP above a random ranking's", 12.5, "above", 0.0, "fit"),),
    attributes=(),
    unchanged=("neck", "hem"),
)
FIT = {"fit": NUM_IMAGES, **KNOWN}  # it comes first, so that others' positions are new


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A line whose champion knows `neck` and `hem`."""
    folder = tmp_path_factory.mktemp("begun") / "line"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        begin()
    return folder


@pytest.fixture
def prepared(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """A copy of the line as the current folder; returns what was asked to be grown."""
    shutil.copytree(begun, tmp_path / "line", symlinks=True)
    monkeypatch.chdir(tmp_path / "line")
    monkeypatch.setattr(dvc, "run", run_dvc)
    asked: list[tuple] = []

    def prepare(
        version: RegisteredVersion, attributes: Sequence[str], *, params: Path, where: Tracking
    ) -> None:
        asked.append((version.uri, tuple(attributes)))
        files.write_json({"graph_sha256": GRAPH}, Path("models/parent/version.json"))
        dvc.track(Path("models/parent"))
        write_values({"train.parent": GRAPH}, params)

    monkeypatch.setattr(grow, "prepare", prepare)
    return asked


def decided(strategy: str) -> Decision | None:
    return learning.decide(strategy, params=PARAMS, where=tracking())


def parent() -> str | None:
    return load_section(PARAMS, TrainParams).parent


def set_param(key: str, value: object) -> None:
    write_values({key: value}, PARAMS)
    commit(f"{key} {value}")


@pytest.mark.parametrize("strategy", ["auto", "grow"])
def test_attributes_that_are_all_that_is_new_are_grown_from_the_champion(
    prepared: list[tuple], strategy: str
) -> None:
    lay(FIT)
    assert decided(strategy) == Decision(
        trains=True, grown=("fit",), note="fit grown from models:/hemline/1"
    )
    assert prepared == [("models:/hemline/1", ("fit",))]
    assert learning.own_changes(PARAMS) == ["params.yaml"]


def test_the_whole_network_learns_them_where_that_is_asked_for(prepared: list[tuple]) -> None:
    lay(FIT)
    assert decided("full") is None
    assert (prepared, parent()) == ([], None)


def more_images() -> None:
    lay({**FIT, "neck": NUM_IMAGES + 5}, num_images=NUM_IMAGES + 5)


def fewer_labels() -> None:
    lay({**FIT, "hem": NUM_IMAGES - 3})


def other_code() -> None:
    lay(FIT)
    CODE.write_text("# learns better\n")
    commit("code")


def another_param() -> None:
    lay(FIT)
    set_param("sampling.num_epochs", 9)


OTHERS: list[tuple[Callable[[], None], str]] = [
    (more_images, "5 images, labels of 5 images"),
    (fewer_labels, "labels of 3 images"),
    (other_code, str(CODE)),
    (another_param, "sampling.num_epochs"),
]


@pytest.mark.parametrize(("change", "others"), OTHERS)
def test_what_else_is_new_decides_by_strategy(prepared: list[tuple], change, others) -> None:
    change()
    set_param("train.parent", "b" * 64)  # as after an earlier growth
    assert decided("auto") == Decision(trains=True, note=f"the whole network is trained: {others}")
    assert (prepared, parent()) == ([], None)
    found = decided("grow")
    assert found is not None
    assert (found.grown, parent()) == (("fit",), GRAPH)
    assert found.note == f"fit grown from models:/hemline/1; not learned: {others}"


def test_images_of_the_new_attribute_alone_are_part_of_it(prepared: list[tuple]) -> None:
    lay({"fit": NUM_IMAGES + 5, **KNOWN}, num_images=NUM_IMAGES + 5)
    found = decided("auto")
    assert found is not None
    assert found.grown == ("fit",)


def test_without_a_new_attribute_the_whole_network_is_trained_or_nothing(
    prepared: list[tuple],
) -> None:
    lay({"neck": NUM_IMAGES + 5, "hem": NUM_IMAGES}, num_images=NUM_IMAGES + 5)
    said = "5 images, labels of 5 images"
    assert decided("grow") == Decision(
        trains=False, note=f"nothing is grown: no attribute is new; not learned: {said}"
    )
    assert decided("auto") == Decision(trains=True, note=f"the whole network is trained: {said}")
    assert prepared == []


def test_new_values_of_what_the_champion_knows_are_names_to_grow(prepared: list[tuple]) -> None:
    """Labels that changed are something else that is new, for which `auto` trains the network."""
    lay(KNOWN, third="hem")
    said = "labels of 16 images"
    assert decided("grow") == Decision(
        trains=True, note=f"hem=c grown from models:/hemline/1; not learned: {said}"
    )
    assert prepared == [("models:/hemline/1", ())]
    assert decided("auto") == Decision(trains=True, note=f"the whole network is trained: {said}")
    lay(FIT, third="hem")
    found = decided("grow")
    assert found is not None
    assert found.grown == ("fit",)
    assert str(found.note).startswith("fit, hem=c grown from models:/hemline/1; ")


def test_what_has_too_few_labels_yet_is_said(prepared: list[tuple]) -> None:
    lay({"fit": 20, **KNOWN})
    few = "fit: 20 training images have a label, and growing needs 50"
    waits, whole = decided("grow"), decided("auto")
    assert waits is not None
    assert whole is not None
    assert (waits.trains, whole.trains) == (False, True)
    assert str(waits.note).startswith(f"nothing is grown: {few}")
    assert str(whole.note).startswith(f"the whole network is trained: {few}")


def test_a_network_that_cannot_be_grown_is_not(prepared: list[tuple]) -> None:
    lay(FIT)
    set_param("model.name", "triplet_network")
    found = decided("grow")
    assert found is not None
    assert not found.trains
    assert "the network triplet_network, which cannot be grown" in str(found.note)


@pytest.mark.parametrize("strategy", ["full", "auto", "grow"])
def test_where_nothing_that_training_reads_is_new_there_is_nothing_to_decide(
    prepared: list[tuple], strategy: str
) -> None:
    """A commit of other code retrains only what it changes, also after a growth."""
    set_param("train.parent", "b" * 64)
    run_dvc("repro", "--quiet")
    commit("grown")
    OTHER_CODE.write_text("# finds more\n")
    commit("code")
    assert decided(strategy) is None
    assert (prepared, parent()) == ([], "b" * 64)


def test_after_a_growth_the_whole_network_learns_what_is_new(prepared: list[tuple]) -> None:
    set_param("train.parent", "b" * 64)
    run_dvc("repro", "--quiet")
    commit("grown")
    more_images()
    assert decided("full") == Decision(trains=True)
    assert parent() is None
    assert decided("full") == Decision(trains=True), "killed, and started again"
    assert parent() is None


def test_without_a_champion_the_whole_network_is_trained(prepared: list[tuple]) -> None:
    lay(FIT)
    tracking().client().delete_registered_model_alias("hemline", "champion")
    assert decided("grow") == Decision(trains=True)
    assert prepared == []


def test_a_champion_that_no_commit_here_records_is_compared_with_nothing(
    prepared: list[tuple],
) -> None:
    """Whether it learned the same cannot be told, and `auto` grows only where it did."""
    git.read("checkout", "-q", "--orphan", "another")
    Path("dvc.lock").unlink()
    commit("another line")
    lay(FIT)
    found = decided("auto")
    assert found is not None
    assert "no commit of this branch records what made models:/hemline/1" in str(found.note)
    assert prepared == []


def test_a_champion_whose_data_was_not_recorded_with_it_is_compared_with_nothing(
    prepared: list[tuple],
) -> None:
    """Its commit was made when newer data had been read."""
    write_values({"train.margin": 0.5}, PARAMS)
    run_dvc("repro", "--quiet")
    champion(2, KNOWN)
    more_images()
    run_dvc("repro", "--quiet", "split")
    commit("a champion, and data of the day after")
    lay({**FIT, "neck": NUM_IMAGES + 5}, num_images=NUM_IMAGES + 5)
    found = decided("auto")
    assert found is not None
    assert "has another catalog than models:/hemline/2 learned" in str(found.note)
    assert prepared == []


def test_a_new_attribute_stops_a_retrain_that_would_train_all(prepared: list[tuple]) -> None:
    """Where it is grown it cannot harm the others; a new value of theirs stops any."""
    lay(FIT)
    run_dvc("repro", "--quiet", "split")
    for strategy, stops in (("full", True), ("grow", False), ("auto", False)):
        section, report = RetrainParams(strategy=strategy), RetrainReport()
        with pytest.raises(DataRefusedError, match="'fit' is new") if stops else nullcontext():
            check_data("HEAD", section=section, accept=False, report=report)
        assert [finding.kind for finding in report.findings] == ["new_attribute"] * stops
    lay({"fit": NUM_IMAGES, "neck": NUM_IMAGES})
    run_dvc("repro", "--quiet", "split")
    with pytest.raises(DataRefusedError, match="'hem' has vanished"):
        check_data("HEAD", section=section, accept=False, report=RetrainReport())


def test_a_retrain_that_is_resumed_finds_its_own_params(prepared: list[tuple]) -> None:
    lay(FIT)
    commit("new labels")
    decided("auto")
    check_tree(resumed=True, params=PARAMS)
    with pytest.raises(HemlineError, match=r"params\.yaml.*commit them"):
        check_tree(resumed=False, params=PARAMS)


def test_a_commit_has_what_was_grown_from_and_says_so(prepared: list[tuple]) -> None:
    lay(FIT)
    commit("new labels")
    decision = decided("auto")
    run_dvc("repro", "--quiet")
    state = RetrainState(base=git.head(), branch=git.branch(), decision=decision)
    report = RetrainReport(version=2, verdict=VERDICT, decision=decision)
    made = result.commit(report, state, params=PARAMS)
    names = git.read("show", "--name-only", "--format=", made).split()
    assert names == ["dvc.lock", "models/parent.dvc", "params.yaml"]
    message = git.read("log", "-1", "--format=%B")
    assert message.startswith(
        "Retrain: version 2 promoted\n\nfit grown from models:/hemline/1\n\nagainst version 1:\n"
    )
    assert git.read("status", "--porcelain") == ""
    assert result.commit(report, state, params=PARAMS) == made


def test_a_commit_where_nothing_was_grown_has_the_data_and_says_why(prepared: list[tuple]) -> None:
    more_labels = {"neck": NUM_IMAGES, "hem": NUM_IMAGES - 1}
    lay(more_labels)
    commit("new labels")
    decision = decided("grow")
    state = RetrainState(base=git.head(), branch=git.branch(), decision=decision)
    made = result.commit(RetrainReport(version=1, decision=decision), state, params=PARAMS)
    assert git.read("show", "--name-only", "--format=", made).split() == ["dvc.lock"]
    assert git.read("log", "-1", "--format=%B").strip() == (
        "Retrain: nothing was grown, version 1 stands\n\n"
        "nothing is grown: no attribute is new; not learned: labels of 1 image"
    )
    assert decided("grow") == decision, "the night after"
    assert result.commit(RetrainReport(version=1, decision=decision), state, params=PARAMS) == made


def test_the_state_keeps_what_was_decided(tmp_path: Path) -> None:
    file = tmp_path / "begun.json"
    state = RetrainState(base="c" * 40, branch=None)
    assert read_state(_saved(state, file)) == state
    decision = Decision(trains=True, grown=("fit",), note="fit grown")
    assert read_state(_saved(replace(state, decision=decision), file)).decision == decision
    content = files.read_json(file)
    del content["decision"]  # an older hemline's
    files.write_json(content, file)
    assert read_state(file) == state


def _saved(state: RetrainState, file: Path) -> Path:
    save_state(state, file)
    return file


def test_killed_and_started_again_it_decides_the_same(
    prepared: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, between and after its writes; once training has run there is nothing to decide."""
    lay(FIT)
    commit("new labels")

    def kill(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dvc, "track", kill)
        with pytest.raises(KeyboardInterrupt):
            decided("auto")
    for _ in range(2):
        found = decided("auto")
        assert found is not None
        assert found.grown == ("fit",)
        assert parent() == GRAPH
        assert len(git.unrecorded(["models/parent.dvc", "params.yaml"])) == 2
    run_dvc("repro", "--quiet", "train")
    assert decided("auto") is None
    assert parent() == GRAPH


@pytest.mark.parametrize("was_grown", [False, True])
def test_what_is_no_longer_new_leaves_no_trace(prepared: list[tuple], was_grown: bool) -> None:
    """The labels of the new attribute were a mistake, and are gone when it is started again."""
    if was_grown:
        files.write_json({"graph_sha256": "b" * 64}, Path("models/parent/version.json"))
        dvc.track(Path("models/parent"))
        write_values({"train.parent": "b" * 64}, PARAMS)
        run_dvc("repro", "--quiet")
        commit("grown")
    lay(FIT)
    assert decided("auto") != Decision(trains=True)
    assert git.unrecorded(["params.yaml"])
    lay(KNOWN)
    assert decided("auto") == Decision(trains=True)
    assert parent() == ("b" * 64 if was_grown else None)
    assert git.unrecorded(["models/parent.dvc", "params.yaml"]) == []
    assert dvc.is_unchanged("train")
    if was_grown:
        content = files.read_json(Path("models/parent/version.json"))
        assert content["graph_sha256"] == "b" * 64


def test_changes_of_a_person_are_not_taken_for_its_own(prepared: list[tuple]) -> None:
    assert learning.own_changes(PARAMS) == []
    write_values({"train.margin": 0.5}, PARAMS)
    assert learning.own_changes(PARAMS) == []
    write_values({"train.parent": GRAPH}, PARAMS)
    with pytest.raises(HemlineError, match=r"not the retrain's: train\.margin\."):
        learning.own_changes(PARAMS)


def test_much_that_is_new_is_counted(prepared: list[tuple]) -> None:
    names = [f"components/models/{number}.py" for number in range(9)]
    assert learning._listed(names).endswith("components/models/5.py and 3 more")
    assert learning._listed(names[:6]) == ", ".join(names[:6])
