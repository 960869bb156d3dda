"""What libraries need in their workers. Small: fresh interpreters import it."""

from __future__ import annotations

constant = None


def put(value):
    """Keep a constant: an initializer."""
    global constant  # noqa: PLW0603 - a worker serves one pool
    constant = value


def use(func, item):
    """Apply a function of two arguments to the constant and an item."""
    return func(constant, item)


def in_last_place(item, function, big):
    """Do the same where constants are passed by name."""
    return function(big, item)


def call(func, item):
    """Apply a function that came as an argument."""
    return func(item)


def each(func, items):
    """Map in the worker, for libraries without chunks."""
    return [func(item) for item in items]
