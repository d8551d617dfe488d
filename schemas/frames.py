"""Typed frames: what each message must hold, checked where it comes in, and how it is written where it goes out.

The other side of a socket may be another user's process or another version, so nothing is taken on trust: a field that
is missing, of a wrong type or out of range refuses the frame with one sentence; keys that are not known are passed
over. Which frames there are is said in `messages`, `requests` and `worker_messages`; this module knows none of them.

Standard library only. To readers and type checkers the classes are frozen dataclasses (PEP 681). They are made without
the decorator, which compiles several functions per class: that would add a fifth to the start of every hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar, dataclass_transform

from . import fields
from .codes import Code
from .errors import InputInvalid
from .fields import REQUIRED, Complaint, FieldRule
from .wire import Message


class FrameInvalid(InputInvalid):
    """What came is no frame of the family: of an unknown type (code `rejected`), or with a field that is not right."""

    def __init__(self, text: str, code: Code = Code.INPUT_INVALID) -> None:
        super().__init__(text)
        self.code = code


@dataclass_transform(
    kw_only_default=True,
    frozen_default=True,
    eq_default=True,
    field_specifiers=(
        fields.text,
        fields.line,
        fields.document,
        fields.choice,
        fields.count,
        fields.whole,
        fields.number,
        fields.fraction,
        fields.figure,
        fields.flag,
        fields.code,
        fields.table,
        fields.texts,
        fields.checked,
        fields.record,
        fields.records,
    ),
)
class Record:
    """Typed fields, each declared as `name: type = rule`; unchangeable, compared by class and values."""

    rules: ClassVar[dict[str, FieldRule]] = {}

    def __init_subclass__(cls) -> None:
        """Collect the rules of the class and take them off it, so that an unset field has no value."""
        own = {name: rule for name, rule in vars(cls).items() if isinstance(rule, FieldRule)}
        for name in own:
            delattr(cls, name)
        cls.rules = {**cls.rules, **own}

    def __init__(self, **values: Any) -> None:
        for name, rule in self.rules.items():
            if name not in values:
                if rule.default is REQUIRED:
                    raise TypeError(f"{type(self).__name__} needs '{name}'")
                values[name] = rule.default.copy() if isinstance(rule.default, dict) else rule.default
        if unknown := values.keys() - self.rules.keys():
            raise TypeError(f"{type(self).__name__} has no {sorted(unknown)}")
        vars(self).update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]  # tables among the fields have no hash

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.rules)})"

    @classmethod
    def read(cls, values: Mapping[str, object], where: str) -> Self:
        """Make one out of a JSON object; `where` is what the object is called in errors.

        Raises
        ------
        FrameInvalid
            If a field is missing, of a wrong type or out of range.
        """
        try:
            return cls(**cls.read_fields(values))
        except Complaint as complaint:
            raise FrameInvalid(f"{where}: {complaint}") from None

    @classmethod
    def read_fields(cls, values: Mapping[str, object]) -> dict[str, Any]:
        """The fields out of a JSON object, checked; unknown keys are passed over."""
        found: dict[str, Any] = {}
        for name, rule in cls.rules.items():
            value = values.get(name)
            if value is not None:
                found[name] = rule.read(name, value)
            elif rule.default is REQUIRED:
                raise Complaint(f"'{name}' is missing")
        if (complaint := cls.disagreement(found)) is not None:
            raise Complaint(complaint)
        return found

    @classmethod
    def disagreement(cls, found: Mapping[str, Any]) -> str | None:
        """What is wrong with fields that are right one by one, or None."""
        del found
        return None

    def as_values(self) -> Message:
        """The fields as JSON values."""
        values: Message = {}
        for name, rule in self.rules.items():
            value = getattr(self, name)
            if value is not None or not rule.omitted:
                values[name] = value if rule.write is None else rule.write(value)
        return values


class TypedFrame(Record):
    """A message of one type.

    Attributes
    ----------
    type
        The word on the wire.
    """

    type: ClassVar[str]

    def as_message(self) -> Message:
        """The JSON object that travels."""
        return {"type": self.type, **self.as_values()}


F = TypeVar("F", bound=TypedFrame)


class Family(Generic[F]):
    """The frames that one side may send to another.

    Parameters
    ----------
    refusal
        What is said of a type that is none of them, with `{}` for its word.
    frames
        Their classes.
    """

    def __init__(self, refusal: str, *frames: type[F]) -> None:
        self._refusal = refusal
        self.frames: dict[str, type[F]] = {frame.type: frame for frame in frames}

    def knows(self, message: Message) -> bool:
        """Whether a message is of a type of this family."""
        return _type_of(message) in self.frames

    def decode(self, message: Message) -> F:
        """Turn a JSON object into its frame.

        Raises
        ------
        FrameInvalid
            If it is of no type of this family (code `rejected`), or a field is not right; names frame and field.
        """
        kind = _type_of(message)
        frame = self.frames.get(kind)
        if frame is None:
            raise FrameInvalid(self._refusal.format(kind[:64]), Code.REJECTED)
        return frame.read(message, kind)


def _type_of(message: Message) -> str:
    kind = message.get("type")
    return kind if isinstance(kind, str) else ""
