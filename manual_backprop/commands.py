"""What all commands of `manual-backprop` have in common; importing it does not import torch."""

import click

DTYPES = ("float64", "float32", "bfloat16", "float16")


class Mistake(click.ClickException):
    """What was asked for, or a file that it needs, is wrong: a sentence, and exit status 2."""

    exit_code = 2


def check_device(name: str) -> None:
    """Refuse a `--device` that is not there.

    Raises:
        click.BadParameter: with what is there.
    """
    from manual_backprop.judge import verify

    try:
        verify.check_device(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--device") from error
