"""The one reader and writer of `plan.csv`, and the check that a plan fits its data set."""

from __future__ import annotations

import io
import re
from collections.abc import Hashable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from augment.pose.keypoints import Keypoints
from reid_eval.datasets.names import GRAMMARS, IMAGE_SUFFIXES, is_generated, is_image
from reid_eval.foreign import reason_of
from reid_eval.foreign_csv import read_csv
from reid_eval.limits import LONGEST_IMAGE_NAME
from reid_eval.runtime import InputError, write_text

COLUMNS = ("action", "pid", "camid", "image", "condition", "pose", "output")
TRAIN = "bounding_box_train"
LIBRARY = "library:"
_BLOCK = 1 << 14
LONGEST_FILE_NAME = 255
"""In bytes: what file systems take."""
_FILLED = {
    "keep": ("image", "output"),
    "drop": ("image",),
    "generate": ("condition", "pose", "output"),
}
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
"""Paths that nothing can be wrong with: nearly all are; the others are looked at closely."""
_PLAIN_OUTPUT = re.compile(TRAIN + r"/(?:[A-Za-z0-9_-]+/)?[A-Za-z0-9_-]*?(_gen[0-9]{4,})?\.jpg")
_TEXTS = ("image", "condition", "pose", "output")


def plan_text(plan: pd.DataFrame) -> str:
    """The bytes of `plan.csv`, as text."""
    buffer = io.StringIO()
    plan[list(COLUMNS)].to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def write_plan(path: Path | str, plan: pd.DataFrame) -> None:
    """Write a plan atomically; the same plan gives the same bytes."""
    write_text(path, plan_text(plan))


def read_plan(path: Path | str) -> pd.DataFrame:
    """Read and check a plan, which may have been edited by hand.

    Raises:
        InputError: not a plan; an unknown action; a number, path or name missing, superfluous or malformed; a path
            that is absolute or leaves its folder; an image or output named twice. The row is named, counted from 1
            with the header.
    """
    try:
        plan = read_csv(path)
    except (OSError, ValueError) as error:  # pandas' ParserError is a ValueError
        raise InputError(f"cannot read plan {path}: {reason_of(error)}") from None
    if tuple(plan.columns) != COLUMNS:
        columns = ",".join(plan.columns)[:200]
        raise InputError(f"{path}: row 1: the columns are {columns}, expected {','.join(COLUMNS)}")
    fail(str(path), _bad_rows(plan))
    return plan.astype({"pid": np.int64, "camid": np.int64})


def check_plan(
    plan: pd.DataFrame,
    train: pd.DataFrame,
    keypoints: Keypoints,
    library: Keypoints | None = None,
    layout: str | None = None,
) -> None:
    """Check that a plan fits a data set and leaks nothing: conditions and poses come from kept images only.

    Args:
        plan: from `make_plan` or `read_plan`.
        train: the data set's training table.
        keypoints: of its images.
        library: where the plan's `library:NAME` poses come from.
        layout: of the data set; None: names of outputs are not read back.

    Raises:
        InputError: an output that would be read back as another person's, another camera's, or as real where it is
            generated (or the other way round); a training image that the plan does not mention; a row that names an
            image the data set lacks, or whose pid or camid is not that of the image; a condition or pose that is
            dropped, of another identity (condition), unknown, or without usable keypoints.
    """
    fail("plan", _bad_rows(plan))
    missing = sorted(set(train["path"]) - set(plan["image"]))
    if missing:
        raise InputError(
            f"plan does not mention {len(missing)} training images, such as {missing[0]}: was it made "
            "for another data set? Name that one",
            "data",
        )
    fail("plan", _misfits(plan, train, keypoints, library))
    if layout is not None:
        fail("plan", wrong_outputs(plan, layout))


def wrong_outputs(plan: pd.DataFrame, layout: str) -> Iterator[tuple[int, str]]:
    """Outputs that a reader of the layout would not take for what their rows say: (row, what is wrong).

    Args:
        plan: the plan; rows are counted from 1 with the header.
        layout: of the data set, see `reid_eval.read_dataset`.
    """
    for number, row in _records(plan):
        if row["action"] != "drop" and (error := _misread(row, layout)):
            yield number, f"output {row['output']!r} {error}"


def _misread(row: dict[Hashable, Any], layout: str) -> str | None:
    """Why a row's output is read back as something else, or None."""
    path, folders = str(row["output"]), layout == "folders"
    parts = path.split("/") if _PLAIN.fullmatch(path) else PurePosixPath(path).parts
    if len(parts) != (3 if folders else 2):
        return f"does not fit the layout {layout}: make the plan with that layout"
    if row["action"] == "generate" and row["pid"] < 1:
        return f"is of pid {row['pid']}, which is nobody: distractors and junk are not generated"
    if folders:
        own = PurePosixPath(str(row["condition"] or row["image"])).parent.name
        return None if parts[-2] == own else f"lies in the folder of another person than {own}"
    grammar = GRAMMARS[layout]
    said = grammar.parse(parts[-1])
    if said is None:
        return f"does not follow {layout}'s grammar ({grammar.example})"
    wrong = [name for name in ("pid", "camid") if getattr(said, name) != row[name]]
    return f"says {wrong[0]} {getattr(said, wrong[0])}, the row {row[wrong[0]]}" if wrong else None


def check_rows(what: str, plan: pd.DataFrame) -> None:
    """Check a plan's rows by themselves.

    Raises:
        InputError: as `read_plan`; `what` names the plan.
    """
    fail(what, _bad_rows(plan))


def fail(what: str, errors: Iterator[tuple[int, str]]) -> None:
    """Raise `InputError` if there is an error: the first with its row, and how many follow."""
    first = next(errors, None)
    if first:
        others = sum(1 for _ in errors)
        more = f" (and {others} more errors)" if others else ""
        raise InputError(f"{what}: row {first[0]}: {first[1]}{more}")


def path_error(path: str) -> str | None:
    """Why a relative POSIX path from a file must not be followed, or None if it is harmless."""
    if len(path) <= LONGEST_IMAGE_NAME and _PLAIN.fullmatch(path):
        return None
    if path.startswith("/") or path[1:2] == ":":
        return "is absolute"
    if len(path) > LONGEST_IMAGE_NAME:
        return f"has more than {LONGEST_IMAGE_NAME} characters"
    if "\\" in path or not path.isprintable():
        return "has a backslash or a control character"
    parts = path.split("/")
    if ".." in parts:
        return "leaves its folder with '..'"
    return "is not a plain path" if "" in parts or "." in parts else None


def _bad_rows(plan: pd.DataFrame) -> Iterator[tuple[int, str]]:
    seen: dict[str, set[str]] = {"image": set(), "output": set()}
    for number, record in _records(plan):
        if record["action"] not in _FILLED:
            yield number, f"action {record['action']!r} is not one of {', '.join(_FILLED)}"
            continue
        yield from ((number, error) for error in _bad_fields(record))
        for what, names in seen.items():
            if record[what] and record[what] in names:
                yield number, f"{what} {record[what]} is there twice"
            names.add(record[what])


def _records(plan: pd.DataFrame) -> Iterator[tuple[int, dict[Hashable, Any]]]:
    """Rows as dicts, numbered from 1 with the header; a million of them at once would take gigabytes."""
    for start in range(0, len(plan), _BLOCK):
        columns = [plan[name].iloc[start : start + _BLOCK].to_numpy(object).tolist() for name in COLUMNS]
        for number, row in enumerate(zip(*columns, strict=True), start=start + 2):
            yield number, dict(zip(COLUMNS, row, strict=True))


def _bad_fields(record: dict[Hashable, Any]) -> Iterator[str]:
    for column in ("pid", "camid"):
        if not _WHOLE.fullmatch(str(record[column])):
            yield f"{column} {str(record[column])[:40]!r} is not a whole number of at most 18 digits"
    for column in _TEXTS:
        text, due = str(record[column]), column in _FILLED[str(record["action"])]
        if bool(text) != due:
            yield f"{column} {'is missing' if due else f'{text!r} must be empty'} in a {record['action']} row"
        elif text and not text.startswith(LIBRARY) and (error := path_error(text)):
            yield f"{column} {text!r} {error}"
        elif column != "pose" and text.startswith(LIBRARY):
            yield f"{column} {text!r} names a library row"
        elif column == "output" and text and (error := _bad_output(text, record["action"] == "generate")):
            yield f"output {text!r} {error}"


def _bad_output(path: str, generated: bool) -> str | None:
    """What is wrong with the name of an output in any layout, or None."""
    if len(path) < LONGEST_FILE_NAME and (plain := _PLAIN_OUTPUT.fullmatch(path)) and bool(plain[1]) == generated:
        return None
    parts = path.split("/")
    if parts[0] != TRAIN or len(parts) not in (2, 3) or any(part.startswith(".") for part in parts):
        return f"is not an image in {TRAIN}"
    if any(part != part.strip() for part in parts):
        return "begins or ends with a space"
    if (length := max(len(part.encode(errors="surrogatepass")) for part in parts)) > LONGEST_FILE_NAME:
        return f"has a name of {length} bytes, more than {LONGEST_FILE_NAME}"
    if not is_image(parts[-1]):
        return f"is not an image: its name ends with none of {' '.join(IMAGE_SUFFIXES)}"
    if is_generated(parts[-1]) != generated:
        return "lacks the mark _genNNNN of generated images" if generated else "is named as a generated image is"
    return None


def _misfits(
    plan: pd.DataFrame, train: pd.DataFrame, keypoints: Keypoints, library: Keypoints | None
) -> Iterator[tuple[int, str]]:
    paths = train["path"].to_numpy(object).tolist()
    known = {path: place for place, path in enumerate(paths)}
    pids, camids = train["pid"].tolist(), train["camid"].tolist()
    rows = keypoints.rows(paths)
    good = ((rows >= 0) & np.append(keypoints.usable, False)[rows]).tolist()
    kept = set(plan.loc[plan["action"] == "keep", "image"].to_numpy(object).tolist())
    lent = {LIBRARY + name for name, ok in zip(library.names, library.usable, strict=True) if ok} if library else set()
    for number, row in _records(plan):
        source = row["condition"] or row["image"]
        if row["image"] and source not in known:
            yield number, f"{source} is not a training image of this data set"
        elif (place := known.get(source)) is not None and (pids[place], camids[place]) != (row["pid"], row["camid"]):
            yield number, f"pid {row['pid']}, camid {row['camid']} are not those of {source}"
        if row["action"] == "generate":
            for what, name in (("condition", row["condition"]), ("pose", row["pose"])):
                if name not in known and not name.startswith(LIBRARY):
                    yield number, f"{what} {name} is not a training image of this data set"
                elif not (name in kept if not name.startswith(LIBRARY) else name in lent):
                    yield number, f"{what} {name} is not kept by this plan, so it must not be used"
                elif name not in lent and not good[known[name]]:
                    yield (
                        number,
                        f"{what} {name} has no usable keypoints (both shoulders and both hips, in a plausible pose)",
                    )
