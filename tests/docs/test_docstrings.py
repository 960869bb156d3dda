"""The examples in the docstrings of everything public.

`pytest --doctest-modules` passes them by: their `__module__` is `parmap`, not where they are.
"""

import doctest
import types

import pytest

import parmap


def examples():
    finder = doctest.DocTestFinder()
    for name in parmap.__all__:
        public = getattr(parmap, name)
        for test in finder.find(public, name, module=False, globs={}):
            yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", [each for each in examples() if each.values[0].examples])
def test_the_examples_of(test):
    said = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert tried
    assert not failed, "".join(said)


@pytest.mark.parametrize("name", parmap.__all__)
def test_there_is_a_docstring_for(name):
    public = getattr(parmap, name)
    assert public.__doc__
    if isinstance(public, types.FunctionType) and name != "shutdown":
        assert ">>>" in public.__doc__


@pytest.mark.parametrize("name", parmap.__all__)
def test_everything_public_says_it_is_of_parmap(name):
    assert getattr(parmap, name).__module__ == "parmap"
