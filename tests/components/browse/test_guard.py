"""What the page does not do: read other files, answer other hosts, take what is no picture."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import encoded, noise, png, png_header
from flask.testing import FlaskClient
from shops import Shop

from components.browse.app import create_app
from components.browse.shelf import ItemPictures, Shelf


def post(client: FlaskClient, data: bytes, **headers: str) -> tuple[int, str]:
    """Returns status and page of an upload."""
    form = {"picture": (io.BytesIO(data), "query.png")}
    answer = client.post("/uploads", data=form, headers=headers)
    return answer.status_code, answer.text


@pytest.fixture
def address(champion: Shelf) -> Callable[[object], str]:
    return lambda image: f"/pictures/{champion.key}/{image}.jpg"


@pytest.mark.parametrize("path", ["/", "/search?image=1", "/nowhere", "/static/style.css"])
def test_every_answer_carries_the_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy  # so that none may run
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_pages_need_no_script_and_no_inline_style(client: FlaskClient) -> None:
    for path in ("/", "/search?image=1"):
        page = client.get(path).text
        assert "<script" not in page
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick=" not in page


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1", ""])
def test_other_names_of_the_host_are_refused(client: FlaskClient, host: str) -> None:
    for path in ("/", "/search?image=1", "/static/style.css"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert "Item" not in answer.text


def test_ports_do_not_matter_for_the_host(client: FlaskClient) -> None:
    assert client.get("/", headers={"Host": "localhost:8123"}).status_code == 200


def test_forms_of_other_sites_are_refused(client: FlaskClient) -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 303)):
        assert post(client, png(1), **{"Sec-Fetch-Site": site})[0] == status


def test_pictures_are_encoded_anew_and_may_be_kept(
    client: FlaskClient, address: Callable[[object], str], shop: Shop
) -> None:
    answer = client.get(address(3))
    assert answer.content_type == "image/jpeg"
    assert answer.data[:2] == b"\xff\xd8"
    assert answer.data != shop.pictures[3]
    assert "max-age=86400" in answer.headers["Cache-Control"]
    assert client.get("/").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "name", ["70", "-1", "1e1", "99999999999999999999999", "../../etc/passwd", "%2e%2e%2fsecret"]
)
def test_only_numbers_of_items_are_pictures(
    client: FlaskClient, address: Callable[[object], str], name: str
) -> None:
    assert client.get(address(name)).status_code == 404


def test_pictures_of_other_embeddings_are_404(client: FlaskClient) -> None:
    assert client.get("/pictures/other/1.jpg").status_code == 404


@pytest.mark.parametrize("leads_out", ["dots", "absolute", "link"])
def test_paths_that_lead_out_are_refused(
    leads_out: str, tmp_path: Path, champion: Shelf, shop: Shop, make_client
) -> None:
    """What the items table says is data: it must not reach files beside the pictures' folder."""
    root, secret = tmp_path / "raw", tmp_path / "secret.png"
    root.mkdir()
    secret.write_bytes(png(7))
    (root / "link.png").symlink_to(secret)
    paths = {"dots": "../secret.png", "absolute": str(secret), "link": "link.png"}
    items = shop.catalog.images.slice(0, 1)
    items = items.set_column(1, "path", [[paths[leads_out]]])
    items = items.append_column("content", items["sha256"])
    client = make_client(pictures=ItemPictures(items, str(root)))
    answer = client.get(f"/pictures/{champion.key}/0.jpg")
    assert answer.status_code == 404
    assert "outside_root" in answer.text
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/hosts"]
)
def test_nothing_but_the_style_sheet_is_static(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code in {404, 308}


def test_what_is_no_picture_is_415(client: FlaskClient) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    for data in (b"not a picture", svg, b"%PDF-1.7 ...", encoded(noise(8, 8), "ICO")):
        status, page = post(client, data)
        assert status == 415
        assert "What is read: JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, JPEG2000, HEIC" in page


def test_damaged_and_missing_pictures_are_400(client: FlaskClient) -> None:
    assert post(client, png(1)[:-40])[0] == 400
    assert post(client, b"")[0] == 400
    assert client.post("/uploads", data={"picture": "text"}).status_code == 400
    assert client.post("/uploads", data={}).status_code == 400


def test_pixel_bombs_are_413(client: FlaskClient) -> None:
    status, page = post(client, png_header(40_000, 40_000))
    assert status == 413
    assert "too_large" in page


def test_large_uploads_are_413(champion: Shelf) -> None:
    app = create_app([champion], trusted_hosts=["localhost"], max_upload_bytes=2**20)
    client = app.test_client()
    status, page = post(client, bytes(2**20))
    assert status == 413
    assert "1 MB at most" in page
    assert post(client, encoded(noise(200, 200)))[0] == 303


def test_uploads_touch_no_disk(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Werkzeug's own way makes a file from 500 kB on."""

    def no_file(*arguments: object, **named: object) -> None:
        raise AssertionError("a file on disk")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_file)
    data = encoded(noise(600, 600))
    assert len(data) > 1_000_000
    assert post(client, data)[0] == 303
