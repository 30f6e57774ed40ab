"""The judge is judged by mistakes that people make: rejected, called by name, nothing invented."""

from collections import Counter

import pytest

from manual_backprop import commands
from scripts.mistakes import (
    NOT_MADE,
    PAGE,
    ROOT,
    counts,
    filled,
    first_finding,
    invented,
    is_unseen,
    scored,
)
from scripts.speed.pages import MARK
from tests.every import long
from tests.mistakes import mistakes, rights

NAMED = 0.95  # of the mistakes, by a code that is true of them
MISNAMED = 0.02  # of the mistakes, at most: "unknown" is better than a wrong name
EXPLAINED = 0.85  # of those whose authors had not seen the diagnosis, by any cause at all
FIRST = 0.98  # of those explained, by a code that is true of them
INVENTED = 0  # of the corruptions

every_mistake = pytest.mark.parametrize("one", mistakes(), ids=lambda one: one.name)
every_right_one = pytest.mark.parametrize("one", rights(), ids=lambda one: one.name)


@every_mistake
def test_it_is_rejected(one):
    assert first_finding(one.op, one.backward, causes=False) is not None


@every_right_one
def test_it_passes_whatever_it_looks_like(one):
    found = first_finding(one.op, one.backward, NOT_MADE)
    assert found is None, found


@pytest.mark.slow
@every_right_one
def test_it_passes_on_what_the_judge_makes_itself(one):
    found = first_finding(one.op, one.backward)
    assert found is None, found


@pytest.mark.parametrize("every", [4, long(1)])
def test_mistakes_are_called_by_name(every):
    known = [one for one in mistakes() if not is_unseen(one.family)][::every]
    scores = scored(known).values()
    misnamed = [f"{one.name}: {said}" for score in scores for one, said in score.misnamed]
    missed = [f"{one.name}: {said}" for score in scores for one, said in score.unknown]
    assert sum(score.named for score in scores) >= NAMED * len(known), "\n".join(missed + misnamed)
    assert len(misnamed) <= MISNAMED * len(known), "\n".join(misnamed)


@pytest.mark.parametrize("every", [6, long(1)])
def test_mistakes_that_nobody_had_seen_are_explained(every):
    unseen = [one for one in mistakes() if is_unseen(one.family)]
    assert len(unseen) > len(mistakes()) / 3
    tried = unseen[::every]
    scores = scored(tried).values()
    unknown = [f"{one.name}: {said}" for score in scores for one, said in score.unknown]
    misnamed = [f"{one.name}: {said}" for score in scores for one, said in score.misnamed]
    assert len(unknown) <= (1 - EXPLAINED) * len(tried), "\n".join(unknown)
    assert len(misnamed) <= (1 - FIRST) * (len(tried) - len(unknown)), "\n".join(misnamed)


@pytest.mark.parametrize("every", [13, long(1)])
def test_no_cause_is_invented_for_numbers_that_have_none(every):
    score = invented(seeds=1, every=every)
    assert score.count > 900 / every
    assert not score.passed, score.passed
    assert len(score.invented) <= INVENTED, "\n".join(score.invented)


def test_the_corpus_is_as_broad_as_what_people_report():
    kinds = Counter(one.taxonomy for one in mistakes() if one.taxonomy)
    assert set(kinds) == {f"T{n}" for n in range(1, 24)}
    assert all(count >= 2 for count in kinds.values()), kinds
    assert len(mistakes()) >= 115
    assert len({one.op for one in mistakes()}) >= 25
    names = Counter(one.name for one in (*mistakes(), *rights()))
    assert max(names.values()) == 1, names.most_common(3)


def test_the_page_on_the_judge_says_how_many_there_are():
    text = (ROOT / PAGE).read_text("utf-8")
    assert [name for _, name, _ in MARK.findall(text)] == [*counts()]
    if filled(text) != text:
        pytest.fail(f"{PAGE} is not what tests/mistakes has: run `python -m scripts.mistakes`")


def test_a_number_that_is_not_counted_is_named():
    with pytest.raises(commands.Mistake, match="'mistake' is not counted; there are mistakes,"):
        filled("<!-- number: mistake -->1<!-- end -->")
