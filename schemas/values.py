"""Small classes of named values for the hook: what `dataclass` gives, without importing or compiling anything.

The decorator compiles several functions per class, and its module imports `inspect`: together a quarter of the hook's
whole cost, which is paid for each half of each iteration. To readers and type checkers these are dataclasses (PEP 681).
Fields have no factory for their defaults, so these are all unchangeable values. The functions of `dataclasses`
(`replace`, `asdict`) take no such class, whatever a type checker says; `vars` gives the fields.

Standard library only.
"""

from __future__ import annotations

from typing import Any, ClassVar, dataclass_transform


class _Fields:
    """Fields in the order in which a class and its bases name them, compared by class and values."""

    names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        """Collect the fields, which are what the class annotates."""
        own = [name for name in cls.__annotations__ if name not in cls.names]
        cls.names = (*cls.names, *own)

    def __init__(self, *given: Any, **named: Any) -> None:
        if len(given) > len(self.names):
            raise TypeError(f"{type(self).__name__} has {len(self.names)} fields, not {len(given)}")
        values = dict(zip(self.names, given, strict=False))
        if strange := [name for name in named if name in values or name not in self.names]:
            raise TypeError(f"{type(self).__name__} has no {strange}, or has them already")
        values.update(named)
        for name in self.names:
            if name not in values:
                if not hasattr(type(self), name):
                    raise TypeError(f"{type(self).__name__} needs '{name}'")
                values[name] = getattr(type(self), name)
        vars(self).update(values)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


@dataclass_transform(eq_default=True)
class Values(_Fields):
    """Named values that may be set anew."""

    __hash__ = None  # type: ignore[assignment]


@dataclass_transform(eq_default=True, frozen_default=True)
class FixedValues(_Fields):
    """Named values that stay as they are, and can be keys."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")
