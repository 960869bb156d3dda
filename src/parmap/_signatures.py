"""What type checkers read about the public functions: type variables, options as typed dicts.

Nothing imports this at run time: `typing` costs more than the rest of `import parmap`. The options
are written out once more in the signatures of the functions, for `help()`; a test compares the two.
"""

from __future__ import annotations

from typing import Any, Literal, Required, TypeAlias, TypeVar

# Not `typing`'s: it shows the options of a TypedDict alike, whichever Python the checker runs on.
from typing_extensions import TypedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Executor
    from multiprocessing.pool import Pool

    from ._options import ProgressOption, StartMethod

    ExecutorOption: TypeAlias = (
        Literal["process", "thread", "interpreter", "serial"] | Executor | Pool
    )

R = TypeVar("R")

# The arguments of a function, as many as the overloads tell apart.
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

#: More arguments than the overloads tell apart, and no fewer: it would take what those refuse.
SixOrMore: TypeAlias = tuple[Any, Any, Any, Any, Any, Any, *tuple[Any, ...]]


class AnyMapOptions(TypedDict, total=False):
    """The options that all map functions have."""

    max_workers: int | None
    chunksize: int | None
    item_timeout: float | None
    retries: int
    retry_on: tuple[type[BaseException], ...]
    strict: bool
    progress: ProgressOption
    executor: ExecutorOption | None


class MapOptions(AnyMapOptions, total=False):
    """The options of `parallel_map` and `parallel_starmap`, but for `on_error`."""

    timeout: float | None


class MapRaising(MapOptions, total=False):
    """Those of a call that raises the first failure: the default."""

    on_error: Literal["raise"]


class MapReturning(MapOptions, total=False):
    """Those of a call whose failures stand in its list."""

    on_error: Required[Literal["return"]]


class ImapOptions(AnyMapOptions, total=False):
    """The options of `parallel_imap`, but for `on_error`."""

    ordered: bool
    buffersize: int | None


class ImapRaising(ImapOptions, total=False):
    """Those of a call that raises the first failure: the default."""

    on_error: Literal["raise"]


class ImapReturning(ImapOptions, total=False):
    """Those of a call that hands failures out."""

    on_error: Required[Literal["return"]]


class SpawnOptions(TypedDict, total=False):
    """The options of `spawn_each`, but for `on_error`."""

    limit: int | None
    timeout: float | None
    item_timeout: float | None
    strict: bool
    name: str | None
    start_method: StartMethod | None


class SpawnRaising(SpawnOptions, total=False):
    """Those of a call that raises the first failure: the default."""

    on_error: Literal["raise"]


class SpawnReturning(SpawnOptions, total=False):
    """Those of a call whose failures stand in its list."""

    on_error: Required[Literal["return"]]
