"""What is built and installed elsewhere is whole: code, types, schema, data, and the command."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, cwd):
    """Nothing that leads back to the checkout or out to a network is handed on."""
    passed_on = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**passed_on, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the sdist, and the wheel that was made from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def elsewhere(built, tmp_path_factory):
    """A fresh environment with the wheel in it; torch and the rest it borrows from this one."""
    pytest.importorskip("ensurepip", reason="this Python cannot make an environment with pip in it")
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    (wheel,) = built.glob("*.whl")
    pip = binaries / "python", "-m", "pip", "install"
    run(*pip, "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    there = run(
        binaries / "python",
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
        cwd=folder,
    )
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # its .pth files, such as that of an editable install of the checkout, are not followed
    (Path(there.strip()) / "borrowed.pth").write_text("\n".join(sorted(borrowed)))
    return folder, binaries


def test_the_wheel_holds_code_types_schema_data_and_licences(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "manual_backprop/py.typed",
        "manual_backprop/__init__.pyi",
        "manual_backprop/pictures.mplstyle",
        "manual_backprop/report/verify.schema.json",
        "manual_backprop/report/html/verify.jinja",
        "manual_backprop/report/html/page.css",
        "manual_backprop/_data/README.md",
        "manual_backprop/_data/articles.json",
        "manual_backprop/_data/make_subset.py",
        "manual_backprop/_data/MNIST/LICENSE",
        "manual_backprop/_data/MNIST/raw/train-images-idx3-ubyte",
    } <= names
    licences = {name.partition(".dist-info/licenses/")[2] for name in names}
    assert {"LICENSE", "data/MNIST/LICENSE"} <= licences
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"manual_backprop"}


def test_the_sdist_holds_all_that_its_tests_need(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml", "conftest.py"} <= names
    here = [*(ROOT / "data/MNIST/raw").iterdir(), ROOT / "data/articles.json"]
    here += [
        file
        for folder in ("tests", "scripts", "examples")
        for file in (ROOT / folder).rglob("*.py")
    ]
    assert {file.relative_to(ROOT).as_posix() for file in here} <= names


@pytest.mark.process
def test_installed_elsewhere_it_trains_on_the_digits_that_it_brought(elsewhere):
    folder, binaries = elsewhere
    words = ("train", "mnist", "--epochs", "2", "--out", folder / "run")
    said = run(binaries / "manual-backprop", *words, cwd=folder)
    *_, last = json.loads((folder / "run/history.json").read_text("utf-8"))["history"]
    assert said.endswith(f"{last['accuracy']:.2%} of 1,000 test images are told right\n")
    assert last["accuracy"] > 0.8


@pytest.mark.process
def test_installed_elsewhere_it_judges_and_finds_its_data(elsewhere):
    folder, binaries = elsewhere
    report = json.loads(
        run(
            binaries / "manual-backprop",
            "verify",
            "relu",
            "--dtype",
            "float64",
            "--json",
            "-",
            cwd=folder,
        )
    )
    assert report["ok"]
    code = (
        "import json, manual_backprop\n"
        "from manual_backprop.data import article_numbers, data_folder\n"
        "from torchvision.datasets import MNIST\n"
        "sizes = [len(MNIST(data_folder(), part, download=False)) for part in (True, False)]\n"
        "places = manual_backprop.__file__, str(data_folder())\n"
        "print(json.dumps([places, sizes, article_numbers()['D5']['expected']]))\n"
    )
    places, sizes, expected = json.loads(run(binaries / "python", "-c", code, cwd=folder))
    for place in places:
        assert Path(place).is_relative_to(folder / "venv")
    assert sizes == [5000, 1000]
    assert expected == {"mse": 1, "gradient": 2}
