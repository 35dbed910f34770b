"""Checking and converting a run's input by a schema."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["InputSchema", "InputSchemaField", "ValidationError", "ValidationErrorDetail", "validate_input"]


class ValidationErrorDetail:
    """One thing that is wrong with an input. `field` is a path such as `a.b[0].c`."""

    def __init__(
        self,
        field: str,
        error: str,
        message: str,
        value: Any = None,
        constraint: Any = None,
        expected: Any = None,
    ) -> None:
        self.field = field
        self.error = error
        self.message = message
        self.value = value
        self.constraint = constraint
        self.expected = expected

    def to_dict(self) -> dict[str, Any]:
        """The members that are not `None`."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def __repr__(self) -> str:
        return f"ValidationErrorDetail(field={self.field!r}, error={self.error!r}, message={self.message!r})"


class ValidationError(Exception):
    """An input does not fit its schema; `errors` lists everything that is wrong."""

    def __init__(self, errors: list[ValidationErrorDetail]) -> None:
        super().__init__(f"Validation failed: {len(errors)} error(s)")
        self.errors = errors

    def to_dict(self) -> dict[str, Any]:
        """`{"success": False, "errors": [...]}`."""
        return {"success": False, "errors": [error.to_dict() for error in self.errors]}

    def __repr__(self) -> str:
        return f"ValidationError({len(self.errors)} errors)"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.errors,))


class InputSchemaField:
    """What a value must be: a type (`str`, `int`, `float`, `bool`, `list`, `dict`) and limits.

    Lengths count for texts only, `min` and `max` for numbers only. `properties` describes the members of a
    dict, `items` the elements of a list. Raises `ValueError` for a schema that makes no sense.
    """

    def __init__(
        self,
        type: str,
        required: bool = False,
        default: Any = None,
        min_length: int | None = None,
        max_length: int | None = None,
        pattern: str | None = None,
        min: float | None = None,
        max: float | None = None,
        choices: list[Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        items: Any = None,
    ) -> None:
        if not isinstance(type, str) or type not in _CONVERTERS:
            raise ValueError(f"Invalid type '{type}'. Must be one of: {', '.join(_CONVERTERS)}")
        if properties is not None and not isinstance(properties, Mapping):
            raise ValueError(f"properties must be a mapping, got {builtins.type(properties).__name__}")
        self.type = type
        self.required = required
        self.default = default
        self.min_length = min_length
        self.max_length = max_length
        self.pattern = pattern
        self.min = min
        self.max = max
        self.choices = choices
        self.properties: dict[str, InputSchemaField] | None = (
            None
            if properties is None
            else {
                name: _field(config, f"Invalid property config for '{name}'")
                for name, config in properties.items()
            }
        )
        self.items: InputSchemaField | None = None if items is None else _field(items, "Invalid items config")

    def to_dict(self) -> dict[str, Any]:
        """The members that are set, as a field mapping."""
        result: dict[str, Any] = {"type": self.type}
        if self.required:
            result["required"] = True
        for name in ("default", "min_length", "max_length", "pattern", "min", "max", "choices"):
            if getattr(self, name) is not None:
                result[name] = getattr(self, name)
        if self.properties is not None:
            result["properties"] = {name: field.to_dict() for name, field in self.properties.items()}
        if self.items is not None:
            result["items"] = self.items.to_dict()
        return result

    def __repr__(self) -> str:
        return f"InputSchemaField({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"


def _field(config: Any, complaint: str) -> InputSchemaField:
    if isinstance(config, InputSchemaField):
        return config
    if isinstance(config, Mapping):
        return InputSchemaField(**config)
    raise ValueError(f"{complaint}: must be dict or InputSchemaField")


class InputSchema:
    """The fields of an input, by name."""

    def __init__(self, fields: dict[str, InputSchemaField]) -> None:
        self.fields = fields

    @classmethod
    def from_yaml(cls, config: Mapping[str, Any]) -> InputSchema:
        """A schema from a mapping of names to field mappings. Raises `ValueError` or `TypeError`."""
        if not isinstance(config, Mapping):
            raise ValueError(f"Input schema must be a mapping of fields, got {type(config).__name__}")
        return cls(
            {name: _field(field, f"Invalid schema config for '{name}'") for name, field in config.items()}
        )

    def to_dict(self) -> dict[str, Any]:
        """The schema as a mapping for `from_yaml`."""
        return {name: field.to_dict() for name, field in self.fields.items()}

    def __repr__(self) -> str:
        return f"InputSchema({self.fields!r})"


def validate_input(data: Mapping[str, Any] | None, schema: InputSchema) -> dict[str, Any]:
    """The fields of `schema` taken from `data`, converted and with defaults; other keys are dropped.

    Raises `ValidationError` that lists everything wrong, in field order, and `TypeError` if `data` is
    neither a mapping nor `None`.
    """
    fields = schema.fields
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise TypeError(f"Input must be a mapping, got {type(data).__name__}")
    checker = _Checker()
    result = checker.members(data, fields, "")
    if checker.errors:
        raise ValidationError(checker.errors)
    return result


class _Checker:
    """One pass over an input; collects what is wrong."""

    def __init__(self) -> None:
        self.errors: list[ValidationErrorDetail] = []

    def _report(self, path: str, error: str, text: str, **members: Any) -> None:
        self.errors.append(ValidationErrorDetail(path, error, f"Field '{path}' {text}", **members))

    def members(
        self, data: Mapping[str, Any], fields: dict[str, InputSchemaField], prefix: str
    ) -> dict[str, Any]:
        result = {}
        for name, field in fields.items():
            value = self.value(data.get(name), field, f"{prefix}{name}")
            if value is not None:
                result[name] = value
        return result

    def value(self, value: Any, field: InputSchemaField, path: str) -> Any:
        """The converted value; `None` if there is none, and after an error that stops the check."""
        if value is None:
            if field.required:
                self._report(path, "required", "is required")
                return None
            return field.default
        try:
            value = _CONVERTERS[field.type](value)
        except (ValueError, TypeError, OverflowError):
            self._report(path, "type", f"must be {field.type}", value=value, expected=field.type)
            return None
        if field.type == "str":
            self._check_text(value, field, path)
        elif field.type in ("int", "float"):
            if field.min is not None and value < field.min:
                self._report(path, "min", f"must be at least {field.min}", value=value, constraint=field.min)
            if field.max is not None and value > field.max:
                self._report(path, "max", f"must be at most {field.max}", value=value, constraint=field.max)
        if field.choices is not None and value not in field.choices:
            choices = field.choices
            self._report(path, "choices", f"must be one of: {choices}", value=value, constraint=choices)
        if field.type == "dict" and field.properties is not None:
            rest = {k: v for k, v in value.items() if k not in field.properties}
            return {**self.members(value, field.properties, f"{path}."), **rest}
        if field.type == "list" and field.items is not None:
            return [self.value(element, field.items, f"{path}[{i}]") for i, element in enumerate(value)]
        return value

    def _check_text(self, value: str, field: InputSchemaField, path: str) -> None:
        shortest, longest, pattern = field.min_length, field.max_length, field.pattern
        if shortest is not None and len(value) < shortest:
            text = f"must have at least {shortest} character(s)"
            self._report(path, "min_length", text, value=value, constraint=shortest)
        if longest is not None and len(value) > longest:
            text = f"must have at most {longest} character(s)"
            self._report(path, "max_length", text, value=value, constraint=longest)
        if pattern is None:
            return
        try:
            matched = re.match(pattern, value)
        except re.error as e:
            message = f"Invalid regex pattern for '{path}': {e}"
            self.errors.append(ValidationErrorDetail(path, "pattern", message, constraint=pattern))
            return
        if not matched:
            self._report(path, "pattern", f"must match pattern: {pattern}", value=value, constraint=pattern)


# A value of the right type passes unchanged (True is an int, too); a ValueError, TypeError or OverflowError
# says that the value cannot be converted.


def _to_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return str(value)
    raise TypeError


def _to_int(value: Any) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, str) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise TypeError


def _to_float(value: Any) -> float:
    if isinstance(value, (int, float, str)):
        return value if isinstance(value, float) else float(value)
    raise TypeError


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUTH:
        return _TRUTH[value.lower()]
    raise TypeError


_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _to_list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise TypeError


def _to_dict(value: Any) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    raise TypeError


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "str": _to_str,
    "int": _to_int,
    "float": _to_float,
    "bool": _to_bool,
    "list": _to_list,
    "dict": _to_dict,
}
