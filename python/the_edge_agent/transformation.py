"""The output of a run, made from its final state by a schema of templates."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

__all__ = ["OutputSchema", "OutputSchemaField", "transform_output"]

logger = logging.getLogger("the_edge_agent.transformation")


class ValidationError(ValueError):
    """An output schema is malformed. Where pydantic is installed, its class of that name is raised."""


def _invalid(kind: str, name: str, value: Any, text: str) -> Exception:
    """The error for a member of a field mapping; `kind` is pydantic's name for what is wrong."""
    try:
        # Programs written for the reference catch pydantic's exception.
        pydantic = import_module("pydantic_core")
    except ImportError:
        return ValidationError(f"output_schema field: {name}: {text}")
    details = [{"type": kind, "loc": (name,), "input": value}]
    error: Exception = pydantic.ValidationError.from_exception_data("OutputSchemaField", details)
    return error


class OutputSchemaField:
    """An output value with a condition (`include_if`, an expression) and a default."""

    def __init__(self, **members: Any) -> None:
        for name in members:
            if name not in _MEMBERS:
                raise _invalid("extra_forbidden", str(name), members[name], "unknown key")
        if "value" not in members:
            raise _invalid("missing", "value", members, "is required")
        include_if = members.get("include_if")
        if include_if is not None and not isinstance(include_if, str):
            raise _invalid("string_type", "include_if", include_if, "must be a text")
        self.value: Any = members["value"]
        self.include_if: str | None = include_if
        self.default: Any = members.get("default")

    def model_dump(self) -> dict[str, Any]:
        """The members as a plain dict."""
        return {name: getattr(self, name) for name in _MEMBERS}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutputSchemaField) and self.model_dump() == other.model_dump()

    def __repr__(self) -> str:
        return f"OutputSchemaField({', '.join(f'{k}={v!r}' for k, v in self.model_dump().items())})"


_MEMBERS = ("value", "include_if", "default")


class OutputSchema:
    """The output's fields by name: field objects, or values taken as they are."""

    def __init__(self, fields: dict[str, Any] | None = None) -> None:
        self.fields: dict[str, Any] = fields if fields is not None else {}

    @classmethod
    def from_yaml(cls, config: Mapping[str, Any] | None) -> OutputSchema:
        """A schema from a mapping; an entry that has `value`, `include_if` or `default` is a field object."""
        if config is not None and not isinstance(config, Mapping):
            raise ValueError(f"Output schema must be a mapping of fields, got {type(config).__name__}")
        return cls(
            {
                name: OutputSchemaField(**{str(member): value for member, value in entry.items()})
                if isinstance(entry, dict) and any(member in entry for member in _MEMBERS)
                else entry
                for name, entry in (config or {}).items()
            }
        )

    def get_field_names(self) -> list[str]:
        """Names in order."""
        return list(self.fields)

    def is_conditional(self, name: str) -> bool:
        """Whether the field is a field object with a condition."""
        field = self.fields.get(name)
        return isinstance(field, OutputSchemaField) and bool(field.include_if)

    def has_default(self, name: str) -> bool:
        """Whether the field is a field object with a default."""
        field = self.fields.get(name)
        return isinstance(field, OutputSchemaField) and field.default is not None

    def model_dump(self) -> dict[str, Any]:
        """The schema as a plain dict."""
        return {
            "fields": {
                name: field.model_dump() if isinstance(field, OutputSchemaField) else field
                for name, field in self.fields.items()
            }
        }


def transform_output(state: dict[str, Any], schema: OutputSchema, jinja_env: Any) -> dict[str, Any]:
    """The output that `schema` describes.

    `jinja_env` is a Jinja2 environment or anything with its `from_string(text).render(**names)`; templates
    see `state` and `now()`. A field that fails is logged and left out, a template that fails gives `None`.
    """
    renderer = _Renderer(state, jinja_env)
    result: dict[str, Any] = {}
    for name, field in schema.fields.items():
        try:
            if not isinstance(field, OutputSchemaField):
                result[name] = renderer.value(field)
                continue
            if not renderer.included(field.include_if):
                continue
            value = renderer.value(field.value)
            if (value is None or value == "") and field.default is not None:
                value = field.default
            if value is not None:
                result[name] = value
        except Exception as e:
            logger.warning(f"Error processing output field '{name}': {e}")
    return result


class _Renderer:
    def __init__(self, state: dict[str, Any], environment: Any) -> None:
        self._names = {"state": state, "now": _now}
        self._environment = environment

    def _text(self, template: str) -> str:
        return str(self._environment.from_string(template).render(**self._names))

    def included(self, condition: str | None) -> bool:
        if not condition:
            return True
        try:
            text = self._text("{{ " + condition + " }}")
        except Exception as e:
            logger.warning(f"Error evaluating include_if '{condition}': {e}")
            return False
        return text.strip().lower() in ("true", "1", "yes", "on")

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.value(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self.value(member) for member in value]
        if not isinstance(value, str) or "{{" not in value or "}}" not in value:
            return value
        try:
            return _retype(self._text(value))
        except Exception as e:
            logger.warning(f"Error rendering output template '{value}': {e}")
            return None


def _now() -> str:
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat() + "Z"


def _retype(text: str) -> Any:
    """The value that a rendered text looks like; the text itself if it looks like nothing else."""
    bare = text.strip()
    if bare.startswith(("[", "{")) or bare in ("true", "false", "null"):
        try:
            return json.loads(bare)
        except ValueError:
            return text
    if bare == "None":
        return None
    for convert in (int, float) if bare.isdigit() else (float,):
        try:
            return convert(bare)
        except ValueError:
            continue
    return text
