"""Promotion and rollback for real: MLflow's registry, Ray, packages, and files on disk."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from builders import PROJECT
from documents import check_document
from promotable import SIZE_PX, Promotable, promotable
from promotion_driver import kill_before

from components import files
from components.embedding.embeddings import read_embeddings
from components.errors import HemlineError
from components.evaluation.verdict import Verdict
from components.registry import promotion, versions
from components.registry.versions import RegisteredVersion
from pipelines.operations.browse import shelf_of
from pipelines.operations.promote.command import promote_version
from pipelines.operations.promote.inputs import Inputs
from pipelines.operations.rollback import rollback
from pipelines.operations.search.embedded import embeddings_at
from pipelines.shell.cli import main
from pipelines.stages.embed import embed

NOWHERE = "nowhere://"  # of a Ray cluster: whatever needs Ray fails at once
NEEDS_RAY = "RAY_ADDRESS=nowhere://"
FIRST, BETTER, WORSE = 1, 2, 3
NUM_IMAGES = 150


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Promotable:
    """A project whose first version is champion; data/embeddings is of the second."""
    project = promotable(tmp_path_factory.mktemp("begun"), num_images=NUM_IMAGES)
    with pytest.MonkeyPatch.context() as patch:
        _enter(project, patch)
        for corner in (2, 4, 1):
            project.register(corner)
        project.embed(FIRST)
        assert promote_version(FIRST).passed
        shutil.rmtree(project.folder / "data/embeddings")
        project.embed(BETTER)
    return project


@pytest.fixture
def project(begun: Promotable, tmp_path: Path, monkeypatch) -> Promotable:
    """A copy of the project, in which nothing can start Ray."""
    return _copy(begun, tmp_path / "project", monkeypatch)


def version(number: int) -> RegisteredVersion:
    return RegisteredVersion(name="hemline", version=number)


def _copy(begun: Promotable, folder: Path, patch: pytest.MonkeyPatch) -> Promotable:
    shutil.copytree(begun.folder, folder, ignore=shutil.ignore_patterns("mlartifacts"))
    copied = Promotable(folder=folder)
    _enter(copied, patch)
    copied.set_params()
    versions.write_tag(
        version(FIRST),
        promotion.EMBEDDINGS_TAG,
        str(folder / "data/published/hemline-1"),
        tracking=copied.tracking,
    )
    return copied


def _enter(project: Promotable, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(project.folder)
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.setenv("RAY_ADDRESS", NOWHERE)


def state(project: Promotable) -> dict[str, object]:
    """Returns all that promotions change: alias, tags of the model and of versions, addresses."""
    client = project.tracking.client()
    model = client.get_registered_model("hemline")
    versions = {
        int(version.version): dict(version.tags)
        for version in client.search_model_versions("name='hemline'")
    }
    published = project.folder / "data/published"
    lying = sorted(str(path.relative_to(published)) for path in published.rglob("*"))
    return {"aliases": model.aliases, "model": model.tags, "versions": versions, "files": lying}


def champion(project: Promotable) -> int | None:
    return versions.champion(project.tracking)


def moves(project: Promotable) -> list[tuple[str, int | None, int]]:
    return [(m.action, m.previous, m.version) for m in promotion.read_moves(project.tracking)]


def status_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def test_the_first_champion_comes_with_its_embeddings(project: Promotable) -> None:
    verdict = promote_version(FIRST)
    assert verdict.champion is None
    assert champion(project) == FIRST
    assert moves(project) == [("promote", None, FIRST)]
    published = promotion.champion_embeddings(project.tracking)
    assert published.version == RegisteredVersion(name="hemline", version=FIRST)
    embedded = read_embeddings(Path(published.embeddings))
    assert (embedded.model_version, embedded.num_images) == (FIRST, NUM_IMAGES)


def test_consumers_need_mlflow_alone(project: Promotable) -> None:
    client = mlflow.MlflowClient(project.tracking.uri, registry_uri=project.tracking.uri)
    champion = client.get_model_version_by_alias("hemline", "champion")
    assert int(champion.version) == FIRST
    assert (Path(champion.tags["hemline.embeddings"]) / "manifest.json").exists()


def test_a_better_version_is_promoted_and_what_was_embedded_is_copied(project: Promotable) -> None:
    made = read_embeddings(project.folder / "data/embeddings")
    verdict = promote_version(BETTER)
    assert verdict.passed
    assert (verdict.champion, verdict.challenger) == (FIRST, BETTER)
    assert champion(project) == BETTER
    assert moves(project) == [("promote", None, FIRST), ("promote", FIRST, BETTER)]
    last = promotion.read_moves(project.tracking)[-1]
    assert last.done
    assert "@" in last.who
    assert last.time.endswith("+00:00")
    embedded = read_embeddings(Path(promotion.champion_embeddings(project.tracking).embeddings))
    assert embedded.folder == project.folder / "data/published/hemline-2"
    assert embedded.parts == made.parts
    for ours, theirs in zip(embedded.vectors("top"), made.vectors("top"), strict=True):
        np.testing.assert_array_equal(ours.embeddings_nD, theirs.embeddings_nD)


def test_promoting_again_changes_nothing(project: Promotable) -> None:
    verdict = promote_version(BETTER)
    before = state(project)
    assert promote_version(BETTER) == verdict
    assert state(project) == before
    # also by other rules, and where the split is gone: it is in use
    project.set_params(min_map_change=99.0)
    shutil.rmtree(project.folder / "data/splits")
    assert promote_version(BETTER) == verdict
    assert state(project) == before


def test_a_worse_version_is_rejected_and_carries_the_verdict(project: Promotable, capsys) -> None:
    before = state(project)
    assert status_of("promote", str(WORSE)) == 10
    printed = capsys.readouterr().out
    assert "models:/hemline/3 is rejected" in printed
    assert "broken" in printed
    text = project.tracking.client().get_model_version("hemline", str(WORSE)).tags
    verdict = Verdict.from_json(text["hemline.verdict"])
    assert (verdict.champion, verdict.passed) == (FIRST, False)
    after = state(project)
    after["versions"][WORSE].pop("hemline.verdict")  # type: ignore[index]
    assert after == before


def test_a_rejection_stands_until_the_rules_change(project: Promotable) -> None:
    marked = replace(promote_version(WORSE), splits="marked")
    versions.write_tag(
        version(WORSE), promotion.VERDICT_TAG, marked.to_json(), tracking=project.tracking
    )
    assert promote_version(WORSE) == marked, "read back"
    project.set_params(max_attribute_drop=6.0)
    verdict = promote_version(WORSE)
    assert not verdict.passed
    assert verdict.limits["max_attribute_drop"] == 6
    assert verdict.splits != "marked"


def test_a_rejection_stands_until_the_champion_changes(project: Promotable) -> None:
    assert promote_version(WORSE).champion == FIRST
    promote_version(BETTER)
    assert promote_version(WORSE).champion == BETTER


def test_the_latest_version_is_promoted_where_none_is_named(project: Promotable) -> None:
    assert promote_version().challenger == WORSE


@pytest.mark.parametrize(
    ("version", "told"),
    [("9", "models:/hemline/9 is not in the registry"), ("champion", "names no version")],
)
def test_an_unknown_version_is_told(project: Promotable, version, told, capsys) -> None:
    assert status_of("promote", version) == 1
    assert told in capsys.readouterr().err


def test_rollback_goes_back_step_by_step(project: Promotable, capsys) -> None:
    promote_version(BETTER)
    began = time.monotonic()
    assert status_of("rollback") == 0
    assert time.monotonic() - began < 10, "seconds: nothing is embedded"
    assert "models:/hemline/1 is champion" in capsys.readouterr().out
    published = promotion.champion_embeddings(project.tracking)
    assert published.version.version == FIRST
    assert read_embeddings(Path(published.embeddings)).model_version == FIRST
    assert moves(project)[-1] == ("rollback", BETTER, FIRST)

    assert status_of("rollback") == 1
    assert "version 1 is the first champion" in capsys.readouterr().err
    assert champion(project) == FIRST


def test_what_was_rolled_back_comes_again_only_when_asked(project: Promotable) -> None:
    promote_version(BETTER)
    rollback()
    with pytest.raises(HemlineError, match=r"was rolled back at .* `hemline promote 2 --again`"):
        promote_version(BETTER)
    assert champion(project) == FIRST
    assert promote_version(BETTER, again=True).passed
    assert champion(project) == BETTER
    rollback()
    assert moves(project)[1:] == [
        ("promote", FIRST, BETTER),
        ("rollback", BETTER, FIRST),
        ("promote", FIRST, BETTER),
        ("rollback", BETTER, FIRST),
    ]
    assert [m.number for m in promotion.read_moves(project.tracking)] == [1, 2, 3, 4, 5]


def test_a_rollback_leads_to_any_version_that_was_champion(project: Promotable, capsys) -> None:
    promote_version(BETTER)
    with pytest.raises(HemlineError, match="version 3 was never champion: `hemline promote 3`"):
        rollback(to=WORSE)
    rollback(to=FIRST)
    capsys.readouterr()
    assert status_of("rollback", "--to", str(BETTER), "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    check_document("rollback", document)
    assert (document["champion"], document["previous"]) == (
        "models:/hemline/2",
        "models:/hemline/1",
    )
    assert champion(project) == BETTER


def test_a_champion_by_other_means_is_not_guessed_about(project: Promotable) -> None:
    project.tracking.client().set_registered_model_alias("hemline", "champion", str(WORSE))
    with pytest.raises(HemlineError, match=r"other means.*`hemline rollback --to VERSION`"):
        rollback()
    rollback(to=FIRST)
    assert champion(project) == FIRST


@pytest.mark.parametrize("gone", ["manifest.json", "vectors/part-*-top.parquet", ""])
def test_a_rollback_without_its_embeddings_is_refused(project: Promotable, gone) -> None:
    promote_version(BETTER)
    folder = project.folder / "data/published/hemline-1"
    if gone:
        for path in folder.glob(gone):
            path.unlink()
    else:
        shutil.rmtree(folder)
    with pytest.raises(HemlineError, match=r"1 are gone .*`hemline rollback --to 1 --embed`"):
        rollback()
    assert champion(project) == BETTER


@pytest.mark.parametrize("where", ["data/embeddings", "data/published/hemline-2"])
def test_embeddings_by_another_registrys_version_of_the_same_number_are_refused(
    project: Promotable, where: str
) -> None:
    """As after a colleague's experiment was applied, or where two registries share a folder."""
    if where != "data/embeddings":
        shutil.copytree(project.folder / "data/embeddings", project.folder / where)
    manifest = project.folder / where / "manifest.json"
    ours = manifest.read_text()
    content = files.read_json(manifest) | {"model_sha256": "f" * 64}
    files.write_json(content, manifest)
    told = rf"hemline/2 in .* is another model than .*{where} .*MLFLOW_TRACKING_URI.* remove "
    before = moves(project)
    with pytest.raises(HemlineError, match=told):
        promote_version(BETTER)
    if where == "data/embeddings":
        with pytest.raises(HemlineError, match=told):
            embed(model="models:/hemline/2", embeddings=project.folder / where)
    assert (champion(project), moves(project)) == (FIRST, before)
    assert json.loads(manifest.read_text()) == content
    manifest.write_text(ours)
    assert promote_version(BETTER).passed


def test_a_rollback_to_embeddings_of_another_model_is_refused(project: Promotable) -> None:
    promote_version(BETTER)
    manifest = project.folder / "data/published/hemline-1/manifest.json"
    content = files.read_json(manifest) | {"model_sha256": "f" * 64}
    files.write_json(content, manifest)
    for anew in (False, True):
        with pytest.raises(HemlineError, match=r"is another model than .*hemline-1 .* remove "):
            rollback(embed=anew)
    assert champion(project) == BETTER
    assert json.loads(manifest.read_text()) == content


def test_a_rollback_can_embed_what_is_gone(project: Promotable, begun: Promotable) -> None:
    promote_version(BETTER)
    shutil.rmtree(project.folder / "data/published/hemline-1")
    rollback(embed=True, embeddings=begun.folder / "data/published/hemline-1")
    published = promotion.champion_embeddings(project.tracking)
    assert published.version.version == FIRST
    assert read_embeddings(Path(published.embeddings)).num_images == NUM_IMAGES


def test_a_champion_on_another_split_is_measured_on_the_challengers(
    project: Promotable, capsys
) -> None:
    project.add_images(NUM_IMAGES, 30)
    better = project.register(5)
    with pytest.raises(HemlineError, match=NEEDS_RAY):  # it passed, and is to embed
        promote_version(better)
    text = versions.read_tag(version(better), promotion.VERDICT_TAG, tracking=project.tracking)
    verdict = Verdict.from_json(str(text))
    assert "measuring models:/hemline/1 on this test split: 180 images" in capsys.readouterr().err
    assert verdict.passed
    assert sum(row.num_queries for row in verdict.attributes) == 120
    assert champion(project) == FIRST


def test_another_split_than_the_challengers_is_refused(project: Promotable) -> None:
    project.add_images(NUM_IMAGES, 30)
    newer = project.register(5)
    project.add_images(NUM_IMAGES + 30, 30)
    with pytest.raises(HemlineError, match="was measured on another split than that in"):
        promote_version(newer)


def test_versions_without_a_record_are_measured_whatever_size_they_see(
    project: Promotable, capsys
) -> None:
    """Half the side, half the corner: as many pixels of the picture, each the mean of four."""
    number = project.register(2, image_size_px=SIZE_PX // 2, evaluated=False)
    with pytest.raises(HemlineError, match=NEEDS_RAY):
        promote_version(number)
    said = " ".join(capsys.readouterr().err.split())
    assert "the store has 32 px and crop centre, the model 16 px and crop centre" in said
    text = versions.read_tag(version(number), promotion.VERDICT_TAG, tracking=project.tracking)
    change = json.loads(str(text))["attributes"][0]
    assert change["challenger_map"] > change["champion_map"] + 10


@pytest.mark.slow
def test_what_lies_nowhere_is_embedded_by_ray(project: Promotable, monkeypatch) -> None:
    made = read_embeddings(project.folder / "data/embeddings")
    expected = [each.embeddings_nD for each in made.vectors("top")]
    shutil.rmtree(made.folder)
    monkeypatch.delenv("RAY_ADDRESS")
    assert promote_version(BETTER).passed
    published = read_embeddings(Path(promotion.champion_embeddings(project.tracking).embeddings))
    assert (published.model_version, published.num_images) == (BETTER, NUM_IMAGES)
    found = [each.embeddings_nD for each in published.vectors("top")]
    np.testing.assert_allclose(found, expected, atol=2e-3)  # float16, batches of other sizes


@pytest.fixture
def shop(project: Promotable, monkeypatch) -> str:
    """A URL for embeddings, of a machine whose cache is empty."""
    monkeypatch.setenv("HEMLINE_CACHE", str(project.folder / "cache"))
    return f"file://{project.folder}/shop"


def files_at(url: str) -> dict[Path, tuple[bytes, int]]:
    found = [path for path in Path(url.removeprefix("file://")).rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def test_a_url_has_the_champions_embeddings_for_every_command(
    project: Promotable, shop: str, capsys
) -> None:
    assert status_of("promote", str(BETTER), "--embeddings-root", f"{shop}/") == 0
    address = promotion.champion_embeddings(project.tracking).embeddings
    assert address == f"{shop}/hemline-2"
    assert not [*(project.folder / "cache").rglob("*.*")], "made there, and away again"
    published = files_at(address)
    assert promote_version(BETTER, inputs=Inputs(embeddings_root=shop)).passed
    assert files_at(address) == published
    asked = ("search", "--id", "7", "--attribute", "top", "--format", "json")
    capsys.readouterr()
    answers = []
    for place in ("data/embeddings", address, address):
        assert status_of(*asked, "--embeddings", place) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1] == answers[2]
    assert status_of("index", "--embeddings", address, "--attribute", "top") == 0
    assert f"mapped in {project.folder}/cache/embeddings/" in capsys.readouterr().out
    assert status_of(*asked, "--embeddings", address) == 0
    assert json.loads(capsys.readouterr().out) == answers[0]
    options = {"catalog": Path("data/catalog"), "params": Path("params.yaml"), "pictures": None}
    assert len(shelf_of(address, **options).pictures) == NUM_IMAGES
    rollback()
    rollback(to=BETTER)
    assert champion(project) == BETTER
    assert status_of("check", "--embeddings-root", shop) == 0
    assert re.search(rf"{shop}/hemline-2 +. +5 ", capsys.readouterr().out)
    assert files_at(address) == published


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_url_that_lost_a_file_is_refused_and_can_be_filled_again(
    project: Promotable, shop: str, harm: str, capsys
) -> None:
    promote_version(BETTER, inputs=Inputs(embeddings_root=shop))
    promotion.move_champion(
        "rollback", FIRST, expected=BETTER, who="a test", tracking=project.tracking
    )
    (path,) = (path for path in files_at(shop) if re.search(r"vectors/part-.*-top-", str(path)))
    whole = path.read_bytes()
    path.unlink() if harm == "gone" else path.write_bytes(whole[:-9])
    what = "lacks vectors" if harm == "gone" else "is damaged"
    told = rf"are gone .*{shop}/hemline-2.*{what}.*`hemline rollback --to 2 --embed`"
    with pytest.raises(HemlineError, match=told):
        rollback(to=BETTER)
    assert status_of("check", "--embeddings-root", shop) == 1
    assert path.name in capsys.readouterr().out.replace("\n", "")
    assert champion(project) == FIRST
    rollback(to=BETTER, embed=True, embeddings_root=shop)
    assert champion(project) == BETTER
    assert path.read_bytes() == whole


def test_a_url_that_cannot_be_read_is_no_reason_to_embed_again(project: Promotable) -> None:
    promote_version(BETTER)
    address = "ftp://127.0.0.1:9/shop/hemline-1"
    versions.write_tag(version(FIRST), promotion.EMBEDDINGS_TAG, address, tracking=project.tracking)
    for embed_again in (False, True):
        with pytest.raises(HemlineError, match=rf"{address} cannot be read: .*refused"):
            rollback(embed=embed_again)
    assert champion(project) == BETTER


def test_credentials_in_a_url_are_refused_before_anything_is_done(
    project: Promotable, capsys
) -> None:
    before = state(project)
    root = "ftp://shop:s3cret@127.0.0.1:9/embeddings"
    assert status_of("promote", str(BETTER), "--embeddings-root", root) == 1
    told = capsys.readouterr().err
    assert "ftp://127.0.0.1:9/embeddings was given with credentials" in told
    assert "s3cret" not in told
    assert state(project) == before


@pytest.mark.parametrize("is_url", [False, True])
def test_images_that_are_new_come_to_the_champion_when_asked(
    project: Promotable, shop: str, is_url: bool
) -> None:
    inputs = Inputs(embeddings_root=shop) if is_url else Inputs()
    promote_version(BETTER, inputs=inputs)
    project.add_images(NUM_IMAGES, 30)
    project.embed(BETTER)
    for again, num_images in ((False, NUM_IMAGES), (True, NUM_IMAGES + 30)):
        promote_version(BETTER, inputs=inputs, again=again)
        published = promotion.champion_embeddings(project.tracking).embeddings
        assert embeddings_at(published).num_images == num_images
    assert champion(project) == BETTER


def test_an_empty_folder_takes_embeddings_of_the_registered_graph_alone(
    project: Promotable,
) -> None:
    version, registration = RegisteredVersion(name="hemline", version=FIRST), Path("named.json")
    ours = versions.download(version, tracking=project.tracking).graph_sha256
    versions.write_registration(version, registration, graph_sha256="f" * 64)
    told = r"hemline/1 in .* is another model than the one .*registered: set MLFLOW_TRACKING_URI"
    with pytest.raises(HemlineError, match=told):
        embed(registration=registration, embeddings=Path("empty"))
    for known in (ours, None):  # an older hemline did not say
        versions.write_registration(version, registration, graph_sha256=known)
        with pytest.raises(HemlineError, match=NEEDS_RAY):
            embed(registration=registration, embeddings=Path("empty"))


def test_embeddings_are_made_in_a_folder_and_not_at_a_url(project: Promotable, capsys) -> None:
    assert status_of("embed", "--embeddings", "s3://shop/embeddings") == 2
    told = " ".join(re.findall(r"[\w:/.`-]+", capsys.readouterr().err))
    assert "s3://shop/embeddings is a URL" in told
    assert "promote --embeddings-root URL" in told
    assert not Path("s3:").exists()


def test_a_rollback_fetches_no_graph(project: Promotable, monkeypatch) -> None:
    """Its SHA-256 is a tag of the version; in a remote store the file is large."""
    promote_version(BETTER)
    version = RegisteredVersion(name="hemline", version=FIRST)
    expected = versions.download(version, tracking=project.tracking).graph_sha256
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.artifacts, "download_artifacts", None)
        assert versions.graph_sha256(version, tracking=project.tracking) == expected
        rollback()
    assert champion(project) == FIRST
    client = project.tracking.client()
    client.delete_model_version_tag("hemline", str(FIRST), versions.GRAPH_TAG)
    assert versions.graph_sha256(version, tracking=project.tracking) == expected, "an older one's"


@pytest.mark.parametrize("is_url", [False, True])
def test_killed_before_any_write_and_started_again_it_ends_the_same(
    begun: Promotable, tmp_path: Path, is_url: bool
) -> None:
    """Whether a file or the registry is written; below, whole processes are killed."""
    states: list[str] = []
    is_killed = True
    while is_killed:
        folder = tmp_path / str(len(states))
        with pytest.MonkeyPatch.context() as patch:
            project = _copy(begun, folder, patch)
            patch.setenv("HEMLINE_CACHE", str(folder / "cache"))
            root = f"file://{folder}/data/published" if is_url else "data/published"
            inputs = Inputs(embeddings_root=root)
            with pytest.MonkeyPatch.context() as killing:
                kill_before(len(states), _end_process, patch=killing.setattr)
                try:
                    promote_version(BETTER, inputs=inputs)
                    is_killed = False
                except KilledError:
                    pass
            promote_version(BETTER, inputs=inputs)
            states.append(timeless(state(project), folder))
    assert len(states) > 11  # verdict, part, items, quarantine, manifest, address, move
    assert len(set(states)) == 1


def _end_process() -> None:
    raise KilledError


@pytest.mark.slow
def test_no_killed_process_and_no_reader_finds_a_mixture(begun: Promotable, tmp_path: Path) -> None:
    """Killed while it writes files, and while it moves the alias, and started again."""
    killed = ["2", "10"]
    driver = Path(__file__).parents[1] / "promotion_driver.py"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, str(driver), str(begun.folder), str(tmp_path), str(BETTER), *killed],
        env={**kept, "PYTHONPATH": str(PROJECT), "RAY_ADDRESS": NOWHERE},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folders = [tmp_path / "whole", *(tmp_path / f"killed-{write}" for write in killed)]
    assert len({timeless(state(Promotable(folder=each)), each) for each in folders}) == 1
    rows = [json.loads(line) for line in (tmp_path / "read.jsonl").read_text().splitlines()]
    assert all(version == embedded for _, version, embedded in rows)
    orders: dict[str, list[int]] = {}
    for folder, version, _ in rows:
        orders.setdefault(folder, []).append(version)
    assert all(order in ([FIRST], [BETTER], [FIRST, BETTER]) for order in orders.values())
    assert [FIRST, BETTER] in orders.values(), "the reader saw a promotion"


def timeless(found: dict[str, object], folder: Path) -> str:
    """Returns a state as text, without the folder and without times."""
    text = json.dumps(found, sort_keys=True).replace(str(folder), "FOLDER")
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "TIME", text)
