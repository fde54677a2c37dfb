"""Pages in a browser: they render, filter, sort and reject, complain about nothing and fetch nothing."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from evil import EVIL, quiet
from toy import Toy

from augment.api import augment_folder, read_planned
from augment.folder.layout import folder_plan
from augment.plan.file import read_plan
from augment.report import page as page_module
from augment.report.page_settings import Settings
from augment.report.pages import write_report_page
from reid_eval.datasets import ReidData

Driver = Any


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """Debian's Chromium without a window, which logs what it fetches and what goes wrong."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    program = shutil.which("chromedriver")
    if binary is None or program is None:
        pytest.skip("there is no chromium, or no chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1300,900"):
        options.add_argument(f"--{word}")
    down = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option(
        "prefs",
        {
            "download.default_directory": str(down),
            "profile.default_content_setting_values.automatic_downloads": 1,  # scripts click here
        },
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(program))
    driver.downloads = down
    yield driver
    driver.quit()


@pytest.fixture
def show(browser: Driver) -> Iterator[Callable[[Path], Driver]]:
    """Open a page; in the end, nothing was said on the console and nothing came from anywhere but the disk."""
    browser.get_log("browser"), browser.get_log("performance")

    def opened(page: Path) -> Driver:
        browser.get(page.resolve().as_uri())
        return browser

    yield opened
    said = [entry for entry in browser.get_log("browser") if entry["level"] != "DEBUG"]
    assert said == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert browser.execute_script("return window.hacked") is None


def value(driver: Driver, script: str) -> Any:
    return driver.execute_script(f"return {script}")


def until(ready: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def choose(driver: Driver, field: str, text: str) -> None:
    driver.execute_script(
        "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
        "one.dispatchEvent(new Event('input', {bubbles: true}))", field, text,
    )  # fmt: skip


SHOWN = "[...document.querySelectorAll('.tile')].map((one) => one.item)"


def test_a_folder_is_looked_at_filtered_and_sorted(page: Path, show: Callable[[Path], Driver]) -> None:
    driver = show(page)
    items = value(driver, SHOWN)
    total = len(items)
    assert total > 10
    errors = [item["e"] for item in items]
    assert errors == sorted(errors, reverse=True)
    assert f"{total} of {total} shown, sorted by pose error, worst first." in value(driver, "shown.textContent")
    until(lambda: value(driver, "document.querySelector('.tile img').naturalHeight"))
    assert value(driver, "document.querySelector('.tile').querySelectorAll('img,svg').length") == 4
    alts = value(driver, "[...document.querySelectorAll('img, [role=img]')].map((i) => i.alt || i.ariaLabel || '')")
    assert all(alts)
    choose(driver, "f-pid", "5")
    assert {item["p"] for item in value(driver, SHOWN)} == {5}
    assert f"({total} in all)" in value(driver, "shown.textContent")
    choose(driver, "f-cam", "2")
    assert {(item["p"], item["c"]) for item in value(driver, SHOWN)} == {(5, 2)}
    choose(driver, "f-verdict", "bad")
    assert value(driver, "shown.textContent").startswith("No image is like that")
    value(driver, "document.querySelector('#filters [type=reset]').click()")
    until(lambda: len(value(driver, SHOWN)) == total)
    choose(driver, "f-sort", "random")
    assert "sorted at random (seed 0)." in value(driver, "shown.textContent")
    drawn = [item["o"] for item in value(driver, SHOWN)]
    choose(driver, "f-sort", "plan")
    planned = [item["o"] for item in value(driver, SHOWN)]
    assert sorted(drawn) == sorted(planned)
    assert drawn != planned
    rows = value(driver, "[...document.querySelectorAll('#people-table tbody tr')].map((r) => r.cells[3].textContent)")
    assert sum(map(int, rows)) == total


def test_it_is_worked_by_keys(page: Path, show: Callable[[Path], Driver]) -> None:
    from selenium.webdriver.common.keys import Keys

    driver = show(page)
    first = driver.find_element("css selector", ".tile")
    first.send_keys(Keys.ARROW_RIGHT)
    assert value(driver, "[...document.querySelectorAll('.tile')].indexOf(document.activeElement)") == 1
    driver.switch_to.active_element.send_keys("x")
    assert value(driver, "document.querySelectorAll('.tile.out').length") == 1
    assert not value(driver, "rejects.hidden")
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert value(driver, "large.open")
    title = value(driver, "document.querySelector('#large dd').textContent")
    driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert value(driver, "document.querySelector('#large dd').textContent") != title
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(lambda: not value(driver, "large.open"))
    value(driver, "document.getElementById('reject-clear').click()")
    assert value(driver, "rejects.hidden")


def test_what_is_rejected_is_a_plan_that_generate_takes(
    page: Path, folder: Path, people: ReidData, show: Callable[[Path], Driver], tmp_path: Path
) -> None:
    driver = show(page)
    before = folder_plan(folder)
    made = before[before["action"] == "generate"]
    gone = made["output"].iloc[[0, 1, 5]].tolist()
    for output in gone:
        tile = f"[...document.querySelectorAll('.tile')].find((one) => one.item.o === {output!r})"
        value(driver, f"{tile}.querySelector('input').click()")
    assert value(driver, "document.getElementById('reject-count').textContent") == "3 rejected."
    value(driver, "document.getElementById('reject-save').click()")
    file = driver.downloads / "plan.csv"
    until(file.is_file)
    after = read_plan(shutil.move(file, tmp_path / "plan.csv"))
    assert set(made["output"]) - set(after["output"]) == set(gone)
    counts = [plan[plan["action"] != "drop"].groupby("pid").size().to_dict() for plan in (before, after)]
    dropped = before[before["action"] == "drop"].groupby("pid").size().to_dict()
    lost = made[made["output"].isin(gone)].groupby("pid").size().to_dict()
    assert counts[1] == {pid: n - max(0, lost.get(pid, 0) - dropped.get(pid, 0)) for pid, n in counts[0].items()}
    planned = read_planned(tmp_path / "plan.csv", people.root)
    manifest = augment_folder(planned, tmp_path / "again", Toy())
    assert manifest is not None
    assert manifest.counts["train_generated"] == len(made) - 3
    same = made["output"].iloc[2]
    assert (tmp_path / "again" / same).read_bytes() == (folder / same).read_bytes(), "the others stay as they were"


def test_pictures_beside_the_page_are_found(
    folder: Path, tmp_path: Path, show: Callable[[Path], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "MOST_INLINE", 1000)
    target, beside = write_report_page(folder, tmp_path / "a b#c.html", Settings(measure=False), quiet)
    driver = show(target)
    until(lambda: value(driver, "document.querySelector('.tile img').naturalHeight"))
    assert beside.name in value(driver, "decodeURIComponent(document.querySelector('.tile img').src)")


def test_a_table_shows_curves_rankings_and_downloads(
    table: Path, tmp_path: Path, show: Callable[[Path], Driver]
) -> None:
    target = tmp_path / "table.html"
    write_report_page(table, target, Settings(), quiet)
    driver = show(target)
    assert value(driver, "document.querySelectorAll('svg.chart').length") == 3
    assert EVIL in value(driver, "document.querySelector('.legend').textContent"), "shown as the text that it is"
    value(driver, "document.querySelector('[data-text=download-csv]').click()")
    file = driver.downloads / "table.csv"
    until(file.is_file)
    assert file.read_text().startswith("backbone,row,label")
    value(driver, "document.querySelector('[data-svg]').click()")
    drawn = until(lambda: next(iter(driver.downloads.glob("*.svg")), None))
    assert "stroke" in until(drawn.read_text)
    value(driver, "document.querySelector('.shot img').scrollIntoView()")
    until(lambda: value(driver, "document.querySelector('.shot img').naturalHeight"))
    words = value(driver, "[...document.querySelectorAll('.shot b')].map((one) => one.textContent)")
    assert set(words) == {"query", "right", "wrong"}


def test_light_dark_and_a_phone(page: Path, show: Callable[[Path], Driver]) -> None:
    driver = show(page)
    colour = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        told = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})
        seen[scheme] = value(driver, colour)
    assert seen["light"] != seen["dark"]
    value(driver, "theme.click()")  # to light, whatever the system has
    assert value(driver, colour) == seen["light"]
    value(driver, "theme.click()")
    assert value(driver, colour) == seen["dark"]
    value(driver, "theme.click()")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert value(driver, "document.documentElement.scrollWidth") == 390, "nothing sticks out"
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
