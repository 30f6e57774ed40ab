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
        ("2e-16", "0e+00"),
        ("0.256537054", "0.256537055"),
        ("-0.185290456", "-0.185290501"),
        ("0.009944692027890903", "0.009944692027890999"),
        ("2.04874", "2.04873"),
        ("8.8 %", "7.1 %"),
        ("10 %", "9.9 %"),
    ],
)
def test_the_same_but_for_rounding(one, two):
    assert alike(one, two)
    assert alike(two, one)


def test_what_was_trained_is_the_same_within_a_few_percent():
    assert alike("87.80", "87.70", trained=True)
    assert not alike("87.80", "87.70")
    assert not alike("91.10", "80.10", trained=True)
    assert alike("0.1046", "0.1051", trained=True)
    assert not alike("0.1046", "0.1051")
    assert not alike("11", "12", trained=True)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("11", "99"),
        ("2,488", "2,489"),
        ("4.8e-16", "4.8e+16"),
        ("4.8e-06", "-4.8e-06"),
        ("2e-16", "7e-01"),
        ("2e-16", "5e-13"),
        ("2e-16", "1e-14"),
        ("4.8e-16", "0.5e-14"),
        ("2.3e-07", "2.5e-06"),
        ("0.256537054", "0.265000000"),
        ("0.256537054", "0.256540054"),
        ("0.0244677349", "0.0251111111"),
        ("0.009944692027890903", "0.009944692127890903"),
        ("8.8 %", "91 %"),
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
    assert_shown(text, text.replace("91.10", "91.30"), trained=True)
    for old, new in (("7", "9"), ("right", "wrong"), ("2,488", "2,489"), ("91.10", "19.10")):
        with pytest.raises(AssertionError):
            assert_shown(text, text.replace(old, new), trained=True)
