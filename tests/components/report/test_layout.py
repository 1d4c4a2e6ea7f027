"""The page as a browser lays it out: on a screen and on a phone."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from small_report import report

from components.figures.frames import FRAMES
from components.report.compose import render

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not both installed"
    ),
]

Show = Callable[[int], webdriver.Chrome]


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    """Gives a function that shows the page at a width."""
    page = tmp_path_factory.mktemp("report") / "report.html"
    page.write_text(render(report(rude="neckline_design")))
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(option)
    browser = webdriver.Chrome(options, Service(DRIVER))

    def at(width: int) -> webdriver.Chrome:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(Path(page).as_uri())
        return browser

    yield at
    browser.quit()


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_charts_use_the_width_and_can_be_read(show: Show, width: int) -> None:
    browser = show(width)
    page = browser.find_element(By.TAG_NAME, "html")
    assert page.get_property("scrollWidth") == page.get_property("clientWidth") <= width
    room = browser.find_element(By.TAG_NAME, "main").rect["width"]
    charts = [x for x in browser.find_elements(By.TAG_NAME, "svg") if x.is_displayed()]
    assert len(charts) == 4  # each in one of its forms
    for chart in charts:
        assert chart.rect["width"] >= min(0.95 * room, 34 * 16 - 1)  # pixels
        heights = [text.rect["height"] for text in chart.find_elements(By.TAG_NAME, "text")]
        assert min(heights) >= 9  # pixels, of a line of text


def test_on_a_phone_facts_stand_under_their_names(show: Show) -> None:
    name, fact = (show(390).find_element(By.TAG_NAME, tag).rect for tag in ("dt", "dd"))
    assert fact["y"] >= name["y"] + name["height"]
    assert fact["width"] > 0.9 * (390 - 2 * 13)


def test_frames_are_drawn_as_everywhere(show: Show) -> None:
    browser = show(1280)
    for kind in ("query", "agrees", "differs"):
        picture = browser.find_element(By.CSS_SELECTOR, f".tile img.{kind}")
        assert picture.value_of_css_property("border-top-style") == FRAMES[kind].line
        assert float(picture.value_of_css_property("border-top-width").removesuffix("px")) >= 3
