"""The import order, the limits on files and functions, and lightness of `import`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = "atomate2_alpot"
SRC = Path(__file__).parents[1] / "src" / ROOT
STAGES = {"structures", "select", "label", "train", "validate", "dataset", "report"}
LEVELS: dict[str, int] = {
    "units": 0,
    "settings": 0,
    "redact": 0,
    "schemas": 1,
    "taskdocs": 2,
    "uncertainty": 2,
    "potentials": 3,
    "testing": 4,
    **dict.fromkeys(STAGES, 5),
    "flows": 6,
    "campaign": 7,
    "cli": 8,
}
INSIDE_A_STAGE: dict[str, int] = {"jobs": 1, "makers": 2}
ENGINES = {"jobflow", "atomate2", "fireworks"}
ENGINE_EXCEPTIONS: dict[str, str] = {
    "label/presets.py": "makes LabelMakers around atomate2's Makers",
    "label/vasp.py": "Makers made of atomate2's",
    "label/gpaw.py": "likewise",
    "label/isolated.py": "likewise",
    "label/engine.py": "runs a Maker's flow inside a label job",
    "label/row.py": "the type of a field",
    "potentials/ase.py": "looks up atomate2's force fields by name",
    "dataset/stores.py": "makes JobStores",
    "dataset/labels.py": "reads a JobStore",
    "dataset/outputs.py": "writes to a JobStore",
    "dataset/campaigns.py": "reads a JobStore",
    "report/gather.py": "reads a JobStore",
}
IMPORT_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("potentials/base.py", "testing"): "the registry names the toy backend, imported on use",
    ("label/presets.py", "label.makers"): "a preset is a Maker with its fields filled in",
    ("label/isolated.py", "label.makers"): "turns one labeller into another",
    ("label/jobs.py", "label.makers"): "the type of an argument, not imported when it runs",
    ("structures/jobs.py", "structures.makers"): "likewise",
}
KEYWORD_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("dataset/query.py", "query"): "build_criteria reads them and refuses unknown ones",
    ("dataset/query.py", "iter_frames"): "likewise",
    ("dataset/blobs.py", "groupby"): "maggma's signature; it always raises",
    ("potentials/chgnet.py", "_run"): "two callers in the class spell them out",
}
MAX_LINES, MAX_BODY, MAX_ARGUMENTS = 300, 40, 7
MODULE_STRING = re.compile(rf"{ROOT}(\.\w+)+(:\w+)?")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[tuple[str, str]]:
    return [(p.relative_to(SRC).as_posix(), p.read_text()) for p in sorted(SRC.rglob("*.py"))]


def dotted(path: str) -> str:
    """`select/makers.py` -> `select.makers`; a package's `__init__` is the package."""
    return path.removesuffix(".py").replace("/", ".").removesuffix("__init__").rstrip(".")


MODULES = {dotted(path) for path, _ in sources()}


def package_of(path: str) -> str:
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def from_targets(path: str, node: ast.ImportFrom) -> Iterator[str]:
    """Yield what `from x import y` names, absolute: `x.y` where that is a module, else `x`."""
    base = node.module or ""
    if node.level:
        here = [ROOT, *path.split("/")[:-1]]
        base = ".".join([*here[: len(here) - node.level + 1], *([base] if base else [])])
    for alias in node.names:
        inner = f"{base}.{alias.name}".removeprefix(f"{ROOT}.")
        yield f"{ROOT}.{inner}" if base.startswith(ROOT) and inner in MODULES else base


def imports(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield every module named: by a statement anywhere, or by a string as registries do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from from_targets(path, node)
        elif isinstance(node, ast.Constant) and MODULE_STRING.fullmatch(str(node.value)):
            yield str(node.value).split(":")[0]


def own_imports(path: str, tree: ast.AST) -> set[str]:
    names = {n for n in imports(path, tree) if n.split(".")[0] == ROOT}
    return {n.removeprefix(ROOT).lstrip(".") for n in names}


def import_violations(path: str, tree: ast.AST) -> list[str]:
    here, found = package_of(path), []
    if here == "__init__":
        return []
    for name in sorted(own_imports(path, tree)):
        there = name.split(".")[0]
        if (path, there) in IMPORT_EXCEPTIONS or (path, name) in IMPORT_EXCEPTIONS:
            continue
        if not there:
            found.append(
                f"{path} imports the package itself: import from where the name is defined"
            )
        elif there not in LEVELS or here not in LEVELS:
            found.append(f"{path} imports {name}: give {there} and {here} a level in LEVELS")
        elif there != here and LEVELS[there] >= LEVELS[here]:
            found.append(f"{path} imports {name}: {here} must not know {there}")
        elif there == here and here in STAGES and not path.endswith("__init__.py"):
            ranks = [INSIDE_A_STAGE.get(d.split(".")[1], 0) for d in (dotted(path), f"{name}.")]
            if ranks[1] > ranks[0]:
                found.append(f"{path} imports {name}: the order is modules, jobs, makers")
    return found


def engine_violations(path: str, tree: ast.AST) -> list[str]:
    free = LEVELS.get(package_of(path), 9) >= LEVELS["flows"]
    if free or Path(path).name in ("jobs.py", "makers.py") or path in ENGINE_EXCEPTIONS:
        return []
    used = {n.split(".")[0] for n in imports(path, tree)} & ENGINES
    return [f"{path} imports {sorted(used)}: keep it in jobs.py or makers.py"] if used else []


def size_violations(path: str, source: str) -> list[str]:
    lines, found = len(source.splitlines()), []
    if lines > MAX_LINES:
        found.append(f"{path}: {lines} lines")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, Function):
            continue
        body = node.body[1:] if ast.get_docstring(node) else node.body
        length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        if length > MAX_BODY:
            found.append(f"{path}:{node.lineno} {node.name}: {length} lines")
        a = node.args
        names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
        n_arguments = len([n for n in names if n not in ("self", "cls")])
        commands = path.startswith("cli/main")  # options of a command are its arguments
        if n_arguments > MAX_ARGUMENTS and not commands:
            found.append(f"{path}:{node.lineno} {node.name}: {n_arguments} arguments")
    return found


def blind_keywords(path: str, tree: ast.AST) -> list[str]:
    """Find functions that hand `**kwargs` on without ever reading them."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, Function) or node.args.kwarg is None:
            continue
        if (path, node.name) in KEYWORD_EXCEPTIONS:
            continue
        name = node.args.kwarg.arg
        inside = [n for statement in node.body for n in ast.walk(statement)]
        uses = [n for n in inside if isinstance(n, ast.Name) and n.id == name]
        passed = [
            k.value
            for n in inside
            if isinstance(n, ast.Call)
            for k in n.keywords
            if k.arg is None and isinstance(k.value, ast.Name) and k.value.id == name
        ]
        if len(uses) == len(passed):
            found.append(f"{path}:{node.lineno} {node.name} never reads **{name}")
    return found


@pytest.mark.parametrize(("path", "source"), sources(), ids=[path for path, _ in sources()])
def test_module_keeps_the_rules(path, source):
    tree = ast.parse(source)
    assert import_violations(path, tree) == []
    assert engine_violations(path, tree) == []
    assert size_violations(path, source) == []
    assert blind_keywords(path, tree) == []
    assert Path(path).stem not in ("utils", "helpers", "misc")


def test_exceptions_are_still_needed():
    trees = {path: ast.parse(source) for path, source in sources()}
    for path in ENGINE_EXCEPTIONS:
        assert {n.split(".")[0] for n in imports(path, trees[path])} & ENGINES, path
    for path, name in IMPORT_EXCEPTIONS:
        used = own_imports(path, trees[path])
        assert any(n == name or n.startswith(name + ".") for n in used), (path, name)
    for path, name in KEYWORD_EXCEPTIONS:
        assert re.search(rf"def {name}\(.*\*\*", ast.unparse(trees[path])), (path, name)


def find_cycle(edges: dict[str, set[str]]) -> list[str]:
    """Return one cycle of a graph, or nothing."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node not in done:
            for other in sorted(edges.get(node, ())):
                if cycle := visit(other, [*trail, node]):
                    return cycle
            done.add(node)
        return []

    return next((cycle for node in edges if (cycle := visit(node, []))), [])


def test_modules_have_no_import_cycle():
    edges = {}
    for path, source in sources():
        body = [n for n in ast.parse(source).body if isinstance(n, ast.Import | ast.ImportFrom)]
        targets = own_imports(path, ast.Module(body=body, type_ignores=[]))
        here = dotted(path)
        edges[here] = {t for t in targets if t != here and not here.startswith(t + ".")}
    assert find_cycle(edges) == []


def loaded_by(statement: str, modules: tuple[str, ...]) -> str:
    code = f"import sys\n{statement}\nprint(*[m for m in {modules} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_is_light():
    assert loaded_by(f"import {ROOT}", ("torch", "jobflow", "pymatgen", "pyarrow", "ase")) == ""


@pytest.mark.parametrize("package", [*sorted(set(LEVELS) - {"testing", "cli"}), "cli.main"])
def test_importing_a_stage_loads_no_model_library(package):
    heavy = ("torch", "mace", "chgnet", "matgl", "sklearn", "matplotlib.pyplot")
    assert loaded_by(f"import {ROOT}.{package}", heavy) == ""


@pytest.mark.parametrize(
    ("path", "source", "check"),
    [
        ("structures/a.py", "from atomate2_alpot.select import x", import_violations),
        ("structures/a.py", "from atomate2_alpot import select", import_violations),
        ("structures/a.py", "from ..select import x", import_violations),
        ("structures/a.py", "from .. import select", import_violations),
        ("structures/a.py", "import atomate2_alpot.select.direct as d", import_violations),
        ("structures/a.py", "from atomate2_alpot import Committee", import_violations),
        (
            "structures/a.py",
            "LATER = 'atomate2_alpot.select.direct:direct_sample'",
            import_violations,
        ),
        ("uncertainty/a.py", "from atomate2_alpot.potentials import x", import_violations),
        ("schemas/a.py", "def f():\n    from atomate2_alpot.flows import x", import_violations),
        ("train/splits.py", "from atomate2_alpot.train.jobs import x", import_violations),
        ("train/jobs.py", "from atomate2_alpot.train import makers", import_violations),
        ("newcomer/a.py", "from atomate2_alpot.schemas import x", import_violations),
        ("train/a.py", "from jobflow import job", engine_violations),
        ("train/a.py", "def f():\n    import atomate2.vasp.jobs", engine_violations),
        ("train/a.py", "def f(a, **kwargs):\n    return g(a, **kwargs)", blind_keywords),
    ],
)
def test_the_checks_catch_planted_violations(path, source, check):
    assert len(check(path, ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("path", "source", "check"),
    [
        ("train/makers.py", "from atomate2_alpot.train.jobs import x", import_violations),
        ("train/__init__.py", "from atomate2_alpot.train.makers import x", import_violations),
        ("flows/a.py", "from atomate2_alpot.select import x", import_violations),
        ("train/jobs.py", "from jobflow import job", engine_violations),
        ("train/a.py", "def f(**kwargs):\n    return sorted(kwargs)", blind_keywords),
    ],
)
def test_the_checks_let_pass_what_is_right(path, source, check):
    assert check(path, ast.parse(source)) == []


def test_the_size_check_catches_planted_violations():
    long = "def f():\n" + "    x = 1\n" * 41
    wide = "def g(a, b, c, d, /, e, f, *, g, h):\n    pass\n"
    assert len(size_violations("train/a.py", long + wide + "\n" * 300)) == 3


def test_the_cycle_check_catches_a_planted_cycle():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
