"""Generators for workers of a cluster, opened by name as `mortal:NAME`; what they do is told by the environment, which
workers inherit: MORTAL_FILE, a file that marks that something has happened once."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from movers import Marker
from torch import Tensor
from toy import Toy


class DiesOnce(Toy):
    """Its process is killed at its third call, if no process of it was before."""

    def transfer(self, *arguments: Any, **named: Any) -> Tensor:
        if self.calls == 2:
            mark = Path(os.environ["MORTAL_FILE"])
            if not mark.exists():
                mark.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
        return super().transfer(*arguments, **named)


class Slow(Toy):
    """Takes its time."""

    def transfer(self, *arguments: Any, **named: Any) -> Tensor:
        time.sleep(0.5)
        return super().transfer(*arguments, **named)


class DiesAlways(Toy):
    """Its process is killed whenever it is called; it counts how often."""

    def transfer(self, *arguments: Any, **named: Any) -> Tensor:
        with open(os.environ["MORTAL_FILE"], "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
        return super().transfer(*arguments, **named)


class Fails(Toy):
    """Fails at every image."""

    def transfer(self, *arguments: Any, **named: Any) -> Tensor:
        raise ValueError("none is to my liking\nand more of that")


class DislikesOne(Marker):
    """Fails at one image: the one with a seed that is told. Counts how often it was asked for that."""

    name = "dislikes-one"

    def transfer(self, image: Tensor, condition_pose: Tensor, target_pose: Tensor, generators: Any = ()) -> Tensor:
        if os.environ["MORTAL_SEED"] in {str(one.initial_seed()) for one in generators}:
            raise ValueError("this one is not to my liking\nand more of that")
        return super().transfer(image, condition_pose, target_pose, generators)


def dies_once(device: torch.device) -> DiesOnce:
    assert device.type == "cpu"
    return DiesOnce()


def slow(device: torch.device) -> Slow:
    assert device.type == "cpu"
    return Slow()


def dies_always(device: torch.device) -> DiesAlways:
    assert device.type == "cpu"
    return DiesAlways()


def fails(device: torch.device) -> Fails:
    assert device.type == "cpu"
    return Fails()


def dislikes_one(device: torch.device) -> DislikesOne:
    assert device.type == "cpu"
    return DislikesOne()


def toy(device: torch.device) -> Toy:
    assert device.type == "cpu"
    return Toy()
