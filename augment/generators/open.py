"""From what a user names to a generator: weights that ship, a file, one of the controls, somebody else's code.

    patn-synth                  weights that ship, see `augment.generators.weights.available_weights`
    runs/x/generator.safetensors
    entry:NAME                  a control of `CONTROLS`, or an entry point of the group `patn_augment.generators`
    package.module:factory      code that the caller names; never taken from a file such as a recipe or a manifest

An entry point or a factory is called with `device=` (a `torch.device`) and returns a `PoseGenerator`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from augment.generators.base import PoseGenerator, check_generator
from augment.generators.copy import CopyGenerator
from augment.generators.patn.engines import AUTO, FASTEST, PLAIN, How
from augment.generators.patn.patn_transfer import PATNTransfer
from augment.generators.warp import WarpGenerator
from augment.generators.weights import available_weights
from augment.runs import Say
from reid_eval.alike import did_you_mean
from reid_eval.runtime import InputError, resolve_device, sha256_bytes

GROUP = "patn_augment.generators"
ENTRY = "entry:"
CONTROLS: dict[str, Callable[..., PoseGenerator]] = {"copy": CopyGenerator, "warp": WarpGenerator}
"""Name to builder of the generators that ship and need no weights."""
DEFAULT_CPU_WEIGHTS = "patn-synth-tiny"
DEFAULT_GPU_WEIGHTS = "patn-synth"


def _silent(_: str) -> None:
    """What is said where nobody asked."""


def pick_weights(weights: str | None, device: torch.device | str, *, engine: bool = False) -> str:
    """The user's weights, or the best that ship for this device.

    Args:
        weights: the user's, if any.
        device: where they go.
        engine: whether an engine is made for them (`use_engine`): then the whole network is fast enough for a CPU.

    Raises:
        InputError: nothing ships and nothing was named.
    """
    if weights:
        return weights
    shipped = available_weights()
    if DEFAULT_GPU_WEIGHTS in shipped and (engine or resolve_device(str(device)).type == "cuda"):
        return DEFAULT_GPU_WEIGHTS
    if DEFAULT_CPU_WEIGHTS in shipped:
        return DEFAULT_CPU_WEIGHTS
    raise InputError("no weights ship with this installation: train some, or name a weights file", "weights")


def open_generator(
    spec: Path | str, device: torch.device | str = "auto", blocks: int | None = None, allow_code: bool = True
) -> PoseGenerator:
    """Open a generator: weights that ship, a weights file, a control, or somebody else's code.

    Args:
        spec: see the head of this module.
        device: where it goes.
        blocks: leave a PATN network after so many blocks (any-depth weights).
        allow_code: whether `package.module:factory` may be imported; False for a spec that stood in a file.

    Returns:
        The generator, checked against the protocol.

    Raises:
        InputError: an unknown name, a file or module that can't be read, something that is no generator, or a depth
            that it does not serve.
    """
    where = resolve_device(str(device))
    generator: PoseGenerator
    text = str(spec)
    if text.startswith(ENTRY):
        generator = _call(_entry(text.removeprefix(ENTRY)), where, text)
    elif is_code(spec):
        if not allow_code:
            raise InputError(f"generator {text} is code: name it on the command line, not in a file")
        generator = _call(_factory(text), where, text)
    else:
        generator = PATNTransfer.open(spec, where)
    if blocks is not None:
        if not isinstance(generator, PATNTransfer):
            raise InputError(f"generator {generator.name} has no blocks to leave after: only PATN's have")
        generator.use_blocks(blocks)
    return generator


def use_engine(generator: PoseGenerator, asked: How, say: Say = _silent) -> How:
    """Have a generator carried out as asked from now on; see `augment.generators.patn.speed`.

    Args:
        generator: any; those that are not PATN have torch and float32 or bf16, which is the caller's affair.
        asked: backend, form and precision, each of which may be `auto`.
        say: told what `auto` came to, and before something takes a while.

    Returns:
        What it came to: nothing in it is `auto`.

    Raises:
        InputError: what was asked for is not to be had, here or for this generator.
    """
    if not isinstance(generator, PATNTransfer):
        return _without_engine(generator, asked)
    from augment.generators.patn.speed import make_engine, settle

    how = settle(generator, asked, say)
    # without an engine the network runs as it always did, whose bytes are those of earlier folders
    generator.engine = None if (how.backend, how.form) == ("torch", "whole") else make_engine(generator, how, say)
    return how


def open_to_look(
    weights: str | None,
    device: torch.device | str,
    precision: str = AUTO,
    *,
    allow_code: bool = True,
    say: Say = _silent,
) -> tuple[PoseGenerator, How]:
    """A generator for images that are looked at, by people or by networks, rather than kept.

    Args:
        weights: see the head of this module; None: those that ship for the device; on a CPU the tiny ones, whose views
            are worth as much to a search as the large ones' (docs/search.md).
        device: where it goes.
        precision: `float32` or `bf16`: of the network itself; `auto`: the fastest engine here at next to no loss.
        allow_code: see `open_generator`.
        say: told what `auto` came to.

    Raises:
        InputError: as `open_generator` and `use_engine`.
    """
    fast = precision == AUTO
    generator = open_generator(pick_weights(weights, device), device, allow_code=allow_code)
    return generator, use_engine(generator, FASTEST if fast else How(precision=precision), say)


def check_engine(generator: PoseGenerator, precision: str) -> None:
    """Make sure that a generator computes in this precision.

    Raises:
        InputError: its engine has another, or it has none for `int8`.
    """
    engine = generator.engine if isinstance(generator, PATNTransfer) else None
    if engine is None and precision == "int8":
        raise InputError("precision int8 needs an engine: see augment.generators.open.use_engine", "precision")
    if engine is not None and engine.how.precision != precision:
        raise InputError(f"precision {precision}: the engine of {generator.name} computes {engine.how.precision}")


def backend_of(generator: PoseGenerator) -> str:
    """`torch` or `openvino`, for manifests."""
    return generator.how.backend if isinstance(generator, PATNTransfer) else PLAIN.backend


def engine_of(generator: PoseGenerator) -> dict[str, Any]:
    """What an engine adds to all that a generator's images depend on, for keys; nothing without one."""
    return generator.engine_identity if isinstance(generator, PATNTransfer) else {}


def _without_engine(generator: PoseGenerator, asked: How) -> How:
    plain = [PLAIN.backend, PLAIN.form]
    for wanted, given in zip((asked.backend, asked.form), plain, strict=True):
        if wanted not in (AUTO, given):
            raise InputError(f"generator {generator.name} is no PATN: it has no {wanted} engine")
    if asked.precision == "int8":
        raise InputError(f"generator {generator.name} is no PATN: it has no int8 engine")
    precision = PLAIN.precision if asked.precision == AUTO else asked.precision
    return How(PLAIN.backend, PLAIN.form, precision)


def is_code(spec: Path | str) -> bool:
    """Whether a spec is `package.module:factory`."""
    module, colon, factory = str(spec).partition(":")
    names = [*module.split("."), *factory.split(".")]
    return isinstance(spec, str) and bool(colon) and all(name.isidentifier() for name in names) and module != "entry"


def as_patn(generator: PoseGenerator, what: str) -> PATNTransfer:
    """The generator, if it is PATN.

    Raises:
        InputError: it is not; `what` says what it would be needed for.
    """
    if not isinstance(generator, PATNTransfer):
        raise InputError(f"{what} needs PATN weights, {generator.name} has none: name a .safetensors file of PATN")
    return generator


def generator_sha256(generator: PoseGenerator) -> str:
    """What tells this generator from others in manifests: its weights' SHA-256, else that of `describe()` as JSON.

    Raises:
        InputError: what it says of itself is not JSON.
    """
    if isinstance(generator, PATNTransfer) and generator.weights_sha256:
        return generator.weights_sha256
    try:
        text = json.dumps(generator.describe(), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"generator {generator.name}: what it tells of itself is not JSON: {error}") from None
    return sha256_bytes(text.encode())


def facts_of(generator: PoseGenerator) -> dict[str, Any]:
    """What a manifest says of a generator beside name and hash: of PATN with a weights file, whose hash that is, only
    after how many blocks it leaves, if not after the last."""
    if not (isinstance(generator, PATNTransfer) and generator.weights_sha256):
        return {"generator": generator.describe()}
    whole = generator.blocks == generator.network.architecture["n_blocks"]
    return {**({} if whole else {"blocks": generator.blocks}), **generator.engine_facts}


def _entry(name: str) -> Callable[..., Any]:
    if name in CONTROLS:
        return CONTROLS[name]
    points = {point.name: point for point in metadata.entry_points(group=GROUP)}
    if name not in points:
        known = sorted({*CONTROLS, *points})
        meant = did_you_mean(name, known)
        raise InputError(f"no generator {ENTRY}{name}: {meant}installed are {', '.join(known)}")
    try:
        found: Callable[..., Any] = points[name].load()
    except Exception as error:  # somebody else's code may raise anything
        raise InputError(f"generator {ENTRY}{name} cannot be imported: {_first_line(error)}") from None
    return found


def _factory(spec: str) -> Callable[..., Any]:
    module, _, name = spec.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise InputError(f"generator {spec}: {module} has no {name}") from None
    except Exception as error:  # somebody else's code may raise anything
        raise InputError(f"generator {spec} cannot be imported: {_first_line(error)}") from None
    if not callable(found):
        raise InputError(f"generator {spec}: {name} is a {type(found).__name__}, not something to call")
    made: Callable[..., Any] = found
    return made


def _call(factory: Callable[..., Any], device: torch.device, source: str) -> PoseGenerator:
    try:
        found = factory(device=device)
    except InputError:
        raise
    except Exception as error:  # somebody else's code may raise anything
        raise InputError(f"generator {source} cannot be built: {_first_line(error)}") from None
    return check_generator(found, source)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
