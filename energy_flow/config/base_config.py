"""The frozen base of a configuration: types checked on construction, exact JSON and YAML round trip."""

from __future__ import annotations

import codecs
import dataclasses
import difflib
import json
import math
import os
import threading
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class BaseConfig:
    """A frozen dataclass of plain values.

    Every field holds an int, float, bool, str, `Literal`, a tuple of these, or None. Values are checked
    against the annotations when the object is built; a subclass adds its own rules in `validate`.

    Raises:
        ValueError: a value has the wrong type or breaks a rule; the message names field, value and fix.
    """

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _checked(field.name, getattr(self, field.name), hints[field.name])
            object.__setattr__(self, field.name, value)
        self.validate()

    def validate(self) -> None:
        """Check the rules between fields; raises ValueError."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated anew."""
        refuse_unknown(type(self), changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON knows them: tuples become lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; fields that are left out keep their default."""
        refuse_unknown(cls, values)
        return cls(**values)

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return cls.from_dict(json.loads(text))

    def to_yaml(self) -> str:
        """The configuration as YAML text."""
        return _yaml().safe_dump(self.to_dict(), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """The inverse of `to_yaml`."""
        return cls.from_dict(_parse_yaml(text))

    def save(self, path: str | Path) -> None:
        """Write the configuration to a `.json`, `.yaml` or `.yml` file, whole or not at all."""
        path = Path(path)
        text = self.to_yaml() if _is_yaml(path) else self.to_json()
        beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp")
        try:
            beside.write_text(text, encoding="utf-8", newline="\n")
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a configuration that `save` wrote."""
        return cls.from_dict(read_fields(path, cls))


def read_fields(path: str | Path, config: type[BaseConfig]) -> dict[str, Any]:
    """Read the fields of a configuration that a `.json`, `.yaml` or `.yml` file sets.

    Raises:
        ValueError: no such file, another suffix, a text that is not a mapping, or a field that `config` does not
            know; names file and line.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give the path of a .json, .yaml or .yml configuration")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a .json, .yaml or .yml configuration")
    is_yaml = _is_yaml(path)
    text = _read_text(path)
    try:
        fields = _parse_yaml(text) if is_yaml else json.loads(text, object_pairs_hook=_once_each)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: is nested too deeply; give a mapping of field names to values") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: holds a {type(fields).__name__}; give a mapping of field names to values")
    hints = typing.get_type_hints(config)
    try:
        refuse_unknown(config, fields)
        for name, value in fields.items():
            if not (name == "features" and isinstance(value, str)):  # one word, as in version 0.1
                _checked(name, value, hints[name])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return fields


def _read_text(path: Path) -> str:
    """A text of any of the encodings that editors and shells write: UTF-8 with or without a byte order mark, UTF-16.

    Raises:
        ValueError: it is none of them, or it cannot be read; names the file.
    """
    try:
        content = path.read_bytes()
        encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not {error.encoding}; save the file as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); give a file that you may read") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of pairs, each name of which stands there once."""
    names = [name for name, _ in pairs]
    other = next((name for name in names if not isinstance(name, str)), None)
    if other is not None:
        raise ValueError(f"{other!r} is no name of a field; write names as texts")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]} stands there twice; leave one of them")
    return dict(pairs)


def _is_yaml(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in (".json", ".yaml", ".yml"):
        raise ValueError(f"{path}: the suffix is {path.suffix!r}; a configuration is a .json, .yaml or .yml file")
    return suffix != ".json"


def _yaml() -> types.ModuleType:
    try:
        import yaml
    except ImportError as error:
        raise ImportError("YAML configurations need PyYAML: pip install 'energy-flow[cli]'") from error
    return yaml


def _parse_yaml(text: str) -> Any:
    yaml = _yaml()

    class Loader(yaml.SafeLoader):
        """Refuses a name that stands there twice, where YAML would take the last."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            merged = "tag:yaml.org,2002:merge"
            _once_each([(self.construct_object(key, deep=True), None) for key, _ in node.value if key.tag != merged])
            return super().construct_mapping(node, deep=True)

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from error


def refuse_unknown(cls: type[BaseConfig], values: Iterable[str]) -> None:
    """Raise a ValueError that names the first of these names which is no field of `cls`, and the nearest that is."""
    known = [field.name for field in dataclasses.fields(cls)]
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(known)}"
            raise ValueError(f"{name}: no such field in {cls.__name__}; {hint}")


def _checked(name: str, value: Any, hint: Any) -> Any:
    """The value as the annotation wants it: lists become tuples, numbers of NumPy and whole ones what is asked for; all
    else must fit.
    """
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        matched, converted = _match(value, option)
        if matched:
            return converted
    expected = " or ".join(_describe(option) for option in options)
    raise ValueError(f"{name} = {value!r} ({type(value).__name__}); give {expected}")


def _match(value: Any, hint: Any) -> tuple[bool, Any]:
    value = value.item() if isinstance(value, np.generic) else value
    if hint is type(None):
        return value is None, None
    if typing.get_origin(hint) is typing.Literal:
        names = typing.get_args(hint)
        if type(value) is bool and {"on", "off"} <= {*names}:  # YAML reads on, off, yes and no as booleans
            value = "on" if value else "off"
        return type(value) is str and value in names, value
    if typing.get_origin(hint) is tuple:
        return _match_tuple(value, typing.get_args(hint))
    if hint is float:
        return _match_float(value)
    return type(value) is hint, value


def _match_tuple(value: Any, hints: tuple[Any, ...]) -> tuple[bool, Any]:
    if not isinstance(value, (list, tuple)):
        return False, value
    if hints[-1:] == (...,):
        hints = hints[:1] * len(value)
    if len(value) != len(hints):
        return False, value
    matches = [_match(item, hint) for item, hint in zip(value, hints, strict=True)]
    return all(matched for matched, _ in matches), tuple(converted for _, converted in matches)


def _match_float(value: Any) -> tuple[bool, Any]:
    if type(value) is str:  # YAML reads 1e-3 as text
        try:
            value = float(value)
        except ValueError:
            return False, value
    try:
        fits = type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        fits = False
    return fits, float(value) if fits else value


def _describe(hint: Any) -> str:
    if hint is type(None):
        return "null"
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return "a list of " + ", ".join(_describe(item) for item in typing.get_args(hint) if item is not ...)
    return {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}.get(hint, str(hint))
