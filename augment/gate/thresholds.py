"""Where a gate's thresholds come from: a file (this module alone reads and writes it), or the data set at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.estimators.base import Estimator
from augment.estimators.build import COMMAND, build_estimator
from augment.folder.manifest import MANIFEST, read_manifest
from augment.gate.calibrate import COUNT, FALSE_ALARMS, VERSION, calibrate
from augment.gate.judge import Gate, GateThresholds
from augment.pose.keypoints import Keypoints, load_annotations
from augment.runs import Say
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.foreign import read_json, reason_of
from reid_eval.limits import LARGEST_INTEGER, MOST_SIDE
from reid_eval.runtime import InputError, resolve_device, sha256_file, write_json
from reid_eval.yaml_recipes import problems_of

_Share = Annotated[float, Field(ge=0, le=1)] | None


class _Rates(BaseModel):
    """Shares of real images, see `GateThresholds.rates`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    pose_wrong: _Share
    pose_right: _Share
    colour_other: _Share
    colour_same: _Share


class _Limits(BaseModel):
    """Thresholds in a file; the fields are those of `GateThresholds`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    pose: float
    colour: float
    contrast: float
    saturated: float
    noise: float
    size: Annotated[list[Annotated[int, Field(ge=1, le=MOST_SIDE)]], Field(min_length=2, max_length=2)]
    estimator: Annotated[str, Field(max_length=4096)]
    estimator_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    images: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] = 0
    rates: _Rates | None = None
    note: Annotated[str, Field(max_length=4096)] | None = None


class PersonRecord(BaseModel):
    """The test of the person that a folder was made with, as its manifest tells, see `augment.gate.finds_person`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    network_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    margin: Annotated[float, Field(ge=-2, le=2)]


class _File(_Limits):
    """What a file of thresholds holds."""

    version: Literal[VERSION]  # type: ignore[valid-type]


def write_thresholds(path: Path, thresholds: GateThresholds) -> None:
    """Write thresholds as JSON."""
    write_json(path, {"version": VERSION, **thresholds.to_dict()})


def read_thresholds(path: Path) -> GateThresholds:
    """Read a file of `calibrate-gate`.

    Raises:
        InputError: it cannot be read, is none, or is of another version.
    """
    try:
        value = read_json(path)
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        if value.get("version") != VERSION:
            raise ValueError("set by another version of patn-augment: set it anew")
        return _limits(_File.model_validate(value))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} holds no thresholds of the gate ({_reason(error)}): see patn-augment calibrate-gate"
        ) from None


def folder_thresholds(out: Path) -> GateThresholds | None:
    """The thresholds that an augmented folder was made with, as its manifest tells; None where no gate was asked.

    A program that was the estimator is called `command` there, without its arguments.

    Raises:
        InputError: no finished folder, or what its manifest tells are no thresholds.
    """
    gate = read_manifest(out).job.arguments.get("gate")
    if gate is None:
        return None
    try:
        return _limits(_Limits.model_validate(gate["thresholds"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{out / MANIFEST} holds no thresholds of the gate ({_reason(error)}): verify the folder"
        ) from None


def folder_person(out: Path) -> PersonRecord | None:
    """The test of the person that an augmented folder was made with, as its manifest tells; None where there was none.

    Raises:
        InputError: no finished folder, or what its manifest tells is no such test.
    """
    gate = read_manifest(out).job.arguments.get("gate")
    try:
        told = None if gate is None else gate.get("person")
        return None if told is None else PersonRecord.model_validate(told)
    except (AttributeError, ValueError) as error:
        raise InputError(
            f"{out / MANIFEST} holds no test of the person ({_reason(error)}): verify the folder"
        ) from None


def _limits(read: _Limits) -> GateThresholds:
    told = read.model_dump(exclude={"version", "size"})
    return GateThresholds(**told, size=(read.size[0], read.size[1]))


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return problems_of(error).replace("Value error, ", "")[:500]
    return reason_of(error)


def describe(limits: GateThresholds) -> str:
    """A line for the user, with what thresholds set so do to real images of other people."""
    height, width = limits.size
    text = (
        f"Gate, set on {limits.images} real images with {limits.estimator} at {height}x{width}: pose error at most "
        f"{limits.pose:.2f}, colour drift at most {limits.colour:.1f}"
    )
    if limits.rates is None:
        return f"{text}; what it rejects is not known{f': {limits.note}' if limits.note else ''}"
    told = {name: "?%" if share is None else f"{100 * share:.0f}%" for name, share in limits.rates.items()}
    return (
        f"{text}; set on one half of these people, it rejects {told['pose_wrong']} of wrong poses and "
        f"{told['pose_right']} of right ones of the other half, {told['colour_other']} of other people and "
        f"{told['colour_same']} of the same"
    )


def open_estimator(name: str, weights: Path | None, device: str) -> tuple[Estimator, str | None]:
    """An estimator and the hash of its weights, where they are a file."""
    from augment.estimators.posenet.weights_file import shipped_weights

    file = weights or (shipped_weights() if name == "synth" else None)
    estimator = build_estimator(name, weights=weights, device=resolve_device(device))
    return estimator, sha256_file(file) if file else None


def open_gate(
    data: ReidData,
    keypoints: Keypoints,
    thresholds: Path | GateThresholds | None,
    size: tuple[int, int],
    device: str,
    say: Say,
    weights: Path | None = None,
    estimator: str | None = None,
) -> Gate:
    """A gate with the thresholds of a file, or of this data set's real images by `synth`.

    Args:
        data: the data set.
        keypoints: of its images.
        thresholds: the file, those that a folder was made with, or None.
        size: (H, W) of the images that are to be judged.
        device: of the estimator.
        say: told what was set.
        weights: of the estimator.
        estimator: its name, for thresholds that were set with a program: a file starts none, whoever calls names it.

    Raises:
        InputError: thresholds of another estimator or of other weights than are here, or of another image size; those
            of a program that the caller does not name.
    """
    if thresholds is not None:
        limits = thresholds if isinstance(thresholds, GateThresholds) else read_thresholds(thresholds)
        where = "the folder" if isinstance(thresholds, GateThresholds) else str(thresholds)
        if limits.size != size:
            own, asked = ("x".join(map(str, sides)) for sides in (limits.size, size))
            raise InputError(f"{where} holds for images of {own}, these are {asked}: set it anew for that size")
        _check_named(where, limits, estimator)
        program = limits.estimator == COMMAND.rstrip(":")  # as a manifest tells it
        opened, sha256 = open_estimator(str(estimator) if program else limits.estimator, weights, device)
        if limits.estimator_sha256 not in (None, sha256):
            raise InputError(f"{where} was set with other weights of {limits.estimator}: set it anew")
        return Gate(opened, limits)
    name = estimator or "synth"
    opened, sha256 = open_estimator(name, weights, device)
    limits = calibrate(data, keypoints, opened, size=size, sha256=sha256, name=name)
    say(describe(limits))
    return Gate(opened, limits)


def _check_named(thresholds: str, limits: GateThresholds, named: str | None) -> None:
    """A program is started only if the caller names it, word for word; what ships is told by its hash."""
    own = limits.estimator
    if own == COMMAND.rstrip(":"):
        if named is None or not named.startswith(COMMAND):
            raise InputError(
                f"{thresholds} was made with a program as the gate's estimator, and no file starts one: name the "
                "program as estimator",
                "estimator",
            )
        return
    if named is None and own.startswith(COMMAND):
        raise InputError(
            f"{thresholds} was set with a program ({own[:200]!r}), no file starts one: name the program as estimator",
            "estimator",
        )
    if own == "synth" and limits.estimator_sha256 is None:
        raise InputError(f"{thresholds} does not say with which weights of synth it was set: set it anew")
    if named not in (None, own):
        raise InputError(f"{thresholds} was set with {own[:200]!r}, not with {named!r}: set it anew", "estimator")


def set_thresholds(
    root: Path,
    keypoints: Path | None = None,
    estimator: str = "synth",
    weights: Path | None = None,
    *,
    size: tuple[int, int] = (128, 64),
    count: int = COUNT,
    false_alarms: float = FALSE_ALARMS,
    device: str = "auto",
) -> GateThresholds:
    """Thresholds for a data set's folder, with an estimator by name.

    Args:
        root: the data set.
        keypoints: its annotation file; default: its own.
        estimator: its name, see `augment.estimators.build`.
        weights: of the estimator.
        size: (H, W) of the generator's images.
        count: images to look at.
        false_alarms: see `augment.gate.calibrate.calibrate`.
        device: of the estimator.
    """
    data = read_dataset(root)
    opened, sha256 = open_estimator(estimator, weights, device)
    joints = load_annotations(root, keypoints)
    return calibrate(
        data, joints, opened, size=size, count=count, sha256=sha256, name=estimator, false_alarms=false_alarms
    )
