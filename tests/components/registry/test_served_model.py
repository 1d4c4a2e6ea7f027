"""The registered model as its consumers call it: rows in, rows out, and bad rows."""

import base64
import logging
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from builders import encoded, flip_a_bit, heic, noise
from mlflow import pyfunc
from mlflow.exceptions import MlflowException
from profiles import ADOBE_RGB, rgb_profile

from components.registry import registration, versions
from components.tracking.runs import Tracking, start_run

SAME = 0.9999  # cosine: the graph may order float32 sums differently for another batch
TEXT = pd.StringDtype()


@pytest.fixture(scope="module")
def version(example, tmp_path_factory: pytest.TempPathFactory) -> versions.RegisteredVersion:
    folder = tmp_path_factory.mktemp("mlflow")
    tracking = Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifact_root=str(folder / "files"))
    run_id = start_run(tracking, params={}, tags={})
    return registration.register_package(
        example.package.folder, card="# A card\n", tracking=tracking, run_id=run_id
    )


@pytest.fixture(scope="module")
def model(version) -> pyfunc.PyFuncModel:
    """The model, loaded from a registry where no pickle may be."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        return pyfunc.load_model(version.uri)


@pytest.fixture(scope="module")
def expected(example, pictures) -> np.ndarray:
    """What the network itself gives [pictures, attributes, D]."""
    return example.embeddings(pictures)


@pytest.fixture
def calls(model, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Images decoded, and (images, attributes) of each pass through the network."""
    seen: dict[str, list[Any]] = {"decoded": [], "passes": []}
    served = model.unwrap_python_model()
    code = type(served).load_context.__globals__
    decode, network = code["decode"], served.network

    def counted_decode(data, **arguments):
        seen["decoded"].append(data)
        return decode(data, **arguments)

    def counted_network(pixels, attributes):
        seen["passes"].append(tuple(attributes.shape))
        return network(pixels, attributes)

    monkeypatch.setitem(code, "decode", counted_decode)
    monkeypatch.setattr(served, "network", counted_network)
    return seen


def check_same(found: pd.Series, expected_RD: np.ndarray) -> None:
    vectors_RD = np.stack(list(found))
    assert (np.einsum("rd,rd->r", vectors_RD, expected_RD) >= SAME).all()
    np.testing.assert_allclose(np.linalg.norm(vectors_RD, axis=1), 1, atol=1e-5)


def test_a_graph_with_a_flipped_bit_is_not_served(version, tmp_path) -> None:
    copy = mlflow.artifacts.download_artifacts(artifact_uri=version.uri, dst_path=str(tmp_path))
    flip_a_bit(Path(copy) / "artifacts/network.pt2", share=0.9)
    with pytest.raises(MlflowException, match=r"network\.pt2 is damaged .* download it again"):
        pyfunc.load_model(copy)


def test_no_attribute_asks_for_all_of_them(model, example, pictures, expected) -> None:
    index = [f"item {number}" for number in range(len(pictures))]
    found = model.predict(pd.DataFrame({"image": pictures}, index=index))
    names = example.package.schema.names
    assert list(found.columns) == ["attribute", "embedding"]
    assert list(found.index) == [name for name in index for _ in names]
    assert list(found["attribute"]) == names * len(pictures)
    assert found["embedding"][index[0]].iloc[0].dtype == np.float32
    check_same(found["embedding"], expected.reshape(-1, expected.shape[-1]))


def test_rows_with_an_attribute_and_without_stay_in_order(model, pictures, expected) -> None:
    rows = [(3, "skirt"), (1, None), (3, "sleeve"), (0, "neck|line"), (2, float("nan"))]
    images, attributes = zip(*((pictures[image], name) for image, name in rows), strict=True)
    found = model.predict(pd.DataFrame({"image": images, "attribute": attributes}))
    places = [(3, 1), (1, 0), (1, 1), (1, 2), (3, 0), (0, 2), (2, 0), (2, 1), (2, 2)]
    assert list(found.index) == [0, 1, 1, 1, 2, 3, 4, 4, 4]
    check_same(found["embedding"], np.stack([expected[place] for place in places]))


@pytest.mark.parametrize("absent", [None, float("nan")], ids=str)
def test_a_column_of_nulls_is_no_attribute(model, pictures, absent) -> None:
    attributes = pd.Series([absent] * 2, dtype=object)
    found = model.predict(pd.DataFrame({"image": pictures[:2], "attribute": attributes}))
    assert len(found) == 6


def test_bytes_text_and_paths_give_the_same(model, pictures, expected, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(pictures[0])
    text = base64.b64encode(pictures[0]).decode()
    mime = base64.encodebytes(pictures[0]).decode()  # with line breaks
    forms = [pictures[0], bytearray(pictures[0]), text, mime, str(path), path]
    for frame in (
        pd.DataFrame({"image": forms, "attribute": "skirt"}),
        pd.DataFrame({"image": pd.Series([text, str(path)], dtype=TEXT), "attribute": "skirt"}),
    ):
        found = model.predict(frame)
        check_same(found["embedding"], np.stack([expected[0, 1]] * len(frame)))


def test_every_format_and_colour_profile_that_hemline_reads(model, example) -> None:
    picture = noise(60, 60)
    profiled = encoded(picture, "JPEG", icc_profile=rgb_profile(ADOBE_RGB, 2.2))
    files = [encoded(picture, "AVIF"), encoded(picture, "JPEG2000"), heic(picture), profiled]
    found = model.predict(pd.DataFrame({"image": files, "attribute": "skirt"}))
    check_same(found["embedding"], example.embeddings(files)[:, 1])


def test_an_image_of_many_rows_is_decoded_and_embedded_once(model, pictures, calls) -> None:
    frame = pd.DataFrame(
        {
            "image": [pictures[0], pictures[1], pictures[0], pictures[0]],
            "attribute": ["skirt", "skirt", "sleeve", "skirt"],
        }
    )
    found = model.predict(frame)
    assert calls == {"decoded": pictures[:2], "passes": [(2, 2)]}
    np.testing.assert_array_equal(found["embedding"][0], found["embedding"][3])


def test_many_rows_are_embedded_in_batches(model, pictures, expected, calls) -> None:
    found = model.predict(pd.DataFrame({"image": pictures, "attribute": "skirt"}))
    assert calls["passes"] == [(32, 1), (8, 1)]
    check_same(found["embedding"], expected[:, 1])


def test_an_empty_frame_gives_an_empty_one(model) -> None:
    frame = pd.DataFrame({"image": pd.Series([], dtype=object)})
    found = model.predict(frame)
    assert (list(found.columns), len(found)) == (["attribute", "embedding"], 0)


BAD_IMAGES = {
    "not an image": (b"no image", "not_an_image: starts with b'no image'"),
    "truncated": (None, "truncated"),  # the first half of a picture
    "empty": (b"", "empty_file"),
    "null": (float("nan"), "no image"),
    "not base64": ("%%%", "'%%%': neither base64 text nor a file"),
    "no file": ("photos/no-such.jpg", "'photos/no-such.jpg': neither base64 text nor a file"),
    "a number": (3.5, "an image is bytes, base64 text or a path, not float"),
}


@pytest.mark.parametrize(("image", "problem"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_names_its_row_or_gives_null(
    model, pictures, expected, *, image, problem, caplog: pytest.LogCaptureFixture
) -> None:
    bad = pictures[0][: len(pictures[0]) // 2] if problem == "truncated" else image
    frame = pd.DataFrame(
        {"image": [pictures[0], bad, pictures[1]], "attribute": ["skirt", None, "sleeve"]},
        index=[10, 20, 30],
    )
    with pytest.raises(ValueError, match="row 1: ") as raised:
        model.predict(frame)
    assert problem in str(raised.value)
    assert "'on_error': 'null'" in str(raised.value)
    with caplog.at_level(logging.WARNING):
        found = model.predict(frame, params={"on_error": "null"})
    assert f"row 1: {problem.split(':')[0]}" in caplog.text
    assert list(found.index) == [10, 20, 20, 20, 30]
    assert list(found["embedding"].isna()) == [False, True, True, True, False]
    assert list(found["attribute"]) == ["skirt", "sleeve", "skirt", "neck|line", "sleeve"]
    check_same(found["embedding"].dropna(), np.stack([expected[0, 1], expected[1, 0]]))


def test_an_unknown_attribute_names_its_row_or_gives_null(model, pictures, expected) -> None:
    frame = pd.DataFrame({"image": [pictures[0]] * 2, "attribute": ["skirt", "hem"]})
    with pytest.raises(ValueError, match=r"row 1: unknown attribute 'hem'; known: \['sleeve'"):
        model.predict(frame)
    found = model.predict(frame, params={"on_error": "null"})
    assert list(found["attribute"]) == ["skirt", "hem"]
    assert found["embedding"][1] is None
    check_same(found["embedding"][:1], expected[:1, 1])


def test_all_rows_may_be_bad(model) -> None:
    found = model.predict(pd.DataFrame({"image": [b"x", b"y"]}), params={"on_error": "null"})
    assert len(found) == 6
    assert found["embedding"].isna().all()


def test_other_ways_with_errors_are_refused(model, pictures) -> None:
    with pytest.raises(MlflowException, match="on_error is 'skip'; it takes 'raise' and 'null'"):
        model.predict(pd.DataFrame({"image": pictures[:1]}), params={"on_error": "skip"})


@pytest.mark.parametrize(
    ("serving", "said", "is_read"),
    [
        (None, None, True),
        ("true", None, False),
        ("true", "true", True),
        (None, "false", False),
        (None, "maybe", False),
    ],
)
def test_paths_are_not_read_for_clients_of_a_server(
    model, pictures, *, tmp_path, monkeypatch, serving, said, is_read
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(pictures[0])
    for name, value in {
        "_MLFLOW_IS_IN_SERVING_ENVIRONMENT": serving,
        "HEMLINE_READ_PATHS": said,
    }.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    frame = pd.DataFrame({"image": [str(path)], "attribute": ["skirt"]})
    if is_read:
        assert len(model.predict(frame)) == 1
        return
    with pytest.raises(ValueError, match="HEMLINE_READ_PATHS does not let this process read it"):
        model.predict(frame)
