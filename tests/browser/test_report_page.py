"""The report in a real browser, without a network, on a desk and on a phone."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stableyield.report import compute_metrics, write_run

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
CHARTS = ("equity", "drawdown", "allocation", "tokens", "costs", "monthly", "forecast")


@pytest.fixture(scope="module")
def result() -> Any:
    path = Path(__file__).resolve().parents[1] / "report" / "made_up_run.py"
    spec = importlib.util.spec_from_file_location("made_up_run", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["made_up_run"] = module
    spec.loader.exec_module(module)
    return module.make_result()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        pytest.skip("chromium is not installed")
    playwright_api = pytest.importorskip("playwright.sync_api")
    with playwright_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(result: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_run(result, tmp_path_factory.mktemp("run")).as_uri()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Any]:
    """Open the report at a width, offline; complaints and requests are collected on the way."""
    contexts = []

    def open_at(width: int, scheme: str = "light") -> tuple[Any, list[str], list[str]]:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        complaints: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        page.wait_for_selector("#forecast-plot .main-svg")
        return page, complaints, requests

    yield open_at
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_opens_offline_without_a_complaint_or_a_request(open_page, address, width):
    _, complaints, requests = open_page(width)
    assert complaints == []
    assert requests == [address]


@pytest.mark.parametrize("width", [1280, 400])
def test_every_figure_is_drawn_inside_the_page(open_page, width):
    page, _, _ = open_page(width)
    for name in CHARTS:
        box = page.locator(f"#{name}-plot .main-svg").first.bounding_box()
        assert box["width"] > 0.35 * min(width, 1160)
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert page.locator("#equity-plot .scatterlayer .trace").count() == 4


@pytest.mark.parametrize("width", [1280, 768, 400, 320])
def test_the_page_never_scrolls_sideways(open_page, width):
    page, _, _ = open_page(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_headline_numbers_are_on_the_first_screen(open_page, result):
    page, _, _ = open_page(1280)
    apy = f"{compute_metrics(result)['strategy']['net_apy_pct']:.2f}"
    assert apy in page.locator("h1").inner_text()
    cards = page.locator(".card .value")
    assert cards.count() == 6
    for i in range(6):
        box = cards.nth(i).bounding_box()
        assert box["y"] + box["height"] < 400
    assert page.locator(".warnings").bounding_box()["y"] < 500


def test_no_label_of_a_figure_is_cut_off_or_covers_another(open_page):
    page, _, _ = open_page(400)
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('#equity-plot .annotation-text')].map(
            e => e.getBoundingClientRect()).map(b => [b.left, b.right, b.top, b.bottom])"""
    )
    assert len(boxes) == 4
    assert all(left >= 0 and right <= 400 for left, right, _, _ in boxes)
    tops = sorted((top, bottom) for _, _, top, bottom in boxes)
    assert all(tops[i][1] <= tops[i + 1][0] + 3 for i in range(3))


def test_the_legend_hides_and_shows_a_curve(open_page):
    page, complaints, _ = open_page(1280)
    button = page.locator("button[data-chart=equity]").filter(has_text="Idle cash")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    page.wait_for_function(
        "document.querySelectorAll('#equity-plot .scatterlayer .trace').length === 3"
    )
    button.click()
    page.wait_for_function(
        "document.querySelectorAll('#equity-plot .scatterlayer .trace').length === 4"
    )
    assert complaints == []


def test_a_dark_screen_gets_dark_paper_and_light_ink(open_page):
    page, complaints, _ = open_page(1280, "dark")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.evaluate("getComputedStyle(document.querySelector('#equity-plot .xtick text')).fill")
    assert paper == "rgb(18, 22, 28)"
    assert ink == "rgb(154, 164, 178)"
    assert complaints == []
