"""The grid that every test runs on, shards of it, the header, and shape checking while testing."""

import os
import re
from hashlib import sha256
from pathlib import Path

import pytest

from manual_backprop.commands import DTYPES


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("manual_backprop")
    group.addoption("--device", default="all", help="cpu, cuda, or all that are there (default)")
    group.addoption("--dtype", default="all", help=f"of {', '.join(DTYPES)}; several with commas")
    group.addoption("--seed", type=int, default=0, help="draw other numbers (default: 0)")
    group.addoption(
        "--shard",
        default="1/1",
        metavar="I/N",
        help="of N shards, which every test is in one of, run the I-th (default: 1/1, all)",
    )
    group.addoption(
        "--browser",
        metavar="PROGRAM",
        help="for -m browser: the Chromium to drive, and an error without it (default: one that "
        "is found, and skipped without one)",
    )
    group.addoption(
        "--mnist",
        type=Path,
        metavar="DIR",
        help="where the whole of MNIST is, for -m slow (default: where training puts it)",
    )


def _timing(config: pytest.Config) -> bool:
    return bool(config.getoption("benchmark_only") or config.getoption("benchmark_enable"))


def pytest_configure(config: pytest.Config) -> None:
    os.environ.pop("UV", None)  # by which commands are told as `uv run` has them
    if _timing(config):
        config.option.randomly_reorganize = False  # opponents are timed one after the other
    else:
        _refuse_what_only_timing_does(config)
        _check_shapes_in_one_thread(config)
    if report := config.getoption("benchmark_json"):
        Path(report).parent.mkdir(parents=True, exist_ok=True)  # else it fails after all is timed
    devices(config)  # what is not there ends the run now, and not once a file
    dtypes(config)
    shard(config)


def _refuse_what_only_timing_does(config: pytest.Config) -> None:
    for name in ("json", "save", "autosave", "compare", "compare_fail", "histogram"):
        if config.getoption(f"benchmark_{name}", None):
            option = f"--benchmark-{name.replace('_', '-')}"
            raise pytest.UsageError(f"{option} needs --benchmark-only: nothing is timed without it")


def _check_shapes_in_one_thread(config: pytest.Config) -> None:
    import torch

    torch.set_num_threads(1)  # on tensors this small, threads only wait for each other
    config.option.benchmark_disable = True  # a plain run calls each benchmark once
    from jaxtyping import install_import_hook

    install_import_hook(["manual_backprop.ops", "manual_backprop.networks"], "beartype.beartype")


def devices(config: pytest.Config) -> list[str]:
    from manual_backprop.judge.verify import available_devices, check_device

    asked = config.getoption("--device")
    if asked == "all":
        return list(available_devices())
    for device in dict.fromkeys(asked.split(",")):
        try:
            check_device(device)
        except ValueError as error:
            raise pytest.UsageError(f"--device: {error}") from error
    return list(dict.fromkeys(asked.split(",")))


def dtypes(config: pytest.Config) -> list[str]:
    asked = (
        DTYPES if config.getoption("--dtype") == "all" else config.getoption("--dtype").split(",")
    )
    for dtype in asked:
        if dtype not in DTYPES:
            raise pytest.UsageError(f"--dtype: no {dtype!r}; there are {', '.join(DTYPES)}")
    return list(dict.fromkeys(asked))


def shard(config: pytest.Config) -> tuple[int, int]:
    asked = config.getoption("--shard")
    written = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", asked)
    number, count = map(int, written.groups()) if written else (1, 0)
    if number > count:
        raise pytest.UsageError(f"--shard: no {asked!r}; those of 3, say, are 1/3, 2/3 and 3/3")
    return number, count


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    number, count = shard(config)
    if count == 1:
        return
    kept, others = [], []
    for item in items:
        # by its name alone: neither the order nor what else this machine collects moves a test
        drawn = int.from_bytes(sha256(item.nodeid.encode()).digest()) % count + 1
        (kept if drawn == number else others).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=others)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", devices(metafunc.config))
    if "dtype" in metafunc.fixturenames:
        import torch

        names = dtypes(metafunc.config)
        metafunc.parametrize("dtype", [getattr(torch, name) for name in names], ids=names)


def pytest_report_header(config: pytest.Config) -> list[str]:
    import torch

    names = [
        torch.cuda.get_device_name() if device == "cuda" else device for device in devices(config)
    ]
    precision = torch.get_float32_matmul_precision()
    return [
        f"torch {torch.__version__}, devices: {', '.join(names)}, dtypes: "
        f"{', '.join(dtypes(config))}, threads: {torch.get_num_threads()}, "
        f"seed: {config.getoption('--seed')}, shard: {config.getoption('--shard')}",
        f"float32 matmul precision: {precision}; TF32 and reduced-precision sums are off while "
        f"judging; shapes are {'not ' if _timing(config) else ''}checked",
    ]


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seed"))
