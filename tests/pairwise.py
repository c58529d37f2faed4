"""A few of many combinations: every two values meet in one that `make test` runs; `make test-slow` runs the rest."""

import itertools

import pytest


def pairwise(**axes):
    """Parametrize a test by the product of some axes, all but a few combinations marked slow.

    Whatever any two axes do to each other is seen in the few; what three do, in all of them.

    Args:
        axes: For each argument its values, or a dictionary of names and values. The fields of named tuples are axes of
            their own; a combination of fields that no value has is not asked for.
    """
    names = [list(axis) for axis in axes.values()]
    values = [[axis[name] for name in axis] if isinstance(axis, dict) else list(axis) for axis in axes.values()]
    labels = list(itertools.product(*names))
    few = covering([[level for place, name in enumerate(label) for level in _levels(place, name)] for label in labels])
    cases = [
        pytest.param(*case, id="-".join(map(_name, label)), marks=() if number in few else pytest.mark.slow)
        for number, (label, case) in enumerate(zip(labels, itertools.product(*values), strict=True))
    ]
    return pytest.mark.parametrize(list(axes), cases)


def covering(cases):
    """The places of a few cases, each a sequence of levels, in which every pair of levels of any case is: greedily."""
    bits = {}
    masks = [_mask(itertools.combinations(case, 2), bits) for case in cases]
    missing, chosen = (1 << len(bits)) - 1, set()
    while missing:
        best = max(range(len(cases)), key=lambda place: (masks[place] & missing).bit_count())
        missing &= ~masks[best]
        chosen.add(best)
    return chosen


def _mask(pairs, bits):
    return sum(1 << bits.setdefault(pair, len(bits)) for pair in pairs)


def _name(value):
    return getattr(value, "__name__", None) or str(value)


def _levels(place, value):
    fields = value._asdict().items() if hasattr(value, "_asdict") else [("", value)]
    return [(place, field, repr(level)) for field, level in fields]
