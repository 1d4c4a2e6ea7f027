"""`hemline search --change`: the same, but with another value."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from builders import PROJECT, images_table, labels_table, png, write_files
from embedded_folders import write_embedded_folder
from PIL import Image

from components import tables
from components.attributes import Attribute, AttributeSchema
from components.prototypes.prototypes import Prototypes, ValueVectors
from components.prototypes.tags import UNCALIBRATED
from components.search.request import Query, SearchRequest
from components.tables import Catalog, Numbering
from pipelines.operations.search.answer import Results
from pipelines.operations.search.command import _kept
from pipelines.shell.cli import main

COLLARS, HEMS = ("none", "rib", "unseen"), ("short", "long")
SCHEMA = AttributeSchema(
    dataset="by hand",
    attributes=(Attribute(name="collar", values=COLLARS), Attribute(name="hem", values=HEMS)),
)
# collar and hem of each image, which is embedded on the axes of its values
IMAGES = [("none", "short"), ("none", "long"), ("rib", "long"), ("rib", "short"), ("none", "short")]


def _prototypes() -> Prototypes:
    attributes = {}
    for attribute in SCHEMA.attributes:
        vectors_VD = np.eye(2, dtype=np.float32)[np.arange(len(attribute.values)) % 2]
        vectors_VD[2:] = np.nan
        found = len(vectors_VD[:2])
        nothing = len(attribute.values) - found
        attributes[attribute.name] = ValueVectors(
            values=attribute.values,
            vectors_VD=vectors_VD,
            num_images_V=np.array([1] * found + [0] * nothing),
            spread_V=np.array([0] * found + [np.nan] * nothing, np.float32),
        )
    return Prototypes(
        attributes=attributes,
        weights={"collar": 1.0, "hem": 0.5},
        calibrations={"collar": UNCALIBRATED, "hem": UNCALIBRATED},
        model="m",
    )


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, {f"raw/{number}.png": png(number) for number in range(len(IMAGES))})
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["data"]["root"] = "raw"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    labels = [
        (image, place, attribute.values.index(values[place]))
        for image, values in enumerate(IMAGES)
        for place, attribute in enumerate(SCHEMA.attributes)
    ]
    catalog = Catalog(
        schema=SCHEMA,
        numbering=Numbering(origin="o", next_image=len(IMAGES)),
        images=images_table([f"{number:064d}" for number in range(len(IMAGES))]),
        labels=labels_table(labels),
        triplets=tables.PUBLISHED_TRIPLETS.empty_table(),
        quarantine=tables.quarantine_table([]),
        left_out={},
    )
    tables.write_catalog(catalog, tmp_path / "data/catalog")
    write_embedded_folder(
        tmp_path / "data/embeddings",
        {
            name: np.eye(2)[[names.index(values[place]) for values in IMAGES]]
            for place, (name, names) in enumerate((("collar", COLLARS), ("hem", HEMS)))
        },
        prototypes=_prototypes(),
    )
    return tmp_path


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    with pytest.raises(SystemExit) as stopped:
        main(["search", "--id", "0", *arguments, "--format", "json"])
    assert not stopped.value.code
    return json.loads(capsys.readouterr().out)


def images(answer: dict) -> list[tuple[int, float, str]]:
    return [(one["image"], one["similarity"], one["verdict"]) for one in answer["found"]]


def test_all_else_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: a rib collar counts 1, a short hem 0.5, by the weights of the version."""
    answer = answered(capsys, "--change", "collar=rib", "--top-k", "4")
    assert answer["attributes"] == {"collar": 1.0, "hem": 0.5}
    assert answer["changes"] == {"collar": "rib"}
    assert answer["query"]["values"] == {"collar": ["none"], "hem": ["short"]}
    assert images(answer) == [
        (3, 1.5, "agrees"),
        (2, 1.0, "differs"),
        (4, 0.5, "differs"),
        (1, 0.0, "differs"),
    ]


@pytest.mark.parametrize(
    ("arguments", "weights", "first"),
    [
        (["--attribute", "collar", "--change", "collar=rib"], {"collar": 1.0}, 2),
        (["--keep", "hem", "--change", "collar=rib"], {"collar": 1.0, "hem": 0.5}, 3),
        (["--keep", "hem, hem", "--change", "collar=rib"], {"collar": 1.0, "hem": 0.5}, 3),
        (["--attribute", "hem=3", "--change", "collar=rib"], {"hem": 3.0, "collar": 1.0}, 3),
        (["--change", "collar=rib", "--change", "hem=long"], {"collar": 1.0, "hem": 0.5}, 2),
        (["--change", "collar=rib", "--where", "hem=long"], {"collar": 1.0, "hem": 0.5}, 2),
        (["--change", "hem=long"], {"collar": 1.0, "hem": 0.5}, 1),
    ],
)
def test_what_counts_can_be_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], weights: dict, first: int
) -> None:
    answer = answered(capsys, *arguments)
    assert answer["attributes"] == weights
    assert answer["found"][0]["image"] == first
    assert [*answer["attributes"]] == [*weights]


def test_nothing_is_said_of_changes_where_none_is_asked_for(capsys) -> None:
    answer = answered(capsys, "--attribute", "collar=2", "--attribute", "hem")
    assert answer["changes"] == {}
    assert answer["attributes"] == {"collar": 2.0, "hem": 1.0}
    assert images(answer)[0] == (4, 3.0, "agrees")


def test_table_and_sheet_tell_what_changes(capsys, project: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["search", "--id", "0", "--change", "collar=rib", "--top-k", "2"])
    assert not stopped.value.code
    printed = capsys.readouterr().out
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [row[2:6] for row in cells] == [["✓", "rib", "", "3"], ["✗", "rib", "long", "2"]]
    assert "query: raw/0.png (rib instead of none)" in printed
    assert "collar=rib + 0.5 x hem" in printed
    with Image.open(project / "search/sheet.png") as sheet:
        assert sheet.width > 3 * 180


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--change", "collar=none"], "the query has collar=none already"),
        (["--change", "collar=round"], "no value 'round' of collar; its values are none, rib"),
        (["--change", "collar=unseen"], "collar=unseen has no prototype"),
        (["--change", "sleeve=long"], "no attribute 'sleeve'; images are embedded for collar, hem"),
        (["--change", "collar"], "give it as NAME=VALUE"),
        (["--change", "collar=rib", "--keep", "sleeve"], "no attribute 'sleeve'"),
        (["--change", "collar=rib", "--keep", "hem,collar"], "collar is both kept and changed"),
    ],
)
def test_what_cannot_be_is_one_error(capsys, arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["search", "--id", "0", *arguments])
    assert stopped.value.code == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments", [[], ["--keep", "hem"], ["--attribute", "hem", "--keep", "hem"]]
)
def test_what_to_compare_by_has_to_be_said(capsys, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["search", "--id", "0", *arguments])
    assert stopped.value.code == 2
    assert "--change" in capsys.readouterr().err


def test_embeddings_without_prototypes_say_how_to_get_them(capsys, project: Path) -> None:
    write_embedded_folder(project / "older", {"collar": np.eye(2), "hem": np.eye(2)})
    with pytest.raises(SystemExit):
        main(["search", "--id", "0", "--change", "collar=rib", "--embeddings", "older"])
    said = capsys.readouterr().err
    assert "older has no vectors of values" in said
    assert "dvc repro" in said


def test_names_to_keep_may_have_commas_and_accents() -> None:
    assert _kept(["heel, cm", "hem, sole"], ["heel, cm", "hem"]) == ["heel, cm", "hem", "sole"]
    assert _kept(["colle\u0301"], ["coll\u00e9"]) == ["coll\u00e9"]


def test_a_title_of_many_attributes_is_short() -> None:
    names = [f"attribute_{number}" for number in range(12)]
    query = Query(vectors={}, itself=[], values={})
    weights = dict.fromkeys(names, 1.234)
    results = Results(
        query=query,
        target=query,
        shown="query.png",
        image=None,
        request=SearchRequest(weights=weights, top_k=5, changes={"attribute_3": "long"}),
        model="models:/hemline/1",
        root="raw",
        found=[],
    )
    assert results.title == (
        "attribute_3=long, 11 attributes as in the query, by models:/hemline/1"
    )
