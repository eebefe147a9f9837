"""Key templates: ``layers.{i}.downsample.{leaf}``, read as a pattern and written as a name.

A field is a whole number or one word. A number may be a linear expression of a variable, so that
``features.{2i+1}`` stands for the odd entries only and ``stages.{i+1}`` for the next stage.
"""

import re
from dataclasses import dataclass
from functools import cached_property

Binding = dict[str, int | str]

# {i}, {2i}, {i+1}, {2i-1}: one letter is a number; {leaf}, {rest}: longer names are words.
_FIELD = re.compile(r"\{(?P<times>\d*)(?P<name>[a-z]+)(?P<plus>[+-]\d+)?\}")


@dataclass(frozen=True)
class _Field:
    name: str
    times: int
    plus: int

    @property
    def is_number(self) -> bool:
        return len(self.name) == 1

    @property
    def pattern(self) -> str:
        if self.is_number:
            return r"([0-9]{1,6})"
        return r"(.+)" if self.name == "rest" else r"([^.]+)"

    def solve(self, text: str) -> int | str | None:
        """Return the variable's value where the field reads ``text``, or None if there is none."""
        if not self.is_number:
            return text
        value, remainder = divmod(int(text) - self.plus, self.times)
        return value if remainder == 0 and value >= 0 else None

    def write(self, binding: Binding) -> str:
        value = binding[self.name]
        return str(self.times * value + self.plus) if isinstance(value, int) else value


@dataclass(frozen=True)
class Template:
    """One key, with fields.

    Args:
        text: ``layers.{i}.blocks.{j}.{leaf}``; ``{rest}`` also matches dots.
    """

    text: str

    @cached_property
    def _fields(self) -> list[_Field]:
        return [
            _Field(m["name"], int(m["times"] or 1), int(m["plus"] or 0))
            for m in _FIELD.finditer(self.text)
        ]

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        literals = _FIELD.split(self.text)[:: _FIELD.groups + 1]
        parts = [re.escape(literals[0])]
        for entry, literal in zip(self._fields, literals[1:], strict=True):
            parts += [entry.pattern, re.escape(literal)]
        return re.compile("".join(parts))

    def match(self, key: str) -> Binding | None:
        """Return the variables' values under which the template reads ``key``, or None."""
        found = self._regex.fullmatch(key)
        if found is None:
            return None
        binding: Binding = {}
        for entry, text in zip(self._fields, found.groups(), strict=True):
            value = entry.solve(text)
            if value is None or binding.setdefault(entry.name, value) != value:
                return None
        return binding

    def fill(self, binding: Binding) -> str:
        """Return the key for the variables' values."""
        values = iter(self._fields)
        return _FIELD.sub(lambda _: next(values).write(binding), self.text)
