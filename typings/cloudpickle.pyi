# What we use of cloudpickle, which has no annotations of its own.
import pickle
from collections.abc import Callable
from typing import IO, Any

class Pickler(pickle.Pickler):
    def __init__(
        self,
        file: IO[bytes],
        protocol: int | None = None,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
    ) -> None: ...
    def reducer_override(self, obj: Any) -> Any: ...

def dumps(
    obj: object,
    protocol: int | None = None,
    buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
) -> bytes: ...
def register_pickle_by_value(module: object) -> None: ...

cloudpickle: Any  # the module in it, which is not public
