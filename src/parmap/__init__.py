"""A parallel map for Python."""
TYPE_CHECKING = False
def __getattr__(name):
    if name == "parallel_map":
        from ._map import parallel_map
        return parallel_map
    if name == "shutdown":
        from ._stock import shutdown
        return shutdown
    raise AttributeError(name)
