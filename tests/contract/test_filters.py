"""Workers have the caller's warning filters, and import nothing only to have them."""

from __future__ import annotations

import pickle
import re
import sys
import textwrap
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parmap import Pool, _filters, parallel_map

#: Modules with warnings of their own: one sets a filter for them, one sets another, one is only there.
LIBRARY = {
    "careful": """
        import warnings
        class Noise(UserWarning): pass
        warnings.filterwarnings("ignore", message="the library's own")
        warnings.simplefilter("always", Noise)
        """,
    "busy": """
        import warnings
        class Noise(UserWarning): pass
        class Louder(Noise): pass
        class Other(Warning): pass
        warnings.filterwarnings("ignore", message="the text tells nothing of whose it is")
        warnings.simplefilter("always", Noise)
        warnings.simplefilter("default", Louder, append=True)
        warnings.simplefilter("always", Other)
        """,
    "quiet": """
        class Noise(UserWarning): pass
        """,
    "setting": """
        import warnings
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        """,
    "deprecated": """
        import warnings
        class Noise(UserWarning): pass
        warnings.warn("do not use this", DeprecationWarning)
        """,
    "giving": """
        class Noise(UserWarning): pass
        _noise = Noise
        del Noise
        def __getattr__(name):
            if name == "Noise":
                return _noise
            raise AttributeError(name)
        """,
    "lazy": """
        def __getattr__(name): raise RuntimeError(name)
        """,
}

HEAD = """
    import sys, threading, warnings
    import careful as C, quiet as Q
    from parmap import Pool, parallel_map, run_in_process

    def listed():
        return [(one[0], one[1] and one[1].pattern, one[2].__name__) for one in warnings.filters]
    def present(x):
        return sorted({"careful", "quiet"} & set(sys.modules))
    def found(x):
        return listed()
    def outcome(category):
        with warnings.catch_warnings(record=True) as caught:
            try:
                warnings.warn("loud", category)
            except category:
                return "error"
        return "shown" if caught else "ignored"
    def quiet(x):
        import quiet
        return outcome(quiet.Noise)
    def careful(x):
        import careful
        return outcome(careful.Noise)
    """


@pytest.fixture
def run(program):
    """Runs a program that imports libraries with warnings of their own."""
    for name, source in LIBRARY.items():
        (program.folder / f"{name}.py").write_text(textwrap.dedent(source), "utf-8")

    def run(source, *flags):
        program.run("\n".join(map(textwrap.dedent, (HEAD, source))), flags=flags)

    return run


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
@pytest.mark.parametrize(
    ("library", "expected"),
    [("careful", "shown"), ("quiet", "error")],
    ids=["its own", "the user's"],
)
def test_nothing_is_imported_for_them(run, method, library, expected):
    run(f"""
        if {library!r} == "quiet":
            warnings.resetwarnings()
            warnings.simplefilter("error", Q.Noise)
        there = ["careful", "quiet"] if {method!r} == "fork" else []
        assert run_in_process(present, 1, start_method={method!r}) == there
        assert run_in_process({library}, 1, start_method={method!r}) == {expected!r}
        with Pool(1, start_method={method!r}) as pool:
            assert parallel_map(present, [1], executor=pool) == [there]
            for _ in range(2):
                assert parallel_map(found, [1], executor=pool) == [listed()]
                assert parallel_map({library}, [1, 2], executor=pool) == [{expected!r}] * 2
        """)


@pytest.mark.parametrize("what", ["ignore", "error"])
def test_where_the_order_matters_it_is_the_callers(run, what):
    """The library sets a filter, too: its import in an item must not put it before the caller's."""
    run(f"""
        expected = {what!r}.replace("ignore", "ignored")
        warnings.simplefilter({what!r}, C.Noise)
        assert run_in_process(careful, 1) == expected
        assert parallel_map(careful, [1, 2], max_workers=1) == [expected] * 2
        warnings.resetwarnings()
        warnings.simplefilter({what!r})
        warnings.simplefilter("default", C.Noise)
        assert run_in_process(careful, 1) == "shown"
        warnings.simplefilter({what!r})
        assert run_in_process(careful, 1) == expected
        """)


def test_what_the_user_has_set_since_comes_first(run):
    run("""
        warnings.filterwarnings("error", message="lou")
        assert run_in_process(careful, 1) == "error"
        warnings.resetwarnings()
        warnings.filterwarnings("ignore", category=UserWarning, module="careful")
        warnings.simplefilter("error", DeprecationWarning)
        warnings.simplefilter("default", C.Noise)
        assert run_in_process(careful, 1) == "shown"
        """)


def test_where_warnings_are_errors_an_import_may_warn(run):
    run("""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import deprecated
        warnings.simplefilter("ignore", deprecated.Noise)
        def func(x):
            import deprecated
            return outcome(deprecated.Noise)
        for category in Warning, DeprecationWarning:
            with warnings.catch_warnings():
                warnings.simplefilter("error", category, append=True)
                assert run_in_process(func, 1) == "ignored"
                warnings.filters.insert(0, warnings.filters.pop())
                warnings.simplefilter("ignore", deprecated.Noise)
                assert run_in_process(func, 1) == "ignored"
        """)


@pytest.mark.parametrize(
    "since",
    [
        "",
        "warnings.filterwarnings('ignore')",
        "warnings.simplefilter('ignore', DeprecationWarning)",
        "warnings.filterwarnings('ignore', message='loud')",
        "warnings.simplefilter('error', busy.Noise)",
        "warnings.simplefilter('once', busy.Louder)",
    ],
)
def test_an_import_in_an_item_moves_no_filter(run, since):
    """Nor does it make items run one by one, as what an item changes does."""
    run(f"""
        import busy
        {since}
        def func(x):
            before = "busy" in sys.modules
            import busy
            kinds = busy.Noise, busy.Louder, busy.Other
            return before, listed(), [outcome(kind) for kind in kinds]
        def inside(x):
            with warnings.catch_warnings():
                return func(x)
        expected = func(1)[1:]
        for work in func, inside:
            assert run_in_process(work, 1) == (False, *expected)
            with Pool(1) as pool:
                first, *others = parallel_map(work, range(100), executor=pool)
            assert first == (False, *expected)
            assert others == [(True, *expected)] * 99
        """)


def test_what_the_caller_has_not_imported_may_put_its_filters_first(run):
    run("""
        warnings.filterwarnings("ignore")
        def func(x):
            import busy
            return outcome(busy.Noise), len(warnings.filters)
        with Pool(1) as pool:
            assert parallel_map(func, [1], executor=pool) == [("shown", len(warnings.filters) + 4)]
            assert parallel_map(func, [1], executor=pool) == [("ignored", len(warnings.filters))]
        """)


def test_what_a_function_sets_itself_comes_first(run):
    run("""
        def func(x):
            warnings.simplefilter("ignore", DeprecationWarning)
            first = warnings.filters[0]
            warnings.simplefilter("always", C.Noise)
            return first[2].__name__, warnings.filters[0][0], len(warnings.filters)
        expected = "DeprecationWarning", "always", len(warnings.filters)
        for at in range(2):
            assert parallel_map(func, [1, 2], max_workers=1) == [expected] * 2
            assert run_in_process(func, 1) == expected
        """)


def test_a_function_of_a_module_that_imports_the_library(run, program):
    (program.folder / "work.py").write_text(
        "import warnings, careful\n"
        "def func(x):\n    return [one[0] for one in warnings.filters if one[2] is careful.Noise]",
        "utf-8",
    )
    run("""
        import work
        warnings.filterwarnings("ignore", message="some text", category=C.Noise)
        assert parallel_map(work.func, [1], max_workers=1) == [["ignore", "always"]]
        assert run_in_process(work.func, 1) == ["ignore", "always"]
        """)


INITIALIZERS = """
    def moves():
        warnings.simplefilter("ignore", DeprecationWarning)
    def appends():
        warnings.filterwarnings("ignore", message="x", append=True)
    def imports():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import quiet
    def sets():
        import setting
    """


@pytest.mark.parametrize("initializer", ["moves", "appends", "imports", "sets"])
def test_whatever_an_initializer_does_they_stay(run, initializer):
    run(
        textwrap.dedent(INITIALIZERS)
        + textwrap.dedent(f"""
        warnings.simplefilter("error", Q.Noise)
        def after(x):
            {initializer}()
            return quiet(x)
        assert run_in_process(after, 1) == "error"
        assert parallel_map(after, [1, 2], max_workers=1) == ["error", "error"]
        with Pool(1, initializer={initializer}) as pool:
            for _ in range(2):
                assert parallel_map(quiet, [1, 2], executor=pool) == ["error", "error"]
        """)
    )


def test_an_import_by_a_thread_changes_nothing_for_others(run):
    run("""
        warnings.simplefilter("error", Q.Noise)
        def beside(x):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                thread = threading.Thread(target=__import__, args=("quiet",))
                thread.start()
                thread.join()
                inside = quiet(x)
            return inside, quiet(x)
        assert run_in_process(beside, 1) == ("ignored", "error")
        """)


def test_filters_that_change_between_calls(run):
    run("""
        def nested(x):
            return run_in_process(quiet, x)
        with Pool(1) as pool:
            for what, expected in ("error", "error"), ("ignore", "ignored"), ("always", "shown"):
                warnings.simplefilter(what, Q.Noise)
                assert parallel_map(nested, [1], executor=pool) == [expected]
            for what, expected in ("error", "error"), ("ignore", "ignored"), ("always", "shown"):
                warnings.simplefilter(what, Q.Noise)
                assert parallel_map(quiet, [1], executor=pool) == [expected]
        """)


def test_categories_that_have_no_name(run):
    run("""
        class Own(UserWarning): pass
        warnings.simplefilter("error", Own)
        warnings.filters.insert(0, ("error", None, (Q.Noise, KeyError), None, 0))
        assert parallel_map(outcome, [Own], max_workers=1) == ["error"]
        assert run_in_process(quiet, 1) == "error"
        """)


def test_categories_that_only_code_can_find(run):
    run("""
        import giving as G
        warnings.resetwarnings()
        warnings.simplefilter("error", G.Noise)
        def func(x):
            import giving
            return outcome(giving.Noise)
        assert run_in_process(func, 1) == "error"
        """)


def test_no_code_of_a_module_runs_to_find_a_category(run):
    run("""
        import lazy as L
        class Noise(UserWarning): pass
        Noise.__module__, L.Noise = "lazy", Noise
        warnings.filterwarnings("ignore", message="other", append=True)
        warnings.simplefilter("error", Noise)
        def func(x):
            import lazy
            warnings.warn("other", UserWarning)
            return x
        assert run_in_process(func, 1) == 1
        """)


def named_filter(action, text, category):
    return action, text and re.compile(text), category, None, 0


lists = st.lists(
    st.builds(
        named_filter,
        st.sampled_from(["ignore", "error", "always"]),
        st.sampled_from([None, "a"]),
        st.sampled_from([Warning, UserWarning, re.error, pytest.PytestWarning]),
    ),
    max_size=6,
)


@given(lists)
def test_filters_are_the_same_again(filters):
    sent = _filters.named(filters)
    assert _filters.here(sent) == filters
    assert _filters.here(_filters.here(sent)) == filters


def test_a_class_stands_for_a_category_until_it_is_there(monkeypatch):
    module = type(sys)("some_module")
    monkeypatch.setitem(sys.modules, "some_module", module)
    exec("class Noise(UserWarning): pass\nclass Louder(Noise): pass", vars(module))
    [sent] = _filters.named([named_filter("error", None, module.Noise)])
    assert sent[2] == ("some_module", "Noise")
    monkeypatch.delitem(sys.modules, "some_module")
    [kept] = _filters.here([sent])
    assert kept[2].__name__ == "Noise"
    assert not issubclass(UserWarning, kept[2])
    assert _filters.named([kept]) == [sent]
    assert _filters.here([kept]) == [kept]
    monkeypatch.setitem(sys.modules, "some_module", module)
    assert issubclass(module.Louder, kept[2])
    assert _filters.here([kept]) == [named_filter("error", None, module.Noise)]
    assert pickle.loads(pickle.dumps(kept)) == (*kept[:2], module.Noise, *kept[3:])
    with warnings.catch_warnings():
        warnings.filters[:] = [kept]
        with pytest.raises(module.Louder):
            warnings.warn("loud", module.Louder, stacklevel=1)


def imported(name):
    return name in sys.modules


def test_numpy_stays_where_it_is(np):
    with warnings.catch_warnings(), Pool(1) as pool:
        warnings.resetwarnings()
        warnings.simplefilter("always", np.exceptions.RankWarning)
        assert parallel_map(imported, ["numpy"], executor=pool) == [False]
