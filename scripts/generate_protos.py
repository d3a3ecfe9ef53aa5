"""Writes the Python code of ``protos/`` to ``python/nvr/v1``; ``--check`` only compares.

The generated code is committed, so that building and installing needs no
protocol compiler. It is locked to the versions of grpcio-tools and
mypy-protobuf in the dev group: run this after a change there, too.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUTPUT = ROOT / "python"
PACKAGE = Path("nvr/v1")

INIT = '"""Generated from ``protos/nvr/v1`` by ``scripts/generate_protos.py``: do not edit."""\n'


def sources() -> list[str]:
    """Proto files by their import path, in a fixed order."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in (PROTOS / PACKAGE).glob("*.proto"))


def has_service(source: str) -> bool:
    """True when the file declares a service (only then is there gRPC code worth keeping)."""
    return re.search(r"^service\s", (PROTOS / source).read_text(encoding="utf-8"), re.MULTILINE) is not None


def protoc(arguments: list[str]) -> None:
    """Runs the compiler of grpcio-tools with the plugins of this environment."""
    scripts = Path(sys.executable).parent
    plugins = [f"--plugin={name}={scripts / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *plugins, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the protocol compiler failed:\n{done.stderr}{done.stdout}")


def generate(target: Path) -> None:
    """Writes all generated files below ``target``."""
    files = sources()
    if not files:
        sys.exit(f"no proto files under {PROTOS / PACKAGE}")
    protoc([f"--python_out={target}", f"--mypy_out=quiet:{target}", *files])
    services = [name for name in files if has_service(name)]
    protoc([f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet,only_async:{target}", *services])
    (target / PACKAGE / "__init__.py").write_text(INIT, encoding="utf-8")


def contents(base: Path) -> dict[str, bytes]:
    """The generated files below ``base`` by relative path."""
    found = (base / PACKAGE).glob("*.py*")
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in found if path.is_file()}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the code has drifted")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh_base = Path(folder)
        generate(fresh_base)
        fresh, present = contents(fresh_base), contents(OUTPUT)
        drift = sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))
        if check:
            if drift:
                listed = "\n".join(f"  python/{name}" for name in drift)
                sys.exit(
                    f"generated code differs from protos/:\n{listed}\n"
                    f"run `{Path(sys.executable).name} scripts/generate_protos.py` and commit what it writes"
                )
            print(f"{len(fresh)} generated files match protos/")
            return
        for name in present.keys() - fresh.keys():
            (OUTPUT / name).unlink()
        for name, data in fresh.items():
            target = OUTPUT / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        print(f"wrote {len(fresh)} files below python/{PACKAGE}, {len(drift)} of them changed")


if __name__ == "__main__":
    main()
