"""What holds the repository together: packages, the arrows between them, and what may be imported where.

Each rule is shown to bite: a copy of the sources with one planted violation fails it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("qsmt", "qsmt_bitvector", "qsmt_milp")
HEAVY = (
    *("onnx", "z3", "pysmt", "bitwuzla", "cvc5", "highspy", "gurobipy", "pyscipopt"),
    *("h5py", "jinja2", "matplotlib"),
)
TOOLS = Path(sys.executable).parent


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# --- the folder named like a module of the standard library -----------------------------------------


def test_encodings_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "encodings" / "__init__.py").exists()
    done = run(sys.executable, "-c", "import encodings.utf_8 as u; print(u.__file__)", PYTHONPATH=".")
    assert done.returncode == 0, done.stderr
    assert ROOT not in Path(done.stdout.strip()).parents


def test_an_init_file_in_encodings_would_break_the_interpreter(tmp_path: Path) -> None:
    (tmp_path / "encodings").mkdir()
    (tmp_path / "encodings" / "__init__.py").touch()
    assert run(sys.executable, "-c", "pass", cwd=tmp_path, PYTHONPATH=".").returncode != 0


# --- what is shipped ----------------------------------------------------------------------------------


def test_the_wheel_holds_the_three_packages_and_nothing_else(tmp_path: Path) -> None:
    builder: WheelBuilder = WheelBuilder(str(ROOT))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    assert "qsmt/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)


def test_every_package_that_is_shipped_is_a_package() -> None:
    shipped = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {Path(p).name for p in shipped} == set(PACKAGES)
    assert [p for p in shipped if not (ROOT / p / "__init__.py").is_file()] == []


def test_the_license_is_the_one_that_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


# --- the pinned versions --------------------------------------------------------------------------------


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    parts = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in parts}


def requirements(name: str) -> list[str]:
    """What a distribution requires; nothing is known of one that is not installed, such as a solver."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def needed(name: str, extras: frozenset[str], found: set[str]) -> set[str]:
    """Every distribution that `name` needs on this platform."""
    for requirement in map(Requirement, requirements(name)):
        wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        if wanted and canonicalize_name(requirement.name) not in found:
            found.add(canonicalize_name(requirement.name))
            needed(requirement.name, frozenset(requirement.extras), found)
    return found


def test_every_dependency_is_pinned_to_one_version() -> None:
    assert needed("qsmt", frozenset({"dev"}), set()) - set(pins()) == set()


def test_the_pins_are_versions_that_the_project_accepts() -> None:
    project = PYPROJECT["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), requirement


def test_the_pins_name_no_place() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [x for x in lines if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", x)] == []


# --- what is imported -------------------------------------------------------------------------------------


def loaded_by(statement: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after `statement`."""
    listing = f"{statement}; import sys; print(*({set(HEAVY)!r} & set(sys.modules)))"
    done = run(sys.executable, "-c", listing)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["qsmt", "qsmt.cli.main", "qsmt_bitvector", "qsmt_milp"])
def test_heavy_libraries_are_loaded_only_where_they_are_used(module: str) -> None:
    assert loaded_by(f"import {module}") == set()


def test_a_heavy_import_is_seen() -> None:
    assert loaded_by("import highspy") == {"highspy"}


# --- the arrows between the packages -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their import contracts, side by side in a folder of their own."""
    folder = tmp_path_factory.mktemp("sources")
    for package in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(
            ROOT / package, folder / Path(package).name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(str(TOOLS / "lint-imports"), "--no-cache", cwd=folder, PYTHONPATH=str(folder))


def test_imports_follow_the_arrows() -> None:
    done = run(str(TOOLS / "lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout


AGAINST_THE_ARROWS = {
    "arithmetic reads the IR": ("qsmt/arith/fixed.py", "import qsmt.ir.ops"),
    "the core knows an encoding": ("qsmt/problem.py", "import qsmt_milp"),
    "the core knows a solver": ("qsmt/engine/check.py", "import z3"),
    "an encoding reads the analysis": ("qsmt_milp/encoding.py", "import qsmt.interp.replay"),
    "an encoding knows the other": ("qsmt_milp/encoding.py", "import qsmt_bitvector"),
}


@pytest.mark.parametrize("plant", AGAINST_THE_ARROWS.values(), ids=AGAINST_THE_ARROWS)
def test_an_import_against_the_arrows_is_refused(copy: Path, plant: tuple[str, str]) -> None:
    target, statement = copy / plant[0], plant[1]
    original = target.read_text(encoding="utf-8")
    target.write_text(f"{original}\n{statement}\n", encoding="utf-8")
    try:
        done = lint(copy)
    finally:
        target.write_text(original, encoding="utf-8")
    assert done.returncode == 1 and "BROKEN" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("library", [*HEAVY, "typer", "rich"])
def test_a_library_outside_its_room_is_refused(library: str) -> None:
    command = [str(TOOLS / "ruff"), "check", "--select=TID251", "--stdin-filename=qsmt/engine/plan.py", "-"]
    done = subprocess.run(
        command, input=f"import {library}\n", cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "TID251" in done.stdout


# --- what the text says ---------------------------------------------------------------------------------------

GENERATED = {".git", ".venv", "__pycache__", "build", "dist", "results"}
MACHINE = re.compile(r"(?<![\w.~-])/(?:work|home|root|Users|opt|tmp)/[\w.]")


def texts() -> Iterator[tuple[str, str]]:
    """Path and text of every file of the repository that is text."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            f for f in folders if f not in GENERATED and not re.fullmatch(r"\..*(cache|hypothesis)", f)
        ]
        for path in (Path(folder) / name for name in files if name not in GENERATED):
            try:
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def machine_paths(documents: Mapping[str, str]) -> list[str]:
    return [
        f"{name}:{i}: {line.strip()}"
        for name, text in documents.items()
        for i, line in enumerate(text.splitlines(), start=1)
        if MACHINE.search(line)
    ]


def test_no_text_names_a_path_of_somebodys_machine() -> None:
    documents = dict(texts())
    assert {"Makefile", "pyproject.toml", "tests/test_layout.py"} <= set(documents)
    assert machine_paths(documents) == []


def test_a_path_of_somebodys_machine_is_seen() -> None:
    planted = {"a": "see " + "/home" + "/me/x", "b": "qsmt/home/x ../root/y"}
    assert [found.split(":")[0] for found in machine_paths(planted)] == ["a"]
