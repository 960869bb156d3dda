"""Workers have the caller's warning filters, and import nothing only to have them."""

from __future__ import annotations

import re
import sys
import textwrap
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parmap import Pool, _filters, parallel_map

LIBRARY = {
    "__init__": """
        import warnings
        from . import deep
        warnings.filterwarnings("ignore", message="the library's own")
        warnings.simplefilter("always", deep.Noise)
        """,
    "deep": "class Noise(UserWarning): pass",
}

HEAD = """
    import sys, warnings
    import library
    from parmap import Pool, parallel_map, run_in_process
    warnings.simplefilter("error", library.deep.Noise)
    warnings.filterwarnings("ignore", message="never mind")

    def listed():
        return [(one[0], one[1] and one[1].pattern, one[2].__name__) for one in warnings.filters]
    MINE = listed()

    def present(x):
        return "library" in sys.modules
    def noisy(x):
        import library.deep
        try:
            warnings.warn("loud", library.deep.Noise)
        except library.deep.Noise:
            return listed()
    def found(x):
        return listed()
    """


@pytest.fixture
def run(program):
    """Runs a program that imports a library with warnings of its own."""
    folder = program.folder / "library"
    folder.mkdir()
    for name, source in LIBRARY.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(source), "utf-8")

    def run(source):
        program.run("\n".join(map(textwrap.dedent, (HEAD, source))), flags=())

    return run


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_nothing_is_imported_for_them(run, method):
    run(f"""
        with Pool(1, start_method={method!r}) as pool:
            assert parallel_map(present, [1], executor=pool) == [False]
            assert parallel_map(noisy, [1, 2], executor=pool) == [MINE, MINE]
            assert parallel_map(found, [1], executor=pool) == [MINE]
        assert not run_in_process(present, 1, start_method={method!r})
        assert run_in_process(noisy, 1, start_method={method!r}) == MINE
        """)


def test_a_forked_worker_has_them_all(run):
    run("""
        with Pool(1, start_method="fork") as pool:
            assert parallel_map(found, [1], executor=pool) == [MINE]
            assert parallel_map(noisy, [1], executor=pool) == [MINE]
        """)


def test_what_a_function_has_set_itself_comes_first(run):
    run("""
        def quiet(x):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import library
                inside = listed()
                warnings.warn("loud", library.deep.Noise)
            return inside
        def alone(x):
            with warnings.catch_warnings():
                warnings.resetwarnings()
                import library
                return listed()
        with Pool(1) as pool:
            assert parallel_map(quiet, [1], executor=pool) == [[("ignore", None, "Warning"), *MINE]]
            assert parallel_map(noisy, [1], executor=pool) == [MINE], "the first one left nothing behind"
        with Pool(1) as pool:
            [inside] = parallel_map(alone, [1], executor=pool)
            assert len(inside) == 2, "what the library sets"
            assert parallel_map(noisy, [1], executor=pool) == [MINE]
        """)


def test_what_an_initializer_sets_comes_first(run):
    run("""
        def set_up():
            warnings.filterwarnings("ignore", message="set up")
        def import_too():
            set_up()
            import library
        for initializer in (set_up, import_too):
            with Pool(1, initializer=initializer) as pool:
                for _ in range(2):
                    got = parallel_map(noisy, [1, 2], executor=pool)
                    assert got == [[("ignore", "set up", "Warning"), *MINE]] * 2, (initializer, got)
        """)


def test_filters_that_change_between_calls(run):
    run("""
        with Pool(1) as pool:
            parallel_map(found, [1], executor=pool)
            warnings.simplefilter("ignore", library.deep.Noise)
            MINE = listed()
            assert parallel_map(noisy, [1], executor=pool) == [None]
            assert parallel_map(found, [1], executor=pool) == [MINE]
        """)


def test_a_worker_passes_them_on(run):
    run("""
        def nested(x):
            assert "library" not in sys.modules
            return run_in_process(noisy, x), "library" in sys.modules
        assert parallel_map(nested, [1], max_workers=1) == [(MINE, False)]
        """)


def test_a_category_of_main_goes_along(run):
    run("""
        class Own(UserWarning): pass
        warnings.simplefilter("error", Own)
        def own(x):
            try:
                warnings.warn("loud", Own)
            except Own:
                return "error"
        assert parallel_map(own, [1], max_workers=1) == ["error"]
        """)


def named_filter(action, text, category):
    return action, text and re.compile(text), category, None, 0


CATEGORIES = [UserWarning, re.error, ("decimal", "Inexact"), ("no.such.module", "Noise")]
lists = st.lists(
    st.builds(
        named_filter,
        st.sampled_from(["ignore", "error"]),
        st.sampled_from([None, "a"]),
        st.sampled_from(CATEGORIES),
    ),
    max_size=6,
)


@given(lists, lists)
def test_what_was_added_and_what_waits_are_told_apart(wanted, new):
    new = _filters.known(new)
    current = new + _filters.known(wanted)
    assert _filters.added(current, wanted) == new
    assert _filters.kept(current, wanted) == new + wanted
    assert _filters.known(_filters.kept(current, wanted)) == current


def test_where_more_was_done_the_current_ones_are_kept():
    wanted = [named_filter("error", None, UserWarning), named_filter("error", None, ("no", "Such"))]
    current = [named_filter("ignore", None, UserWarning)]
    assert _filters.added(current, wanted) is None
    assert _filters.kept(current, wanted) == current


@given(lists)
def test_categories_come_back_from_their_names(wanted):
    real = _filters.known(wanted)
    assert _filters.known(_filters.named(real)) == real


def test_all_packages_on_the_way_are_awaited():
    wanted = [named_filter("error", None, ("some.deep.module", "Noise")), *warnings.filters]
    assert _filters.awaited(wanted) == {"some", "some.deep", "some.deep.module"}
    wanted = [named_filter("error", None, ("unittest.no.such", "Noise"))]
    assert "unittest" in sys.modules
    assert _filters.awaited(wanted) == {"unittest.no", "unittest.no.such"}


def imported(name):
    return name in sys.modules


def test_numpy_stays_where_it_is(np):
    with Pool(1) as pool:
        assert parallel_map(imported, ["numpy"], executor=pool) == [False]
