"""Classes of the program are in workers what they are in the program, and stay what they became there."""

from __future__ import annotations

import textwrap

import pytest

HEAD = """
    import abc, enum
    from parmap import Pool, parallel_map, run_in_process

    def check(func, items):
        expected = list(map(func, items))
        with Pool(1) as pool:
            for _ in range(2):
                assert parallel_map(func, items, executor=pool) == expected
    """


@pytest.fixture
def run(program):
    """Runs a program that defines classes."""
    return lambda source: program.run(textwrap.dedent(HEAD) + textwrap.dedent(source))


ENUMS = {
    "init": """
        class E(enum.Enum):
            A = 1, 2
            B = 3, 4
            def __init__(self, mass, radius): self.extra = mass * radius
        """,
    "new": """
        class E(enum.Enum):
            A = 1, 2
            B = 3, 4
            def __new__(cls, one, other):
                made = object.__new__(cls)
                made._value_, made.extra = 10 * one + other, other
                return made
        """,
    "str": """
        class E(str, enum.Enum):
            A = "a", "the first"
            B = "b", "the second"
            def __new__(cls, value, label):
                made = str.__new__(cls, value)
                made._value_, made.extra = value, label
                return made
        """,
    "functions": """
        class E(enum.Enum):
            A = enum.member(lambda: 1)
            B = enum.member(len)
            @property
            def extra(self): return self.value.__name__
        """,
    "aliases": """
        class E(enum.Enum):
            A = 1
            B = 2
            C = 1
            @property
            def extra(self): return E.C is E.A, E["C"].name, list(E.__members__)
        """,
    "flags": """
        class E(enum.Flag):
            A = enum.auto()
            B = enum.auto()
            @property
            def extra(self): return (E.A | E.B) ^ self
        """,
    "refers": """
        class E(enum.Enum):
            A = 1
            B = 2
            def __init__(self, number): self.others = {}
            @property
            def extra(self): return self.others
        E.A.others["next"] = E.B
        E.B.others["next"] = E.A
        """,
}


@pytest.mark.parametrize("kind", ENUMS)
def test_members_of_an_enum(run, kind):
    run(
        textwrap.dedent(ENUMS[kind])
        + textwrap.dedent("""
        check(lambda one: (one.name, one.extra, E(one.value) is one), list(E))
        check(lambda x: [one.extra for one in E], [1])
        with Pool(1) as pool:
            assert all(x is y for x, y in zip(parallel_map(lambda x: x, list(E)), E))
        """)
    )


def test_what_classes_have_for_instances_under_names_of_their_own(run):
    """To set `__name__` would be to give the class another one."""
    run("""
        class Timed:
            __mro__ = "no order"
            def __init__(self, func): self.func = func
            @property
            def __name__(self):
                "As it is called."
                return f"{Timed.prefix}{__class__.prefix}_{self.func.__name__}"
            @__name__.setter
            def __name__(self, name): self.func.__name__ = name
            prefix = "timed"
            def __call__(self, x):
                cls = type(self)
                return self.func(x), self.__name__, cls.__name__, vars(Timed)["__name__"].__doc__, self.__mro__

        class Renamed(Timed):
            __name__ = "renamed"

        class Meta(type): pass
        class Made(Timed, metaclass=Meta):
            @property
            def __name__(self): return super().__name__.upper()

        class Stands:
            @property
            def __class__(self): return int

        for cls in Timed, Renamed, Made:
            @cls
            def double(x): return 2 * x
            check(double, [1, 2])
            check(lambda x: (double(x), type(double) is cls), [1])
            with Pool(1) as pool:
                func, = parallel_map(lambda func: func, [double], executor=pool)
                assert type(func) is cls and func(1) == double(1)
        def set_name(timed):
            timed.__name__ = "another"
            return timed.__name__
        check(set_name, [Timed(lambda x: x)])
        check(lambda x: (isinstance(Stands(), int), type(Stands()) is Stands), [1])
        """)


def test_subclasses_are_made_without_a_word(run):
    run("""
        class Plugin:
            known = {}
            def __init_subclass__(cls, /, name):
                if name in Plugin.known: raise TypeError("twice")
                if not hasattr(cls, "go"): raise TypeError("it cannot go")
                Plugin.known[name] = cls
        class A(Plugin, name="a"):
            def go(self): return "A"
        class B(A, name="b"):
            def go(self): return super().go() + "B"
        check(lambda name: (Plugin.known[name]().go(), list(Plugin.known)), ["a", "b"])
        check(lambda x: (x.go(), type(x) is Plugin.known["b"]), [B(), B()])
        def more(x):
            class C(A, name=f"c{x}"): pass
            return sorted(Plugin.known)
        assert run_in_process(more, 1) == ["a", "b", "c1"]
        """)


@pytest.mark.parametrize("base", ["type", "abc.ABCMeta"])
def test_metaclasses_are_not_asked_again(run, base):
    run(f"""
        class Meta({base}):
            made = []
            def __new__(meta, name, bases, space, *, table=None):
                if bases and table is None: raise TypeError("no table")
                meta.made.append(name)
                return super().__new__(meta, name, bases, space)
            def __init__(cls, name, bases, space, *, table=None):
                super().__init__(name, bases, space)
                cls.fields = [key for key in space if key[0] != "_"]
                cls.table = table
        class Model(metaclass=Meta): pass
        class User(Model, table="users"):
            name = "x"
        check(lambda x: (x.fields, x.table, type(x).name, Meta.made, type(type(x)) is Meta), [User()])
        """)


@pytest.mark.parametrize("value", ["None", "{}", "[1]", "Other()"])
def test_what_an_initializer_has_set_in_a_class_stays(run, value):
    run(f"""
        class Other: pass
        class Config:
            held, level = {value}, 1
            def get(self): return self.held, self.level
        def init(): Config.held = "set"
        with Pool(1, initializer=init) as pool:
            for Config.level in 1, 2, 2, 1:
                expected = [("set", Config.level)]
                assert parallel_map(lambda x: Config().get(), [1], executor=pool) == expected
                assert parallel_map(Config.get, [Config()], executor=pool) == expected
            Config.held = "changed"
            assert parallel_map(lambda x: Config.held, [1], executor=pool) == ["changed"]
        """)


def test_a_cache_in_a_class_is_filled_once(run):
    run("""
        class Task:
            cache, loads = {}, 0
            def run(self):
                if not Task.cache:
                    Task.cache["model"] = object()
                    Task.loads += 1
                return Task.loads
        with Pool(1) as pool:
            assert parallel_map(Task.run, [Task() for _ in range(6)], executor=pool) == [1] * 6
            assert parallel_map(lambda x: Task().run(), range(6), executor=pool) == [1] * 6
        """)


def test_what_is_deleted_from_a_class_is_gone(run):
    run("""
        class Base:
            def who(self): return "base"
        class Derived(Base):
            limit = 3
            def who(self): return "derived"
        def func(x): return x.who(), getattr(Derived, "limit", None)
        with Pool(1) as pool:
            assert parallel_map(func, [Derived()], executor=pool) == [("derived", 3)]
            del Derived.who, Derived.limit
            assert parallel_map(func, [Derived()], executor=pool) == [("base", None)]
            Derived.who = lambda self: "again"
            assert parallel_map(func, [Derived()], executor=pool) == [("again", None)]
        """)


def test_a_class_that_holds_itself(run):
    run("""
        class Node:
            kinds = []
            def __init__(self, x): self.x = x
        Node.first, Node.table = Node(1), {"node": Node}
        Node.kinds.append(Node)
        check(lambda x: (Node.first.x, Node.kinds[0] is Node is Node.table["node"]), [1])
        check(lambda node: (type(node) is Node, node.first.x), [Node(2)])
        """)


def test_items_of_a_class_that_changes_between_calls(run):
    run("""
        class Item:
            level, table = 0, {}
            def get(self): return self.level, self.table.get("x")
        class Inner(enum.Enum):
            ONE = 1
        class Holder:
            def __init__(self, *held): self.held = held
        items = [Item()] * 3
        with Pool(1) as pool:
            for level in 1, 2, 1:
                Item.level, Item.table["x"] = level, level
                assert parallel_map(Item.get, items, executor=pool) == [(level, level)] * 3
                assert parallel_map(lambda x: Item.level, [1], executor=pool) == [level]
                Item.level = 5
                assert parallel_map(lambda x: Item.level, [1], executor=pool) == [5]
                Item.level = level
                assert parallel_map(lambda x: x.get(), items, executor=pool) == [(level, level)] * 3
            Item.get = lambda self: "other"
            assert parallel_map(lambda x: x.get(), items, executor=pool) == ["other"] * 3
            held = [Holder(Item(), Inner.ONE, Holder) for _ in range(3)]
            def look(x): return type(x) is x.held[2], x.held[0].get(), x.held[1] is Inner.ONE
            assert parallel_map(look, held, executor=pool) == [(True, "other", True)] * 3
            Item.large = bytearray(1 << 21)
            assert parallel_map(lambda x: len(x.large), items, executor=pool) == [1 << 21] * 3
        """)


def test_a_class_is_pickled_once_for_all_items(run):
    run("""
        import cloudpickle
        from parmap import _cloud
        class Item:
            def get(self): return 1
        reduced = []
        usual = cloudpickle.Pickler.reducer_override
        def counting(self, obj):
            if obj is Item: reduced.append(obj)
            return usual(self, obj)
        cloudpickle.Pickler.reducer_override = counting
        assert parallel_map(lambda x: x.get(), [Item() for _ in range(100)]) == [1] * 100
        assert len(reduced) < 5, len(reduced)
        """)


def test_a_class_that_adds_nothing(run):
    run("""
        class Base: version = 1
        class Derived(Base): version = 1
        check(lambda x: (x.version, x is Derived, x is Base), [Derived, Base])
        check(lambda x: x.version, [Derived(), Derived()])
        """)


def test_a_flag_with_names_for_several_bits_and_none(run):
    run("""
        class Access(enum.Flag):
            NONE, READ, WRITE = 0, 1, 2
            ALL = READ | WRITE
        check(lambda one: (one.name, one is Access.ALL, Access(3) is Access.ALL), [*Access, Access.ALL])
        check(lambda x: [Access.NONE.name, Access.ALL.name, list(Access.__members__)], [1])
        """)


def test_items_leave_the_globals_of_their_methods_alone(run):
    run("""
        cache, MISSING = {}, object()
        class Task:
            def run(self): return dict(cache), MISSING is default(1)
        def default(x, missing=MISSING): return missing
        def init(): cache["model"] = 1
        with Pool(1, initializer=init) as pool:
            for _ in range(2):
                assert parallel_map(Task.run, [Task(), Task()], executor=pool) == [({"model": 1}, True)] * 2
                assert parallel_map(lambda x: default(x) is MISSING, [1], executor=pool) == [True]
        """)


def test_items_whose_class_uses_what_has_changed_to_and_fro(run):
    run("""
        class Base: level = 0
        class Item(Base):
            def get(self): return n, self.level
        n = 0
        def look(x): return n, Base.level
        with Pool(1) as pool:
            for n in 1, 2, 1:
                Base.level = n
                assert parallel_map(Item.get, [Item()], executor=pool) == [(n, n)]
                n, Base.level = n + 10, n + 10
                assert parallel_map(look, [1], executor=pool) == [(n, n)]
                n, Base.level = n - 10, n - 10
                assert parallel_map(Item.get, [Item()], executor=pool) == [(n, n)]
        """)


@pytest.mark.parametrize("given", ["Config.missing", "[Config.missing][0]"])
def test_what_refers_to_an_attribute_of_a_class(run, given):
    run(f"""
        class Config:
            missing = object()
            def __init__(self): self.held = {given}
        def first(x, default={given}): return default is Config.missing
        def second(x, default={given}): return default is Config.missing, first(x)
        with Pool(1) as pool:
            for func in first, second, first, second:
                assert parallel_map(func, [1], executor=pool) == [func(1)]
                held = parallel_map(lambda x: x.held is Config.missing, [Config()] * 3, executor=pool)
                assert held == [True] * 3
        """)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("get.__defaults__ = 1,", "get.__defaults__ = 2,"),
        ("get = times(3)", "get = times(4)"),
        ("__tag__ = 1", "__tag__ = 2"),
        ("large = b'1' * 70_000", "large = b'2' * 70_000"),
        ("Inner = One", "Inner = Two"),
        ("shown = property(lambda self: 1)", "shown = property(lambda self: 2)"),
    ],
)
def test_details_that_change_to_and_fro(run, before, after):
    run(f"""
        def times(n): return lambda self, x=0: n
        class One: name = 1
        class Two: name = 2
        class Item:
            __tag__, large, Inner, shown = 0, b"", One, 0
            def get(self, x=0): return x
            def all(self, _=None):
                return self.get(), self.__tag__, self.large[:1], self.Inner.name, self.shown
        def func(x): return Item().all(x)
        with Pool(1) as pool:
            for change in {before!r}, {after!r}, {before!r}:
                exec(f"Item.{{change}}")
                assert parallel_map(func, [1], executor=pool) == [func(1)], change
                assert parallel_map(Item.all, [Item()], executor=pool) == [func(1)], change
        """)


def test_classes_of_many_calls_are_let_go(run):
    run("""
        import gc
        def number(x):
            gc.collect()
            return sum(1 for one in gc.get_objects() if type(one) is type and one.__name__ == "Local")
        def make():
            class Local:
                def __init__(self, x): self.x = x
                def get(self): return self.x
            return Local
        with Pool(1) as pool:
            for n in range(200):
                Local = make()
                assert parallel_map(lambda x: x.get(), [Local(n)], executor=pool) == [n]
            assert run_in_process(number, 1) == 0
            assert parallel_map(number, [1], executor=pool)[0] < 100
        """)
