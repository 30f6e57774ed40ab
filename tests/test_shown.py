"""The comparison of pages with what is printed notices what it has to."""

import pytest

from tests.shown import alike, assert_shown


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("11", "11"),
        ("2,488", "2,488"),
        ("4.8e-16", "1.1e-15"),
        ("0.0e+00", "2.2e-16"),
        ("0.256537054", "0.256537055"),
        ("87.80", "87.70"),
    ],
)
def test_the_same_but_for_rounding(one, two):
    assert alike(one, two)
    assert alike(two, one)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("11", "99"),
        ("2,488", "2,489"),
        ("4.8e-16", "4.8e+16"),
        ("4.8e-06", "-4.8e-06"),
        ("2e-16", "7e-01"),
        ("0.25", "0.75"),
        ("0.5", "-0.5"),
    ],
)
def test_something_else(one, two):
    assert not alike(one, two)
    assert not alike(two, one)


def test_words_lines_and_numbers_count_and_the_machine_does_not():
    text = "torch 2.15 cpu\n\n  all 7 are right in 2,488 cases\n  10  0.06  91.10%   62,402\n"
    assert_shown(text, text.replace("2.15", "2.16").replace("62,402", "1,234"))
    for old, new in (("7", "9"), ("right", "wrong"), ("2,488", "2,489"), ("91.10", "19.10")):
        with pytest.raises(AssertionError):
            assert_shown(text, text.replace(old, new))
