"""The import order, the limits on files and functions, and lightness of `import`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "atomate2_alpot"
STAGES = {"structures", "select", "label", "train", "validate", "dataset", "report"}
LEVELS: dict[str, int] = {
    "units": 0,
    "settings": 0,
    "schemas": 1,
    "potentials": 2,
    "uncertainty": 2,
    "testing": 3,
    **dict.fromkeys(STAGES, 4),
    "flows": 5,
    "campaign": 6,
    "cli": 7,
}
ENGINES = {"jobflow", "atomate2", "fireworks"}
ENGINE_FILES = {"jobs.py", "makers.py"}
ENGINE_EXCEPTIONS: dict[str, str] = {
    "label/presets.py": "makes LabelMakers around atomate2's Makers",
    "potentials/ase.py": "looks up atomate2's force fields by name",
    "dataset/stores.py": "makes JobStores",
    "dataset/labels.py": "reads a JobStore",
    "dataset/campaigns.py": "reads a JobStore",
    "report/gather.py": "reads a JobStore",
}
IMPORT_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("potentials", "testing"): "the registry names the toy backend; it is imported on use",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SRC.rglob("*.py")):
        yield str(path.relative_to(SRC)), ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def package_of(path: str) -> str:
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def import_violations(path: str, tree: ast.Module) -> list[str]:
    here, found = package_of(path), []
    if here == "__init__":
        return []
    for name in imported(tree):
        parts = name.split(".")
        if parts[0] != "atomate2_alpot" or len(parts) < 2 or parts[1] == here:
            continue
        there = parts[1]
        if LEVELS[there] >= LEVELS[here]:
            found.append(f"{path} imports {name}: {here} must not know {there}")
    return found


def engine_violations(path: str, tree: ast.Module) -> list[str]:
    free = LEVELS.get(package_of(path), 9) >= LEVELS["flows"]
    if free or Path(path).name in ENGINE_FILES or path in ENGINE_EXCEPTIONS:
        return []
    used = {n.split(".")[0] for n in imported(tree)} & ENGINES
    return [f"{path} imports {sorted(used)}: keep it in jobs.py or makers.py"] if used else []


def size_violations(path: str, source: str, tree: ast.Module) -> list[str]:
    found = []
    if len(source.splitlines()) > 300:
        found.append(f"{path}: {len(source.splitlines())} lines")
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        if lines > 40:
            found.append(f"{path}:{node.lineno} {node.name}: {lines} lines")
        arguments = [a for a in node.args.args if a.arg not in ("self", "cls")]
        commands = path.startswith("cli/main")  # options of a command are its arguments
        if len(arguments) + len(node.args.kwonlyargs) > 7 and not commands:
            found.append(f"{path}:{node.lineno} {node.name}: {len(arguments)} arguments")
    return found


@pytest.mark.parametrize(
    ("path", "tree"), list(modules()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_module_keeps_the_rules(path, tree):
    source = (SRC / path).read_text()
    assert import_violations(path, tree) == []
    assert engine_violations(path, tree) == []
    assert size_violations(path, source, tree) == []
    assert Path(path).name != "utils.py"


def test_packages_have_no_import_cycle():
    edges: dict[str, set[str]] = {}
    for path, tree in modules():
        here = "atomate2_alpot." + path.removesuffix(".py").replace("/", ".").removesuffix(
            ".__init__"
        )
        top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = imported(ast.Module(body=list(top), type_ignores=[]))
        edges[here] = {n for n in names if n.startswith("atomate2_alpot.")}
    state: dict[str, int] = {}

    def visit(node: str, trail: tuple[str, ...]) -> None:
        assert node not in trail, f"cycle: {' -> '.join((*trail, node))}"
        if state.get(node):
            return
        for other in edges.get(node, ()):
            if other != node and not node.startswith(other + "."):
                visit(other, (*trail, node))
        state[node] = 1

    for node in edges:
        visit(node, ())


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_is_light():
    code = (
        "import sys, atomate2_alpot; "
        "print([m for m in ('torch', 'jobflow', 'pymatgen', 'pyarrow') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "package",
    ["schemas", "structures", "potentials", "select", "label", "train", "flows", "cli.main"],
)
def test_importing_a_stage_loads_no_model_library(package):
    code = (
        f"import sys, atomate2_alpot.{package}; "
        "print([m for m in ('torch', 'mace', 'chgnet', 'matgl', 'sklearn') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("path", "source", "check"),
    [
        ("structures/a.py", "from atomate2_alpot.select import x", import_violations),
        ("potentials/a.py", "from atomate2_alpot.uncertainty import x", import_violations),
        ("schemas/a.py", "def f():\n    from atomate2_alpot.flows import x", import_violations),
        ("train/a.py", "from jobflow import job", engine_violations),
    ],
)
def test_the_checks_catch_planted_violations(path, source, check):
    assert check(path, ast.parse(source))


def test_the_size_check_catches_planted_violations():
    long = "def f():\n" + "    x = 1\n" * 41
    wide = "def g(a, b, c, d, e, f, g, h):\n    pass\n"
    source = long + wide + "\n" * 300
    assert len(size_violations("train/a.py", source, ast.parse(source))) == 3
