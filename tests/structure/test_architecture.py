"""The shape of the repository: who may know whom, how long a file gets, what may not stand in it.

Imports between Python packages are checked by import-linter (pyproject.toml).
"""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAX_LINES = 800
SOURCE_SUFFIXES = {".py", ".pyi", ".rs", ".proto", ".sh"}
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")

# The crates below stand on nothing that knows Python or a network.
CORE = "nvr-core"
NOT_BELOW_CORE = re.compile(r"^(pyo3.*|numpy|tokio.*|mio|socket2|retina|hyper|reqwest|tonic|rustls|quinn)$")
# Which of our own crates each one may use, directly or not.
MAY_USE: dict[str, set[str]] = {
    "nvr-core": set(),
    "nvr-ingest": {"nvr-core"},
    "nvr-rtsp": set(),
    "nvr-rtsp-out": {"nvr-core", "nvr-rtsp"},
    "nvr-camera-sim": {"nvr-rtsp"},
    "nvr-fanout": set(),
    "nvr-fuzz": {"nvr-core", "nvr-ingest", "nvr-rtsp", "nvr-fanout"},
    "nvr-py": {"nvr-core", "nvr-ingest", "nvr-rtsp", "nvr-rtsp-out", "nvr-camera-sim", "nvr-fanout"},
}

# Paths and names of one machine. A repository that holds them works nowhere else.
OF_A_MACHINE = re.compile(
    r"/(?:home|Users)/[a-z]|/root/|(?<![\w.])/work/|[A-Z]:\\Users\\|\b(?:localhost\.localdomain)\b"
)


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def crates_below(crate: str) -> set[str]:
    """All crates that a crate's normal build on this machine uses, directly or not, and itself."""
    shown = subprocess.run(
        f"cargo tree --package {crate} --edges normal,build --prefix none --format {{p}} --locked".split(),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return {line.split()[0] for line in shown.stdout.splitlines() if line}


def test_the_core_knows_neither_python_nor_a_network() -> None:
    assert not sorted(name for name in crates_below(CORE) if NOT_BELOW_CORE.match(name))


def test_the_pattern_of_networks_and_python_would_match() -> None:
    found = {name for name in crates_below("nvr-py") if NOT_BELOW_CORE.match(name)}
    assert {"pyo3", "tokio", "retina"} <= found


def test_every_crate_of_ours_is_in_the_graph() -> None:
    assert {path.parent.name for path in ROOT.glob("rust/*/Cargo.toml")} == set(MAY_USE)


@pytest.mark.parametrize("crate", MAY_USE)
def test_crates_of_ours_use_one_another_downwards_only(crate: str) -> None:
    assert crates_below(crate) & set(MAY_USE) <= MAY_USE[crate] | {crate}


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


# import-linter does not see an extension module.
@pytest.mark.parametrize("package", ["footage", "client", "catalog", "security"])
def test_the_rust_core_is_used_by_nodes_only(package: str) -> None:
    sources = list((ROOT / "python/nvr" / package).rglob("*.py"))
    assert sources
    assert not [str(path) for path in sources if "nvr._core" in imported_modules(path)]


def test_imports_of_the_rust_core_are_seen(tmp_path: Path) -> None:
    for line in ("import nvr._core", "from nvr import _core", "from nvr._core import Store"):
        (tmp_path / "x.py").write_text(line)
        assert "nvr._core" in imported_modules(tmp_path / "x.py")


def test_no_source_file_is_too_long() -> None:
    sources = [
        path for path in tracked_files() if path.suffix in SOURCE_SUFFIXES and not GENERATED.search(path.name)
    ]
    assert sources
    long = {str(path.relative_to(ROOT)): lines for path in sources if (lines := line_count(path)) > MAX_LINES}
    assert not long, "a file does one thing: split these"


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_nothing_in_the_repository_is_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {match.group()}"
            for number, line in enumerate(text.splitlines(), 1)
            if (match := OF_A_MACHINE.search(line))
        ]
    assert not found


@pytest.mark.parametrize(
    ("line", "matches"),
    [
        ("cd /home/somebody/nvr", True),
        ("path = '/root/x'", True),
        ("see /work/main", True),
        ("GET /api/work/items", False),
        ("benches/work/x", False),
        ("https://example.org/work/", False),
    ],
)
def test_what_counts_as_of_one_machine(line: str, matches: bool) -> None:
    assert bool(OF_A_MACHINE.search(line)) == matches


def test_no_second_copy_of_the_h264_parser() -> None:
    lock = (ROOT / "Cargo.lock").read_text()
    assert len(re.findall(r'^name = "h264-reader"$', lock, re.MULTILINE)) == 1


def test_one_version_of_the_project() -> None:
    """That of the newest entry of the changelog, for Python, Rust and each of our crates."""
    changed = re.findall(r"^## (\S+) – ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    packages = re.findall(
        r'^name = "(nvr-[a-z-]+)"\nversion = "(.*)"$', (ROOT / "Cargo.lock").read_text(), re.MULTILINE
    )
    found = dict(packages)
    assert found.keys() == MAY_USE.keys()
    for name in ("pyproject.toml", "Cargo.toml"):
        version = re.search(r'^version = "(.*)"$', (ROOT / name).read_text(), re.MULTILINE)
        assert version is not None
        found[name] = version[1]
    assert set(found.values()) == {changed[0]}, found
