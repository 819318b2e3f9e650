"""The layers of the package: imports go down only, and folders of one layer do not import each other."""

import ast
from pathlib import Path

import cryores_lite

ROOT = Path(cryores_lite.__file__).parent
LAYERS = (  # from top to bottom; docs/architecture.md draws them
    ("__main__",),
    ("cli",),
    ("batch", "integrations", "installation"),
    ("comparison",),
    ("console",),
    ("job",),
    ("outputs",),
    ("half_maps",),
    ("method", "figures", "io"),
    ("fourier", "resources"),
    ("types",),
    ("errors",),
)
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}


def imported(path):
    """Modules of the package that a file imports, at its top or within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cryores_lite":
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("cryores_lite."))


def module_of(name):
    """The file that holds an imported name: `cryores_lite.io.mrc.read_map` lies in `io.mrc`."""
    parts = name.split(".")[1:]
    while parts and not (ROOT.joinpath(*parts).with_suffix(".py").is_file() or ROOT.joinpath(*parts).is_dir()):
        parts.pop()
    return ".".join(parts)


def arrows():
    """(importing module, imported module), within the package."""
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in imported(path):
            if other := module_of(name):
                yield module, other


def test_every_module_belongs_to_a_layer():
    names = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")} - {"__init__"}
    assert names == set(DEPTH)


def test_the_root_of_the_package_stays_small():
    assert len([path for path in ROOT.iterdir() if path.is_file()]) <= 9


def test_imports_go_down_only():
    imports = [(module, other) for module, other in arrows() if module != "__init__"]
    assert len(imports) > 100
    for module, other in imports:
        above, below = module.split(".")[0], other.split(".")[0]
        assert above == below or DEPTH[above] < DEPTH[below], f"{module} imports {other}"


def test_imports_have_no_circles():
    graph = {}
    for module, other in arrows():
        graph.setdefault(module, set()).add(other)
    assert len(graph) > 50
    done, path = set(), []

    def walk(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for other in sorted(graph.get(module, ())):
            walk(other)
        done.add(path.pop())

    for module in sorted(graph):
        walk(module)
