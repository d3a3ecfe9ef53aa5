"""What users may rely on is written down once, and is what the modules give."""

import importlib
import inspect
import pkgutil
import re
from types import ModuleType

import nvr
from nvr import errors


def public_modules() -> list[ModuleType]:
    names = [
        found.name
        for found in pkgutil.walk_packages(nvr.__path__, "nvr.")
        # Migrations are run by Alembic, and imported by nobody.
        if not any(part.startswith("_") or part in ("v1", "migrations") for part in found.name.split("."))
    ]
    return [nvr, *(importlib.import_module(name) for name in names)]


def test_every_exported_name_exists() -> None:
    exporting = [module for module in public_modules() if hasattr(module, "__all__")]
    assert errors in exporting
    missing = [
        f"{module.__name__}.{name}"
        for module in exporting
        for name in module.__all__
        if not hasattr(module, name)
    ]
    assert not missing


def test_lists_of_exported_names_have_no_doubles() -> None:
    for module in public_modules():
        names = list(getattr(module, "__all__", []))
        assert len(names) == len(set(names)), module.__name__


def exception_classes() -> dict[str, type]:
    return {
        name: found
        for name, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, errors.NvrError)
    }


def test_all_errors_are_exported_and_each_has_its_own_reason() -> None:
    classes = exception_classes()
    assert set(classes) == set(errors.__all__)
    for name, found in classes.items():
        if found is not errors.NvrError:
            assert "reason" in vars(found) or name == "NaiveDatetime", name


def test_the_drawn_tree_of_errors_is_the_real_one() -> None:
    drawn: dict[str, tuple[str | None, str | None]] = {}
    ahead: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^([ │├└─]+)([A-Z]\w+)(?: \((\w+)\))?", line):
            depth, name, builtin = len(match[1]), match[2], match[3]
            while ahead and ahead[-1][0] >= depth:
                ahead.pop()
            drawn[name] = (ahead[-1][1] if ahead else None, builtin)
            ahead.append((depth, name))
    assert set(drawn) == set(exception_classes())
    for name, (parent, builtin) in drawn.items():
        bases = {base.__name__ for base in getattr(errors, name).__bases__}
        expected = {parent or "Exception"} | ({builtin} if builtin else set())
        assert bases == expected, name
