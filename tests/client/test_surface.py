"""The public surface: its names, the two twins side by side, what is loaded when."""

import inspect
import re
import subprocess
import sys

import pytest

import nvr
import nvr.client
from tests.support.processes import REPOSITORY

_TWINS = [
    (nvr.AsyncNetwork, nvr.Network),
    (nvr.AsyncCamera, nvr.Camera),
    (nvr.AsyncClip, nvr.Clip),
    (nvr.AsyncStream, nvr.Stream),
    (nvr.client.AsyncLive, nvr.client.Live),
]
_RENAMED = {"aclose": "close", "__aiter__": "__iter__", "__anext__": "__next__"}
_RENAMED |= {"__aenter__": "__enter__", "__aexit__": "__exit__"}


def _methods(kind: type) -> dict[str, inspect.Signature]:
    found = {}
    for name, member in inspect.getmembers(kind):
        if name in _RENAMED or (not name.startswith("_") and callable(member)):
            found[_RENAMED.get(name, name)] = inspect.signature(member)
    return found


@pytest.mark.parametrize(("asynchronous", "sync"), _TWINS)
def test_twins_have_the_same_surface(asynchronous: type, sync: type) -> None:
    first, second = _methods(asynchronous), _methods(sync)
    ours = {name for name in vars(sync) if not name.startswith("_") and callable(getattr(sync, name))}
    assert ours <= set(first), "the sync twin has more"
    assert {name for name in first if not name.startswith("__")} <= set(second), "the sync twin lacks some"
    for name, signature in first.items():
        if name in second:
            assert signature.parameters == second[name].parameters, f"{sync.__name__}.{name}"
    properties = {name for name, member in inspect.getmembers(asynchronous) if isinstance(member, property)}
    assert properties == {name for name, member in inspect.getmembers(sync) if isinstance(member, property)}


def test_both_ways_in_take_the_same() -> None:
    assert inspect.signature(nvr.connect).parameters == inspect.signature(nvr.connect_async).parameters


def test_names_of_the_package() -> None:
    assert sorted(nvr.__all__) == nvr.__all__
    assert set(nvr.__all__) == {*nvr.client.__all__, "NvrError", "errors"}
    assert set(nvr.__all__) <= set(dir(nvr))
    for name in nvr.__all__:
        assert getattr(nvr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = nvr.nonsense


def test_names_are_documented() -> None:
    text = (REPOSITORY / "docs" / "client.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:nvr\.)?([A-Za-z_]+)", text))
    assert set(nvr.__all__) <= named


@pytest.mark.parametrize("module", ["nvr", "nvr.client"])
def test_heavy_modules_are_loaded_only_when_needed(module: str) -> None:
    heavy = ("numpy", "av", "grpc", "rich", "pydantic")
    code = f"import sys, {module}; print(' '.join(m for m in {heavy} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_public_functions_say_what_they_do() -> None:
    for name in nvr.client.__all__:
        thing = getattr(nvr.client, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for method, member in inspect.getmembers(thing, inspect.isfunction):
                if not method.startswith("_") and member.__module__.startswith("nvr."):
                    assert member.__doc__, f"{name}.{method}"
