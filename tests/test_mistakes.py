"""The judge is judged by mistakes that people make: rejected, called by name, nothing invented."""

from collections import Counter

import pytest

from scripts.mistakes import NOT_MADE, first_finding, invented, scored
from tests.mistakes import mistakes, rights

NAMED = 0.95  # of the mistakes, by a code that is true of them
MISNAMED = 0.02  # of the mistakes, at most: "unknown" is better than a wrong name
INVENTED = 0.01  # of the corruptions, at most

every_mistake = pytest.mark.parametrize("one", mistakes(), ids=lambda one: one.name)
every_right_one = pytest.mark.parametrize("one", rights(), ids=lambda one: one.name)


@every_mistake
def test_it_is_rejected(one):
    assert first_finding(one.op, one.backward) is not None


@every_right_one
def test_it_passes_whatever_it_looks_like(one):
    found = first_finding(one.op, one.backward, NOT_MADE)
    assert found is None, found


@pytest.mark.slow
@every_right_one
def test_it_passes_on_what_the_judge_makes_itself(one):
    found = first_finding(one.op, one.backward)
    assert found is None, found


@pytest.fixture(scope="module")
def scores():
    return scored(mistakes()).values()


def test_mistakes_are_called_by_name(scores):
    missed = [f"{one.name}: {said}" for s in scores for one, said in (*s.unknown, *s.misnamed)]
    named = sum(score.named for score in scores)
    assert named >= NAMED * len(mistakes()), "\n".join(missed)


def test_mistakes_are_not_called_by_a_wrong_name(scores):
    misnamed = [f"{one.name}: {said}" for score in scores for one, said in score.misnamed]
    assert len(misnamed) <= MISNAMED * len(mistakes()), "\n".join(misnamed)


def test_no_cause_is_invented_for_numbers_that_have_none():
    score = invented(seeds=1)
    assert not score.passed, score.passed
    assert len(score.invented) <= INVENTED * score.count, "\n".join(score.invented)


def test_the_corpus_is_as_broad_as_what_people_report():
    kinds = Counter(one.taxonomy for one in mistakes() if one.taxonomy)
    assert set(kinds) == {f"T{n}" for n in range(1, 24)}
    assert all(count >= 2 for count in kinds.values()), kinds
    assert len(mistakes()) >= 115
    assert len({one.op for one in mistakes()}) >= 25
    names = Counter(one.name for one in (*mistakes(), *rights()))
    assert max(names.values()) == 1, names.most_common(3)
