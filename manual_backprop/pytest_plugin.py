"""The judge as a pytest fixture, for the backwards of any project.

    def test_swish(check_backward):
        check_backward(Swish, reference=F.silu, samples={"rows": lambda rand, n=11: (rand(n),)})

It fails with the whole verdict: what is wrong, in which gradient, and where it could be found out,
why. The command line narrows what is judged:

    --backward-dtype float32,bfloat16   of the dtypes that a test asks for (else of all four), these
    --backward-device cuda              of the devices, these; cpu by default
    --backward-seed 3                   other numbers

Where nothing is left the test is skipped. Neither pytest's start nor a run that does not ask for
the fixture imports torch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from manual_backprop.commands import DTYPES

if TYPE_CHECKING:
    from manual_backprop.judge.verdict import Verdict


class CheckBackward(Protocol):
    """The type of the fixture `check_backward`."""

    def __call__(
        self,
        subject: Any,
        *,
        forward: Callable[..., Any] | None = None,
        oracle: Callable[..., Any] | None = None,
        reference: Callable[..., Any] | None = None,
        samples: Mapping[str, Callable[..., Any]] | None = None,
        wrt: Sequence[str] | None = None,
        **options: Any,
    ) -> "Verdict":
        """Judge, and fail the test where a gradient is wrong."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--backward-dtype`, `--backward-device` and `--backward-seed`."""
    group = parser.getgroup("check_backward", "hand-written backwards (check_backward)")
    group.addoption(
        "--backward-dtype",
        metavar="NAMES",
        help=f"judge in these dtypes only, of {', '.join(DTYPES)}; several with commas",
    )
    group.addoption(
        "--backward-device",
        metavar="NAMES",
        help="judge on these devices, as in cpu,cuda (default: cpu)",
    )
    group.addoption(
        "--backward-seed", type=int, default=0, metavar="N", help="draw other numbers (default: 0)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a dtype that there is not, before anything is run."""
    for name in _named(config, "--backward-dtype"):
        if name not in DTYPES:
            raise pytest.UsageError(f"--backward-dtype: no {name!r}; there are {', '.join(DTYPES)}")


def _named(config: pytest.Config, option: str) -> list[str]:
    return [name for name in (config.getoption(option) or "").split(",") if name]


@pytest.fixture
def check_backward(request: pytest.FixtureRequest) -> Iterator[CheckBackward]:
    """Judge hand-written gradients; fails the test with the verdict where one is wrong.

    `check_backward(MyFunction, reference=f, samples=...)`
        an autograd.Function, an operator of torch.library, or any function of tensors, held to a
        reference through autograd: `manual_backprop.verify_function`, whose `expected_grad` it
        takes too.
    `check_backward(my_backward, forward=f, samples=..., oracle=g)`
        a function that names the tensors that it needs, `out` and `grad_out`; held to PyTorch's own
        `oracle` or, without one, to autograd of `forward`. `wrt` are the arguments that get a
        gradient, by default those drawn as floating numbers.
    `check_backward(op)`
        all backwards of a `manual_backprop.Op`.

    All take `samples` (name -> function of `rand` and axis sizes), `dtypes`, `devices`, `seeds` and
    `kinks`, and return the verdict.

    Raises, when it is called:
        WrongGradient: an AssertionError; the message is the verdict.
        TypeError: what is given does not fit together; with what to mend.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on tensors this small, threads only wait for each other

    def check(subject: Any, **given: Any) -> "Verdict":
        __tracebackhide__ = True
        from manual_backprop.judge.verdict import WrongGradient

        grid = _grid(request.config, given)
        verdict = _judged(subject, **given, **grid)
        if not verdict.ok:
            raise WrongGradient(str(verdict))
        if verdict.notes:
            request.node.add_report_section("call", "check_backward", str(verdict))
        return verdict

    yield check
    torch.set_num_threads(threads)


def _grid(config: pytest.Config, given: dict[str, Any]) -> dict[str, Any]:
    """What the command line leaves of dtypes, devices and seeds; taken out of what is given."""
    import torch

    from manual_backprop.judge.asked import device as device_of
    from manual_backprop.judge.asked import dtype as dtype_of
    from manual_backprop.judge.asked import several

    dtypes = given.pop("dtypes", None) or [getattr(torch, name) for name in DTYPES]
    dtypes = several("check_backward", "dtypes", dtypes, dtype_of)
    if asked := _named(config, "--backward-dtype"):
        dtypes = tuple(d for d in dtypes if str(d).removeprefix("torch.") in asked)
    devices = given.pop("devices", None)
    if devices is not None:
        devices = several("check_backward", "devices", devices, device_of)
    if asked := _named(config, "--backward-device"):
        devices = [device for device in devices or asked if device in asked]
    elif devices is None:
        devices = ["cpu"]
    if not dtypes or not devices:
        pytest.skip("--backward-dtype and --backward-device leave nothing to judge here")
    seed = config.getoption("--backward-seed")
    return {"dtypes": dtypes, "devices": devices, "seeds": given.pop("seeds", (seed, seed + 1))}


def _judged(
    subject: Any,
    *,
    forward: Callable[..., Any] | None = None,
    oracle: Callable[..., Any] | None = None,
    reference: Callable[..., Any] | None = None,
    samples: Mapping[str, Callable[..., Any]] | None = None,
    wrt: Sequence[str] | None = None,
    **options: Any,
) -> "Verdict":
    from manual_backprop.judge.function import verify_function
    from manual_backprop.judge.verify import verify
    from manual_backprop.op import Op

    __tracebackhide__ = True
    whole = isinstance(subject, Op)
    if whole and (forward, oracle, reference, samples, wrt) == (None,) * 5:
        return verify(subject, **options)
    if whole or (forward is None) == (reference is None) or samples is None:
        raise TypeError(
            "check_backward: give an Op alone, or a backward with forward= and samples= (and "
            "oracle=), or an autograd.Function or another function with reference= and samples="
        )
    if reference is not None:
        if oracle is not None:
            raise TypeError("check_backward: with reference= there is no oracle=; give one of them")
        return verify_function(subject, reference, samples=samples, wrt=wrt, **options)
    return verify(_operator(subject, forward, samples, wrt, oracle), **options)


def _operator(backward: Any, forward: Any, samples: Any, wrt: Any, oracle: Any) -> Any:
    from manual_backprop.judge.draw import floating
    from manual_backprop.op import BadOp, Op

    __tracebackhide__ = True
    op = Op(forward, (backward,), samples, tuple(wrt or _first(forward)), oracle)
    if wrt is not None:
        return op
    names = floating(op)
    if not names:
        raise BadOp(f"{op.name}: the first sample draws no floating tensor, which gets a gradient")
    return Op(forward, (backward,), samples, names, oracle)


def _first(forward: Any) -> tuple[str, ...]:
    from inspect import signature

    return tuple(signature(forward).parameters)[:1]
