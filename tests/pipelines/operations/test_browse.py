"""`hemline browse` as its users meet it: a real registry, a real server, a real browser."""

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from builders import PROJECT
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait
from shops import NUM_ITEMS, Shop, picture

from components.browse.app import MAX_UPLOAD_BYTES
from components.figures.frames import FRAMES
from components.registry import promotion, registration
from components.tracking.runs import Tracking, start_run
from pipelines.shell.cli import main

pytestmark = pytest.mark.slow

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
BROWSER = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not both installed"
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A project with two registered models and the images embedded with each."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["data"]["root"] = "raw"
    (shop.folder / "params.yaml").write_text(yaml.safe_dump(params))
    tracking = Tracking(
        uri=f"sqlite:///{shop.folder}/mlflow.db", artifact_root=str(shop.folder / "mlartifacts")
    )
    for number, name in enumerate(("data/embeddings", "data/others"), start=1):
        package = shop.export(f"package-{number}", seed=number)
        run_id = start_run(tracking, params={}, tags={})
        version = registration.register_package(
            package.folder, card="", tracking=tracking, run_id=run_id
        )
        shop.embed(name, package, version=version.version)
    promotion.move_champion("promote", 1, expected=None, who="a test", tracking=tracking)
    return shop


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[str]:
    """Gives the address at which `hemline browse` serves a project."""
    outside = {"MLFLOW_TRACKING_URI", "RAY_ADDRESS"}
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    command = [sys.executable, "-c", "from pipelines.shell.cli import main; main()", "browse"]
    server = subprocess.Popen(
        [*command, "--port", "0", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        told = next(line for line in server.stdout if "http://" in line)
        yield re.findall(r"http://\S+", told)[0]
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def address(shop: Shop) -> Iterator[str]:
    with served(shop.folder, "--against", "data/others") as address:
        yield address


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    # a container's root may use neither Chromium's sandbox nor much shared memory
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(option)
    options.add_argument("--window-size=1200,1400")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, Service(DRIVER))
    yield browser
    browser.quit()


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def follow(browser: webdriver.Chrome, element: WebElement) -> None:
    """Clicks on what leads to another page, and waits for that one.

    Between two pages the driver answers with errors of several kinds, so they are waited out.
    """
    browser.execute_script("document.left = true")
    element.click()
    WebDriverWait(browser, 20, ignored_exceptions=[WebDriverException]).until(
        lambda _: browser.execute_script(
            "return !document.left && document.readyState === 'complete'"
        )
    )


def loaded(browser: webdriver.Chrome) -> bool:
    """Tells whether the pictures that the page itself holds are drawn."""
    pictures = browser.find_elements(By.CSS_SELECTOR, "img:not([loading])")
    return all(picture.get_property("naturalWidth") for picture in pictures)


@BROWSER
def test_a_picture_is_chosen_and_searched_by_two_attributes(
    browser: webdriver.Chrome, address: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.png").write_bytes(picture(1000))
    browser.get(address)
    browser.find_element(By.ID, "picture").send_keys(str(tmp_path / "mine.png"))
    follow(browser, browser.find_element(By.CSS_SELECTOR, ".upload button"))
    assert texts(browser, "h1") == ["Like mine.png"]
    browser.find_element(By.CSS_SELECTOR, "input[value=coat_length]").click()
    weight = browser.find_element(By.NAME, "weight.coat_length")
    weight.clear()
    weight.send_keys("2")
    follow(browser, browser.find_element(By.CSS_SELECTOR, ".question button"))
    WebDriverWait(browser, 10).until(loaded)

    assert texts(browser, ".column h2") == ["hemline 1 (champion)", "hemline 2 (challenger)"]
    assert len(texts(browser, ".found li")) == 2 * 10
    assert len(texts(browser, ".maps figure")) == 2 * 2
    ranks = [float(text.split()[1]) for text in texts(browser, ".column:first-child .rank")]
    assert ranks == sorted(ranks, reverse=True)
    assert browser.get_log("browser") == []  # nothing was refused by the page's own policy
    browser.save_screenshot(str(tmp_path / "page.png"))
    with Image.open(tmp_path / "page.png") as page:
        assert page.width == 1200
        assert np.asarray(page.convert("L")).std() > 10  # something is drawn


@BROWSER
def test_a_picture_is_dropped_without_scripts(
    browser: webdriver.Chrome, address: str, shop: Shop
) -> None:
    """The browser takes the file on the field itself; the item is known again by its content."""
    browser.get(address)
    field = browser.find_element(By.ID, "picture")
    place = field.rect
    drag = {
        "x": place["x"] + place["width"] / 2,
        "y": place["y"] + place["height"] / 2,
        "data": {"items": [], "files": [str(shop.root / shop.paths[4])], "dragOperationsMask": 1},
    }
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, **drag})
    WebDriverWait(browser, 10).until(lambda _: field.get_property("value"))
    follow(browser, browser.find_element(By.CSS_SELECTOR, ".upload button"))
    assert texts(browser, "h1") == [f"Like {Path(shop.paths[4]).name}"]
    assert texts(browser, ".attribute small") == ["<b>rib</b>", "short"]


@BROWSER
def test_a_file_that_is_too_large_gets_a_page_that_says_so(
    browser: webdriver.Chrome, address: str, tmp_path: Path
) -> None:
    (tmp_path / "large.png").write_bytes(bytes(MAX_UPLOAD_BYTES + 1))
    browser.get(address)
    browser.find_element(By.ID, "picture").send_keys(str(tmp_path / "large.png"))
    follow(browser, browser.find_element(By.CSS_SELECTOR, ".upload button"))
    assert texts(browser, "h1") == ["Request Entity Too Large"]
    assert "20 MB at most" in texts(browser, "main")[0]


@BROWSER
def test_an_item_is_picked_and_another_one_followed(
    browser: webdriver.Chrome, address: str, shop: Shop
) -> None:
    browser.get(address)
    follow(browser, browser.find_element(By.CSS_SELECTOR, ".items li:nth-child(5) a"))
    assert texts(browser, "h1") == [f"Like {shop.paths[4]}"]
    nearest = browser.find_element(By.CSS_SELECTOR, ".found li a")
    title = nearest.get_attribute("title")
    follow(browser, nearest)
    assert texts(browser, "h1") == [f"Like {title}"]
    assert title != shop.paths[4]


@BROWSER
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_their_width(browser: webdriver.Chrome, address: str, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for path in ("/", "/search?image=4&attribute=collar&attribute=coat_length"):
        browser.get(address + path)
        page = browser.find_element(By.TAG_NAME, "html")
        assert page.get_property("scrollWidth") == page.get_property("clientWidth") <= width
    found, form = (browser.find_element(By.CSS_SELECTOR, x).rect for x in (".columns", ".question"))
    if width == 390:  # a phone shows what was found before what was asked
        assert form["y"] > found["y"] + found["height"]
    else:
        assert form["x"] + form["width"] < found["x"]
        assert form["y"] < found["y"] + found["height"]


@BROWSER
def test_frames_are_drawn_as_everywhere(browser: webdriver.Chrome, address: str) -> None:
    browser.get(f"{address}/search?image=4&attribute=collar&top_k=20")
    for kind in ("agrees", "differs"):
        card = browser.find_element(By.CSS_SELECTOR, f".found li.{kind}")
        assert card.value_of_css_property("border-top-style") == FRAMES[kind].line
        assert card.find_element(By.CSS_SELECTOR, ".sign").text == FRAMES[kind].sign
    query = browser.find_element(By.CSS_SELECTOR, "img.query")
    assert query.value_of_css_property("border-top-style") == FRAMES["query"].line


@BROWSER
def test_items_are_filtered_by_a_value(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address)
    Select(browser.find_element(By.CSS_SELECTOR, "select[name=show]")).select_by_visible_text(
        "collar: none"
    )
    follow(browser, browser.find_element(By.CSS_SELECTOR, ".filter button"))
    assert len(texts(browser, ".items li")) == sum(n % 3 % 2 == 0 for n in range(NUM_ITEMS))
    assert all("collar: none" in text for text in texts(browser, ".items li"))


def test_it_listens_at_loopback_only(address: str) -> None:
    port = int(address.rpartition(":")[2])
    listening = [c for c in psutil.net_connections("inet") if c.laddr and c.laddr.port == port]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    with urllib.request.urlopen(address) as page:
        assert page.status == 200


def test_other_hosts_are_warned_of_and_a_taken_port_is_an_error(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as stopped:
            main(["browse", "--host", "0.0.0.0", "--port", port])
    assert stopped.value.code == 1
    told = capsys.readouterr()
    assert "anybody who can reach 0.0.0.0 may see these items" in told.err
    assert f"cannot listen at 0.0.0.0:{port}" in told.err
    assert "give another --port, or 0" in told.err


def test_a_host_that_is_no_address_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["browse", "--host", "::1"])
    assert "--host ::1 is not an IPv4 address" in capsys.readouterr().err
