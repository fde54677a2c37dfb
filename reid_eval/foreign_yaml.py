"""The one reader of YAML: plain values, with limits. As `reid_eval.foreign`, which see."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NoReturn

import yaml

from reid_eval.foreign import check_unicode, first_twice, read_foreign, reason_of
from reid_eval.limits import LARGEST_INTEGER, LONGEST_NUMBER, MOST_DEPTH, MOST_NODES, MOST_RECIPE_BYTES


def parse_yaml(text: str) -> Any:
    """A value in YAML, of plain types only (no dates, sets or bytes).

    Raises:
        ValueError: not YAML, or YAML of more than `MOST_DEPTH` levels or `MOST_NODES` values (aliases counted as what
            they stand for), with a key twice, an anchor within itself, or a number as in `parse_json`.
    """
    try:
        value = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or error.context or 'it is not YAML'}{where}") from None
    except yaml.YAMLError as error:
        raise ValueError(reason_of(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (AttributeError, KeyError, TypeError, IndexError) as error:  # of its constructors, on values of wrong tags
        raise ValueError(f"it is not YAML of plain values ({type(error).__name__})") from None
    check_unicode(text, value)
    return value


def read_yaml(path: Path | str) -> Any:
    """A YAML file's value.

    Raises:
        OSError: as `open_regular`.
        ValueError: as `parse_yaml`.
    """
    try:
        text = read_foreign(path, MOST_RECIPE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    return parse_yaml(text)


class _Loader(yaml.SafeLoader):
    """PyYAML's loader of plain values, with limits. It counts before it builds."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._count = 0
        self._sizes: dict[str, int] = {}
        self._open: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """One node with all in it, as the base class, counted."""
        event = self.peek_event()
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if anchor in self._open:
                raise ValueError(f"the anchor {anchor[:40]!r} stands within itself")
            self._add(self._sizes.get(str(anchor), 1))
            return super().compose_node(parent, index)
        before = self._count
        self._add(1)
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise ValueError(f"it is nested more than {MOST_DEPTH} levels deep")
        if anchor:
            self._open.append(anchor)
        node = super().compose_node(parent, index)
        if anchor:
            self._open.pop()
            self._sizes[anchor] = self._count - before
        self._depth -= 1
        return node

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > MOST_NODES:
            raise ValueError(f"it has more than {MOST_NODES} values, aliases counted as what they stand for")

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping whose keys are plain, each once."""
        node = super().compose_mapping_node(anchor)
        own = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(own) < len(node.value):
            raise ValueError("a list or mapping is used as a key")
        if len(set(own)) < len(own):
            raise ValueError(f"the key {first_twice(value for _, value in own)!r} is there twice")
        return node

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A finite number of at most 64 bits."""
        text = str(self.construct_scalar(node))
        if len(text) > LONGEST_NUMBER:
            raise ValueError(f"the number {text[:20]}... has {len(text)} characters")
        whole = node.tag.endswith(":int")
        try:
            value: int | float = self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        except (ValueError, IndexError, OverflowError):
            raise ValueError(f"{text!r} is no number") from None
        if not math.isfinite(value) or (whole and abs(value) > LARGEST_INTEGER):
            raise ValueError(f"the number {text} is not finite or too large")
        return value

    def refuse(self, node: yaml.Node) -> NoReturn:
        """A tag that recipes have no use for."""
        name = node.tag.rpartition(":")[2][:40]
        shown = repr(node.value)[:40] if isinstance(node, yaml.ScalarNode) else "a value"
        raise ValueError(f"{shown} is a {name}: write text in quotes, a number, true or false")


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)
for _kind in ("timestamp", "binary", "set", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.refuse)
