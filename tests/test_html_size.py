"""The page of `verify --html` is small enough to attach, and which cells have a picture."""

import copy
import re

import pytest
from click.testing import CliRunner

from manual_backprop.cli import main
from manual_backprop.report.as_html import verify_page
from tests import reports


@pytest.mark.parametrize("devices", [("cpu",), ("cpu", "cuda")])
def test_the_whole_house_is_small_enough_to_attach(devices):
    report = reports.whole_house(devices)
    assert len(report["backwards"]) >= 77
    assert len(verify_page(report).encode()) < 1e6


def evidence(fields):
    """What the page says of each cell, by its address."""
    text = verify_page(fields)
    return dict(re.findall(r'<article class="ev" id="([^"]+)">(.*?)</article>', text, re.DOTALL))


def test_of_one_device_every_cell_has_its_picture():
    shown = evidence(reports.whole_house())
    assert len(shown) == 4 * len(reports.whole_house()["backwards"])
    assert all('<svg class="pic"' in said for said in shown.values())


def test_of_several_devices_the_closest_cell_has_the_picture_and_the_others_point_at_it():
    fields = reports.whole_house(("cpu", "cuda"))
    shown = evidence(fields)
    for record in fields["backwards"]:
        ratios = {
            f"{record['backward']}_{dtype}_{device}": tally["error"] / tally["allowed"]
            for dtype, of_dtype in record["dtypes"].items()
            for device, tally in of_dtype["devices"].items()
        }
        pictured = [name for name in ratios if '<svg class="pic"' in shown[name]]
        assert len(pictured) == 1
        assert ratios[pictured[0]] == max(ratios.values())
        for name in ratios.keys() - pictured:
            assert f'href="#{pictured[0]}"' in shown[name]
            assert "worst entry" in shown[name]


def test_every_wrong_cell_has_its_picture_on_several_devices_too():
    fields = copy.deepcopy(reports.judged())
    fields["environment"]["devices"]["cuda"] = "a device"
    for record in fields["backwards"]:
        record["findings"] += [{**each, "device": "cuda"} for each in record["findings"]]
    shown = evidence(fields)
    names = ("back_square_double_", "back_square_one_entry_")
    wrong = [said for name, said in shown.items() if name.startswith(names)]
    assert len(wrong) == 8
    assert all('<svg class="pic"' in said for said in wrong)


@pytest.mark.slow
def test_the_whole_house_as_it_is_judged_is_small_too(tmp_path):
    page = tmp_path / "report.html"
    done = CliRunner().invoke(main, ["verify", "--device", "cpu", "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert page.stat().st_size < 1e6
