"""Who may import whom: the picture in docs/development.md, held here. Arrows go one way only."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "emo_cli"
TREE = Path(__file__).parents[1] / "docs" / "development.md"

# A file or folder of the package, and the others that it may know. Inside a folder all may know each other,
# but for networks, whose files stand here one by one; "" is the package itself, for its version.
ALLOWED = {
    "errors": "",
    "ahead": "",
    "outlook": "",
    "orphans": "",
    "stored": "errors",
    "family": "errors",
    "clips": "family",
    "device": "errors",
    "catalogue": "errors",
    "weights": "errors family catalogue",
    "hub": "errors catalogue weights",
    "download": "errors catalogue weights hub",
    "provenance": "footage",
    "credentials": "errors provenance scratch",
    "scratch": "errors",
    "tape": "scratch",
    "sound": "errors stored tape",
    "ffmpeg": "errors scratch",
    "pipes": "errors",
    "tracks": "ffmpeg",
    "face": "errors",
    "encoders": "ffmpeg",
    "footage": "errors ffmpeg",
    "video": "errors encoders ffmpeg footage pipes scratch tracks",
    "speech": "errors ffmpeg sound scratch tape video",
    "photo": "errors",
    "portrait": "errors face photo",
    "identity": "errors face",
    "hallo_masks": "errors face networks regions",
    "regions": "errors face",
    "landmark_images": "errors face tape",
    "networks.reuse": "",
    "networks.attention": "networks.reuse",
    "networks.audio": "networks.attention",
    "networks.blocks": "stored",
    "networks.codec": "device stored portrait networks.blocks",
    "networks.temporal": "networks.attention networks.reuse",
    "networks.conditions": "stored",
    "networks.head": "networks.attention networks.temporal",
    "networks.resnet": "networks.reuse",
    "networks.unet": "stored networks.attention networks.audio networks.temporal networks.head networks.resnet "
    "networks.reuse",
    "chart": "stored face portrait networks.codec",
    "sampling": "networks chart",
    "quality": "family networks.reuse",
    "segments": "errors device family clips networks chart sampling quality tape",
    "loading": "errors device checkpoints networks pipeline segments weights",
    "unfinished": "errors clips footage video networks segments",
    "pipeline": "errors ahead device family clips stored sound portrait speech networks chart segments tape "
    "hallo_masks identity regions landmark_images",
    "checkpoints": "errors family weights stored sound networks pipeline identity",
    "animate": "errors family tape device weights download pipes provenance credentials footage video sound portrait "
    "speech networks segments unfinished outlook loading pipeline quality checkpoints face landmark_images regions",
    "batch": "errors device orphans pipes scratch footage video weights download loading animate unfinished",
    "bench": "errors device weights video portrait speech segments pipeline quality checkpoints loading animate",
    "evaluation": "errors device weights footage photo face speech sound tape identity checkpoints",
    "inspection": "errors family device weights clips portrait speech face checkpoints loading animate sound scratch",
    "dataset": "errors scratch device orphans ffmpeg weights sound speech footage video face",
    "doctor": "errors device ffmpeg catalogue weights",
    "training": "errors scratch sound tape family device ffmpeg stored face speech footage video networks chart "
    "sampling segments pipeline checkpoints dataset hallo_masks landmark_images regions weights",
    "cli": "errors animate batch bench checkpoints catalogue credentials dataset doctor download evaluation "
    "inspection provenance training weights",
}  # fmt: skip


@cache
def _modules() -> list[str]:
    files = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(file.parts) for file in files)


@cache
def _imported(module: str) -> set[str]:
    """The package's own modules that one imports, anywhere in the file, without the leading emo_cli."""
    path = PACKAGE / (module.replace(".", "/") + ".py")
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    own = {name.removeprefix("emo_cli.") for name in names if name.startswith("emo_cli.")}
    return {_module_of(name) for name in own} - {module}


def _module_of(name: str) -> str:
    """The file that a dotted name stands in: `errors.EmoError` is in errors, `__version__` in the package."""
    parts = name.split(".")
    while parts and not (PACKAGE.joinpath(*parts).with_suffix(".py")).is_file():
        if PACKAGE.joinpath(*parts).is_dir():
            return ".".join([*parts, "__init__"])
        parts.pop()
    return ".".join(parts) or "__init__"


def _group(module: str) -> str:
    """The row of the table that a module stands in."""
    return module if module in ALLOWED else module.split(".")[0]


def _permitted(importer: str, imported: str) -> bool:
    row = ALLOWED[_group(importer)].split()
    same_folder = _group(importer) == _group(imported) and "." in importer
    return same_folder or imported == "__init__" or imported in row or imported.split(".")[0] in row


INNER = [module for module in _modules() if module.split(".")[-1] not in ("__init__", "__main__")]


@pytest.mark.parametrize("module", INNER)
def test_a_file_imports_only_what_the_table_allows(module: str) -> None:
    assert _group(module) in ALLOWED, f"{module} stands in no row of the table"
    wrong = sorted(name for name in _imported(module) if not _permitted(module, name))
    assert not wrong, f"{module} may not import {wrong}"


def test_no_file_imports_itself_through_others() -> None:
    graph = {module: _imported(module) for module in _modules()}
    list(TopologicalSorter(graph).static_order())


def test_the_table_names_only_what_exists() -> None:
    known = {*_modules(), *(module.split(".")[0] for module in _modules())}
    assert set(ALLOWED) <= known
    assert {name for row in ALLOWED.values() for name in row.split()} <= known


def test_the_table_allows_nothing_that_no_file_needs() -> None:
    needed = {(_group(module), name) for module in _modules() for name in _imported(module)}
    needed |= {(row, name.split(".")[0]) for row, name in needed}
    assert not {(row, name) for row, names in ALLOWED.items() for name in names.split()} - needed


def test_the_tree_in_the_documentation_names_every_file() -> None:
    words = re.findall(r"\w+", TREE.read_text(encoding="utf-8").split("## The tree")[1].split("## Who may")[0])
    assert not {module for module in INNER if module.split(".")[-1] not in words and not module.startswith("cli.")}


@pytest.mark.parametrize(
    "arguments",
    (
        "--help",
        "--version",
        "animate --help",
        "batch --help",
        "train --help",
        "dataset synthesise --help",
        "dataset prepare --help",
        "evaluate --help",
        "weights list",
    ),
)
def test_help_and_version_load_nothing_heavy(arguments: str) -> None:
    code = (
        "import atexit, sys\n"
        "heavy = ('torch', 'diffusers', 'transformers', 'numpy', 'PIL', 'soundfile')\n"
        "atexit.register(lambda: print('LOADED', [name for name in heavy if name in sys.modules]))\n"
        f"sys.argv = ['emo', *{arguments.split()!r}]\n"
        "from emo_cli.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stdout


def test_the_package_gives_its_public_names_only_when_asked() -> None:
    code = (
        "import sys, emo_cli\n"
        "assert 'torch' not in sys.modules\n"
        "assert emo_cli.EmoError is __import__('emo_cli.errors').errors.EmoError\n"
        "assert 'torch' not in sys.modules\n"
        "try: emo_cli.Nothing\n"
        "except AttributeError: print('good')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "good\n", done.stderr


def test_every_public_name_can_be_loaded() -> None:
    import emo_cli

    for name in emo_cli.__all__:
        assert getattr(emo_cli, name) is not None
