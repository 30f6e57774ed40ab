"""Which options a run has: what was typed, what the article says, what a checkpoint was begun with.

Importing it does not import torch.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from manual_backprop.commands import Mistake
from manual_backprop.training.options import ARTICLE, LEARNING_RATES, Options

OF_ARTICLE = ("batch_size", "lr", "optimizer")  # what --article settles; the rest is free


def chosen(ctx: click.Context, asked: dict[str, Any]) -> Options:
    """The options of a new run.

    Args:
        ctx: tells what was typed.
        asked: the command's parameters by name.

    Raises:
        click.UsageError: they contradict each other, or one has no such value.
    """
    typed = _typed(ctx, asked)
    if asked["article"]:
        return replace(ARTICLE, **_beside_article(typed))
    lr = LEARNING_RATES[asked["optimizer"]] if asked["lr"] is None else asked["lr"]
    return _options(Options(), {**typed, "lr": lr})


def chosen_again(
    ctx: click.Context, asked: dict[str, Any], folder: Path
) -> tuple[Options, str, Path]:
    """Options, `--data` and `--root` of the run that goes on from a folder.

    What was not typed is as it was when the run began; what was typed is as it was typed, and
    `checkpoint.resume` refuses it where the weights would depend on it.

    Raises:
        click.UsageError: an option has no such value.
        Mistake: the folder holds no checkpoint, or one that is damaged.
    """
    from manual_backprop.training.checkpoint import BadCheckpoint, begun_with

    try:
        begun, origin = begun_with(folder)
    except BadCheckpoint as error:
        raise Mistake(str(error)) from error
    typed = _typed(ctx, asked)
    if asked["article"]:
        article = {name: getattr(ARTICLE, name) for name in (*OF_ARTICLE, "relu_logits")}
        typed = {**article, **_beside_article(typed)}
    data, root = asked["data"], asked["root"]
    if origin is not None:
        data = data if _is_typed(ctx, "data") else origin[0]
        root = root if _is_typed(ctx, "root") else Path(origin[1])
    return _options(begun, typed), data, root


def origin(data: str, root: Path) -> tuple[str, str]:
    """What a checkpoint keeps of `--data` and `--root`, wherever it is gone on from."""
    return data, os.path.abspath(root)


def _options(before: Options, typed: dict[str, Any]) -> Options:
    try:
        return replace(before, **typed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _typed(ctx: click.Context, asked: dict[str, Any]) -> dict[str, Any]:
    names = [name for name in vars(Options()) if name in asked and _is_typed(ctx, name)]
    return {name: asked[name] for name in names}


def _is_typed(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT


def _beside_article(typed: dict[str, Any]) -> dict[str, Any]:
    for name in OF_ARTICLE:
        if name in typed and typed[name] != getattr(ARTICLE, name):
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"--article means {option} {getattr(ARTICLE, name)}, and {typed[name]} was asked "
                f"for: leave --article or {option} away"
            )
    return typed
