"""A function of words that calls Python and NumPy through the process's table."""

from __future__ import annotations

from tracejit.runtime.calls.assembler import Function, Row, Word
from tracejit.runtime.calls.layout import API, PLAN, SIGNATURES


class Code(Function):
    """A function that knows the process's table, which is its first parameter."""

    api = "%api"

    def c(self, name: str, *arguments: Word | int) -> Word:
        """Call a function of Python or NumPy."""
        return self.call_address(self.thing(name), SIGNATURES[name], *arguments)

    def thing(self, name: str) -> Word:
        return self.load(self.api, API.offset(name))

    def row(self, address: Word) -> Row:
        return Row(self, PLAN, address)

    def drop(self, address: Word) -> None:
        self.c("Py_DecRef", address)
