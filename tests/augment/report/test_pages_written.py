"""Pages as files: what is a page of what, whole or not at all, the same bytes, nobody's text as code."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evil import EVIL, quiet

from augment.commands.main import main
from augment.folder.layout import folder_plan
from augment.report import page as page_module
from augment.report.charts import Chart, Point, Series, draw, round_ticks
from augment.report.curves import cmc_of_ranks
from augment.report.detect import find_kind
from augment.report.page import json_text, number, ticks
from augment.report.page_settings import Settings
from augment.report.pages import write_report_page
from reid_eval.runtime import InputError, write_json
from reid_eval.table import read_grid

QUICK = Settings(measure=False)


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text()
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


class Tags(HTMLParser):
    """All elements, and what they would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]


def test_what_a_path_is(folder: Path, table: Path, tmp_path: Path) -> None:
    assert find_kind(folder) == ("folder", folder)
    assert find_kind(folder / "augmentation" / "manifest.json") == ("folder", folder)
    assert find_kind(table) == ("table", table)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text("{}")
    assert find_kind(tmp_path / "run" / "result.json").kind == "reid"
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / "train.jsonl").write_text("")
    assert find_kind(tmp_path / "run").kind == "training"
    with pytest.raises(InputError, match=r"none of what a report can be made of: an augmented folder .* a training"):
        find_kind(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        find_kind(tmp_path / "nothing")
    old = tmp_path / "old"
    (old / "records").mkdir(parents=True)
    (old / "table.md").write_text("")
    with pytest.raises(InputError, match="nothing is trained again"):
        find_kind(old)


def test_a_folder_page_is_one_file_that_fetches_nothing(page: Path, folder: Path) -> None:
    assert [path.name for path in page.parent.iterdir()] == ["out.html"]
    tags = Tags(page.read_text())
    assert all(link.startswith(("#", "data:")) for link in tags.fetched), tags.fetched
    assert tags.handlers == []
    assert tags.tags.count("script") == 2
    assert EVIL not in page.read_text()
    data, plan = data_of(page), folder_plan(folder)
    made = plan[plan["action"] == "generate"]
    assert [item["o"] for item in data["items"]] == made["output"].tolist()
    assert len(data["plan"]["rows"]) == len(plan)
    assert set(data["plan"]["back"]) == set(plan.loc[plan["action"] == "drop", "image"])
    item = data["items"][0]
    assert item["v"] == []
    assert item["e"] == 0.5  # as the gate logged it
    assert all(isinstance(number, int) for number in item["n"])
    assert all(before >= 0 for before in [row[5] for row in data["people"]])
    assert sum(row[3] for row in data["people"]) == len(made)


def test_the_same_folder_gives_the_same_page(page: Path, folder: Path, tmp_path: Path) -> None:
    write_report_page(folder, tmp_path / "out.html", QUICK, quiet)
    assert (tmp_path / "out.html").read_bytes() == page.read_bytes()


def test_many_images_are_sampled_and_the_page_says_so(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "few.html"
    write_report_page(folder, target, Settings(images=5, measure=False, seed=3), quiet)
    data, plan = data_of(target), folder_plan(folder)
    total = int((plan["action"] == "generate").sum())
    assert len(data["items"]) == 5
    assert len({item["p"] for item in data["items"]}) == 5, "identity by identity in turn"
    assert f"Sampled: 5 of {total} generated images" in target.read_text()
    assert len(data["plan"]["rows"]) == len(plan), "the plan is whole"


def test_what_is_large_goes_beside_and_old_states_go(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "big.html"
    monkeypatch.setattr(page_module, "MOST_INLINE", 1000)
    first = write_report_page(folder, target, QUICK, quiet)
    assert first[0].name == "big.html"
    beside = first[1]
    assert (beside / "data.js").read_text().startswith("window.REPORT={")
    assert f'src="{beside.name}/data.js"' in target.read_text()
    mine = tmp_path / "big-files-0123456789"
    mine.mkdir()
    (mine / "thesis.tex").write_text("mine")
    second = write_report_page(folder, target, Settings(images=5, measure=False), quiet)
    assert second[1] != beside
    assert not beside.exists()
    assert (mine / "thesis.tex").is_file(), "what is not ours stays"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_page_that_cannot_be_made_leaves_the_old_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.html"
    write_report_page(folder, target, QUICK, quiet)
    before = target.read_bytes()

    def fails(*_: object) -> str:
        raise RuntimeError("half way")

    monkeypatch.setattr(page_module, "_render", fails)
    with pytest.raises(RuntimeError, match="half way"):
        write_report_page(folder, target, Settings(images=2, measure=False), quiet)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]


def test_a_picture_that_is_gone_is_left_out(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(folder, copy)
    plan = folder_plan(copy)
    condition = plan.loc[plan["action"] == "generate", "condition"].iloc[0]
    photo = plan.loc[plan["image"] == condition, "output"].iloc[0]
    (copy / photo).write_bytes(b"no picture")
    write_report_page(copy, tmp_path / "a.html", QUICK, quiet)
    assert any(None in item["n"] for item in data_of(tmp_path / "a.html")["items"])


def test_the_table_page(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "table.html"
    write_report_page(table, target, QUICK, quiet)
    text = target.read_text()
    assert EVIL not in text
    tags = Tags(text)
    assert tags.handlers == []
    assert tags.tags.count("svg") >= 3
    assert "Leak</b>" in text
    assert re.search(r'class="num diff up"><b>\+\d', text), "the second row is better for every query"
    assert "1 skipped queries" in text
    assert "\\begin{tabular}" in text
    assert text.count('class="shot query"') == 2 * 3 + 2 * 3, "three wins, no loss, a sample of all three, by both"


def test_a_table_without_its_data_set_has_words_only(table: Path, tmp_path: Path) -> None:
    copy = tmp_path / "table"
    shutil.copytree(table, copy)
    write_json(copy / "run.json", {"data": str(tmp_path / "gone")})
    write_report_page(copy, tmp_path / "a.html", QUICK, quiet)
    assert "the data set is not where it was" in (tmp_path / "a.html").read_text()
    assert "query 0, person 101" in (tmp_path / "a.html").read_text()


def test_a_layout_of_a_stranger_is_refused_in_a_line(table: Path, tmp_path: Path) -> None:
    told = json.loads((table / "table.grid.json").read_text())
    assert read_grid(table / "table.grid.json").rows == ("none", EVIL)
    for change in ({"keys": [["net", "none", "0.5", 0, "../../etc/passwd"]]}, {"rows": "x"}, {"seeds": [-1]}, {"x": 1}):
        write_json(tmp_path / "table.grid.json", {**told, **change})
        with pytest.raises(InputError, match="run patn-augment table once more"):
            read_grid(tmp_path / "table.grid.json")


def test_the_training_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "training"
    (root / "sheets").mkdir(parents=True)
    from PIL import Image

    Image.new("RGB", (40, 30), (9, 99, 9)).save(root / "sheets" / "step_000010.png")
    (root / "sheets" / "notes.txt").write_text("no sheet")
    lines = [{"pairs": 8 * at, "l1": 1 / at, "pairs_per_second": 2.0} for at in range(1, 6)]
    (root / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(root / "run.json", {"recipe": {"train": {"lr": 0.1, EVIL: EVIL}}, "command": ["patn-augment", EVIL]})
    main(["report", str(root)])
    target = tmp_path / "training.report.html"
    assert "Wrote" in capsys.readouterr().out
    text = target.read_text()
    assert EVIL not in text
    assert "train.lr" in text
    assert "discriminators" not in text, "no panel of what was not logged"
    assert text.count('class="sheet"') == 1
    (root / "train.jsonl").write_text("")
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(root)])
    assert "has not logged yet" in capsys.readouterr().err


def test_json_cannot_end_its_element() -> None:
    told = json_text({"a": f"{EVIL}&\u2028", "b": "<!--"})
    assert not set("<>&\u2028") & set(told)
    assert json.loads(told) == {"a": f"{EVIL}&\u2028", "b": "<!--"}
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text(float("nan"))


def test_text_and_figures() -> None:
    assert str(ticks("a `<b>` c")) == "a <code>&lt;b&gt;</code> c"
    assert str(ticks("<one `tick")) == "&lt;one `tick"
    assert [number(value) for value in (None, float("nan"), 12936, 0.12345, 234.5)] == [
        "–",
        "–",
        "12,936",
        "0.123",
        "234",
    ]


def test_charts_escape_and_hold_their_points() -> None:
    series = Series(EVIL, (Point(0, 10, 8, 12, (9, 11)), Point(1, 20)))
    svg = str(draw(Chart(EVIL, EVIL, EVIL, (series,), ((0, EVIL), (1, "b")))))
    assert "<script" not in svg
    assert "<img" not in svg
    heights = [float(y) for _, y in (pair.split(",") for pair in re.findall(r'points="([^"]*)"', svg)[0].split())]
    assert heights[0] > heights[1], "higher is up"
    assert svg.count('class="single') == 2
    assert str(draw(Chart("a", "b", "c", ()))) == ""
    assert round_ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert round_ticks(3, 3) != []
    assert all(np.diff(round_ticks(-0.013, 0.7)) > 0)


def test_a_curve_of_ranks_is_brute_force() -> None:
    ranks = [1, 3, 0, 25, 2]
    curve = cmc_of_ranks(ranks)
    assert curve[:3] == [0.25, 0.5, 0.75]
    assert curve[19] == 0.75
    assert cmc_of_ranks([0, 0]) == [0.0] * 20
