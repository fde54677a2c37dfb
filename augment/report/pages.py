"""A path to its page, whatever the path is."""

from __future__ import annotations

from pathlib import Path

from augment.report.detect import find_kind
from augment.report.page import check_template_engine, write_page
from augment.report.page_settings import Settings
from augment.runs import Say, package_version


def default_target(path: Path) -> Path:
    """Where the page of a path goes: beside it, since a folder's own files are all in its manifest."""
    root = find_kind(path).root.resolve()
    return root.with_name(f"{root.name}.report.html")


def write_report_page(path: Path, target: Path | None, settings: Settings, say: Say) -> list[Path]:
    """Write the page of an augmented folder, a training, a re-ID run or a table; returns what was written.

    Args:
        path: the folder, or a file that tells of it.
        target: the HTML file; None: beside the folder.
        settings: see there.
        say: told what a user should know.

    Raises:
        InputError: nothing of these, files that cannot be read, or Jinja2 is not installed.
    """
    from augment.report.folder_report import folder_page
    from augment.report.reid_report import reid_page
    from augment.report.table_report import table_page
    from augment.report.training_report import training_page

    check_template_engine()
    found = find_kind(path)
    if found.kind == "folder":
        context, data, thumbs = folder_page(found.root, settings, say)
    elif found.kind == "reid":
        context, data, thumbs = reid_page(found.root, settings, say)
    else:
        maker = table_page if found.kind == "table" else training_page
        context, data, thumbs = maker(found.root, settings)
    context["version"] = package_version("patn-augment")
    return write_page(target or default_target(path), found.kind, context, data, thumbs)
