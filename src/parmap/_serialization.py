"""`SerializationError`, apart from the other exceptions because of what its base costs to import."""

from __future__ import annotations

from _pickle import PicklingError  # `pickle` offers the same class, and costs twice the import

from ._errors import ParmapError


class SerializationError(ParmapError, PicklingError):
    """Something that cannot travel between processes; says what, where it sits, and the way out."""

    __module__ = "parmap"
