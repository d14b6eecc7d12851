"""Arrows between the packages go one way, also for imports inside functions.

flows -> tasks -> {models, singalong.media} -> singalong.{contracts, errors, config}     review ->
singalong
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("singalong", "models", "tasks", "flows", "review")

ALLOWED = {
    "singalong": {"singalong"},
    "models": {"models", "singalong"},
    "tasks": {"tasks", "models", "singalong"},
    "flows": {"flows", "tasks", "models", "singalong", "review"},
    "review": {"review", "singalong"},
}
"""Which of our packages a package may import."""

ONLY_IN = {
    "prefect": ("flows.",),
    "ray": ("tasks.actors.",),
    "torch": ("models.", "tasks.", "flows.commands.doctor"),
    "typer": ("flows.",),
    "rich": ("flows.",),
    "fastapi": ("review.",),
    "uvicorn": ("review.", "flows.own_server."),  # the latter runs Prefect's
}
"""Third-party packages that are imported in one place only: modules by name or prefix."""

PLAIN = {"singalong.contracts", "singalong.errors", "singalong.config", "singalong.settings"}
"""What models may use of singalong."""
PLAIN_FILES = PLAIN | {"singalong.durable"}
"""What media may use of singalong besides itself: they also write files."""

Import = tuple[str, str, int]


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[str, int]]:
    """Every module a file imports, wherever in the file; `from package import module` gives the module
    too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            yield base, node.lineno
            yield from (
                (f"{base}.{alias.name}", node.lineno) for alias in node.names if is_module(f"{base}.{alias.name}")
            )
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((arg.value, node.lineno) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def all_imports() -> list[Import]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module, tree = module_name(path), ast.parse(path.read_text(encoding="utf-8"))
            names = imported(tree, module, is_package=path.name == "__init__.py")
            found += [(module, name, line) for name, line in names]
    return found


IMPORTS = all_imports()


def wrong(imports: list[Import]) -> list[str]:
    return sorted({f"{module}:{line} imports {name}" for module, name, line in imports})


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_every_package_is_looked_at() -> None:
    assert {module.split(".")[0] for module, _, _ in IMPORTS} >= {"singalong", "models", "tasks", "flows"}


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_between_packages_go_one_way(package: str) -> None:
    forbidden = set(PACKAGES) - ALLOWED[package]
    assert not wrong([found for found in IMPORTS if under(found[0], package) and found[1].split(".")[0] in forbidden])


@pytest.mark.parametrize("library", ONLY_IN)
def test_libraries_stay_where_they_belong(library: str) -> None:
    assert not wrong(
        [
            found
            for found in IMPORTS
            if under(found[1], library) and not any(f"{found[0]}.".startswith(place) for place in ONLY_IN[library])
        ]
    )


def test_models_use_only_the_contracts_of_singalong() -> None:
    assert not wrong(
        [
            found
            for found in IMPORTS
            if under(found[0], "models") and under(found[1], "singalong") and not _is_any(found[1], PLAIN)
        ]
    )


def test_media_use_only_the_contracts_of_singalong_and_themselves() -> None:
    assert not wrong(
        [
            found
            for found in IMPORTS
            if under(found[0], "singalong.media")
            and under(found[1], "singalong")
            and not under(found[1], "singalong.media")
            and not _is_any(found[1], PLAIN_FILES)
        ]
    )


def _is_any(name: str, allowed: set[str]) -> bool:
    return name == "singalong" or any(under(name, plain) for plain in allowed)


def test_contracts_errors_and_config_import_nothing_heavy() -> None:
    light = {"pydantic", "platformdirs", "singalong", *sys.stdlib_module_names}
    assert not wrong([found for found in IMPORTS if found[0] in PLAIN and found[1].split(".")[0] not in light])


def test_nothing_imports_the_tests() -> None:
    assert not wrong([found for found in IMPORTS if under(found[1], "tests")])


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f():\n    import torch.nn", ["torch.nn"]),
        ("from tasks import report", ["tasks", "tasks.report"]),
        ("if TYPE_CHECKING:\n    from ray import get", ["ray"]),
        ("from . import plan", ["singalong", "singalong.plan"]),
        ("from .plan import make_plan", ["singalong.plan"]),
        ("import importlib\nimportlib.import_module('prefect')", ["importlib", "prefect"]),
    ],
)
def test_no_way_of_importing_is_missed(source: str, names: list[str]) -> None:
    assert [name for name, _ in imported(ast.parse(source), "singalong.store", is_package=False)] == names
