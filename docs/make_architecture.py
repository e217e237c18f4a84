"""Draws docs/architecture.svg: the rooms, and the arrows between them that the imports make.

    python docs/make_architecture.py

The arrows are read from the imports. An arrow is left out where a longer way implies it (a
transitive reduction), so that every dependency can still be followed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import grimp
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmarks", "chifoumi_jax", "parity", "reference")
# Each room, row by row, and what it is for. A room may use those below it.
LIBRARY = (
    {"cli": "main() and its exit codes"},
    {"commands": "one command a file"},
    {
        "export": "ONNX, StableHLO, Keras …",
        "play": "the game in the browser",
        "reports": "metrics, comparisons, a page",
    },
    {"prediction": "load(run): answers, heat maps", "systems": "the study's small systems"},
    {"training": "fit(recipe): steps, checkpoints, runs"},
    {"data": "folder → pixels → batches"},
    {"hands": "rendered hands", "recipes": "frozen configurations"},
    {"backbones": "networks by name: build, weights, explain"},
    {"convert": "weights of other frameworks, checked"},
    {"models": "Flax NNX modules"},
    {"ops": "fast operations: C++, Pallas, XLA"},
)
PROOFS = (
    {"report": "table, JSON, page", "rungs": "the ladder, one rung a file"},
    {"faults": "faults planted on purpose"},
    {"systems": "each port with its originals"},
    {"originals": "Keras, PyTorch, 2018", "port": "compare(): anyone's port"},
    {
        "case": "a port: inputs, sizes",
        "original": "what an original offers",
        "system_case": "the same, small systems",
    },
    {"candidate": "a port in replaceable parts"},
    {"comparison": "arrays compared: errors, first difference"},
)
INK, PAPER, LINE = "#1f2933", "#eef3f8", "#8aa2b8"


def main() -> None:
    """Draw both packages side by side."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)
    figure = Figure(figsize=(13, 9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    for axes, package, rows, title in (
        (left, "chifoumi_jax", LIBRARY, "chifoumi_jax"),
        (right, "parity", PROOFS, "parity, which uses chifoumi_jax and reference"),
    ):
        axes.set_title(title, loc="left", color=INK, weight="bold")
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(-len(LIBRARY) + 0.5, 0.5)
        draw(axes, rows, imports(graph, package, [name for row in rows for name in row]))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "architecture"}):
        figure.savefig(ROOT / "docs" / "architecture.svg", metadata={"Date": None})


def draw(axes: Axes, rows: Sequence[Mapping[str, str]], edges: set[tuple[str, str]]) -> None:
    """Draw rooms row by row, with the arrows between them that no longer way implies."""
    centres = {}
    for number, row in enumerate(rows):
        for column, (name, purpose) in enumerate(row.items()):
            x, y = (column + 0.5) / len(row), -number
            centres[name] = x, y
            _box(axes, x, y, min(0.94 / len(row), 0.56), name, purpose)
    for importer, imported in reduced(edges):
        axes.add_patch(_arrow(centres[importer], centres[imported]))


def _box(axes: Axes, x: float, y: float, width: float, name: str, purpose: str) -> None:
    shape = "round,pad=0,rounding_size=0.02"
    corner = (x - width / 2, y - 0.3)
    box = FancyBboxPatch(corner, width, 0.6, boxstyle=shape, mutation_aspect=8, zorder=2)
    box.set(facecolor=PAPER, edgecolor=LINE)
    axes.add_patch(box)
    text = {"ha": "center", "va": "center", "color": INK, "zorder": 3}
    axes.text(x, y + 0.11, name, fontsize=10, weight="bold", **text)
    axes.text(x, y - 0.14, purpose, fontsize=8.5, **text)


def imports(graph: grimp.ImportGraph, package: str, rooms: list[str]) -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second."""
    room_of = {
        module: module.split(".")[1] for module in graph.modules if module.startswith(f"{package}.")
    }
    found = set()
    for module, importer in room_of.items():
        for other in graph.find_modules_directly_imported_by(module):
            imported = room_of.get(other)
            if importer in rooms and imported in rooms and importer != imported:
                found.add((importer, imported))
    return found


def reduced(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges that no longer way implies; there must be no circle."""

    def reaches(start: str, end: str, without: tuple[str, str]) -> bool:
        nexts = [b for a, b in edges if a == start and (a, b) != without]
        return any(one == end or reaches(one, end, without) for one in nexts)

    return {edge for edge in edges if not reaches(*edge, edge)}


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> FancyArrowPatch:
    (x, y), (u, v) = start, end
    return FancyArrowPatch(
        (x, y - 0.3),
        (u, v + 0.3),
        connectionstyle="arc3,rad=0.06",
        arrowstyle="-|>",
        mutation_scale=11,
        color=LINE,
        linewidth=1.1,
        zorder=1,
    )


if __name__ == "__main__":
    main()
