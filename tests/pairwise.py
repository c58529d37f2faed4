"""A few of many cases are run by `make test`, and the rest by `make test-slow`."""

import itertools

import pytest


def few(values, *places):
    """Return values for a parametrized test, all marked slow but those at some places.

    Args:
        values: All of them; a tuple has a value for each of several arguments.
        places: Of those that are not slow.
    """
    return [value if place in places else _slow(value) for place, value in enumerate(values)]


def _slow(value):
    arguments = value if isinstance(value, tuple) else (value,)
    return pytest.param(*arguments, marks=pytest.mark.slow)


def pairwise(**axes):
    """Parametrize a test by the product of some axes; every two values meet in a combination that is not marked slow.

    Whatever any two axes do to each other is seen in the few; what three do, in all of them.

    Args:
        axes: For each argument its values, or a dictionary of names and values. The fields of named tuples are axes of
            their own; a combination of fields that no value has is not asked for.
    """
    return _product(axes, 2)


def each_value(**axes):
    """Parametrize a test by the product of some axes; every value is in a combination that is not marked slow.

    Args:
        axes: As of `pairwise`.
    """
    return _product(axes, 1)


def _product(axes, order):
    names = [list(axis) for axis in axes.values()]
    values = [[axis[name] for name in axis] if isinstance(axis, dict) else list(axis) for axis in axes.values()]
    labels = list(itertools.product(*names))
    levels = [[level for place, name in enumerate(label) for level in _levels(place, name)] for label in labels]
    fast = covering(levels, order)
    cases = [
        pytest.param(*case, id="-".join(map(_name, label)), marks=() if number in fast else pytest.mark.slow)
        for number, (label, case) in enumerate(zip(labels, itertools.product(*values), strict=True))
    ]
    return pytest.mark.parametrize(list(axes), cases)


def covering(cases, order=2):
    """The places of a few cases, each a sequence of levels, with every pair of levels that any case has: greedily.

    With another order, every single level, or every three.
    """
    bits = {}
    masks = [_mask(itertools.combinations(case, order), bits) for case in cases]
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
