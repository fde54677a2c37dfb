"""The one reader of `result.json`, which a comparison's `to_dict` is written to; as far as people are shown of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reid_eval.foreign import read_json, reason_of
from reid_eval.limits import MOST_TABLE_BYTES
from reid_eval.numbers_in_files import Count, Share
from reid_eval.runtime import InputError
from reid_eval.yaml_recipes import problems_of

_Text = Annotated[str, Field(max_length=4096)]


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class SearchedScores(_Read):
    """Scores by another way to search, see `reid_eval.results.Searched`."""

    name: _Text
    rank1: Share
    rank5: Share
    rank10: Share
    mAP: Share
    mINP: Share


class PartScores(_Read):
    """Scores of some of the queries, see `reid_eval.ranking.Part`; None where none of them counts."""

    queries: Count
    skipped: Count
    rank1: Share | None
    mAP: Share | None


class RunScores(_Read):
    """One training, see `reid_eval.results.RunResult`."""

    backbone: _Text
    init: _Text
    preset: _Text
    seed: Count
    rank1: Share
    rank5: Share
    rank10: Share
    mAP: Share
    mINP: Share
    n_train: Count
    n_generated: Count
    n_query: Count
    n_gallery: Count
    n_skipped: Count
    steps: Count
    seconds: Annotated[float, Field(ge=0)]
    amp: _Text
    device: _Text
    settings: dict[str, Any]
    breakdown: dict[str, dict[str, PartScores]] = {}
    searched: SearchedScores | None = None


class ResultFile(_Read):
    """A comparison: one training of each kind for every seed."""

    original: Annotated[list[RunScores], Field(min_length=1, max_length=10_000)]
    augmented: list[RunScores]


def read_result(path: Path) -> ResultFile:
    """Read a comparison's result.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        found = ResultFile.model_validate(read_json(path, MOST_TABLE_BYTES))
    except (OSError, ValueError) as error:
        reason = problems_of(error)[:300] if isinstance(error, ValidationError) else reason_of(error)
        raise InputError(f"{path} is not the result of reid-eval: {reason}") from None
    if len(found.original) != len(found.augmented):
        raise InputError(
            f"{path} is not the result of reid-eval: {len(found.original)} and {len(found.augmented)} runs"
        )
    return found
