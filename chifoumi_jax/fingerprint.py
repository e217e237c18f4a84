"""SHA-256 of the computing code alone, without comments, docstrings, messages and file names.

A measured result stores this fingerprint. The result stays valid when a sentence is reworded or a
file is moved, and becomes invalid when a number, a call or the order of two operations changes.
"""

import ast
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

CPP_SUFFIXES = frozenset({".cc", ".h"})

# A comment, or a string or character literal, which may contain the start of a comment.
_CPP_TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)


def fingerprint(files: Iterable[Path], packages: Iterable[str], extra: str = "") -> str:
    """SHA-256 of the computing code in these files, whatever their order.

    Args:
        files: Python and C++ sources.
        packages: The project's own packages. The location of their modules does not count, so
            that an import from them counts only if it renames a name.
        extra: Anything else on which the result depends, such as settings.

    Raises:
        OSError: If a file cannot be read.
        SyntaxError: If a Python file cannot be parsed.
    """
    own = frozenset(packages)
    # Sorted by content, so that moving a file changes nothing. Empty files compute nothing.
    digests = sorted(
        hashlib.sha256(text.encode()).hexdigest() for path in files if (text := computed(path, own))
    )
    return hashlib.sha256("\n".join([extra, *digests]).encode()).hexdigest()


def computed(path: Path, packages: frozenset[str]) -> str:
    """A source file as text that changes if and only if its computation may change."""
    text = path.read_text()
    return cpp_without_comments(text) if path.suffix in CPP_SUFFIXES else syntax(text, packages)


def syntax(source: str, packages: frozenset[str]) -> str:
    """The syntax tree of Python code without docstrings, argument types and error messages.

    A syntax tree has no comments, blank lines or line breaks.
    """
    tree = _Computed(packages).visit(ast.parse(source))
    return ast.dump(tree) if tree.body else ""


def cpp_without_comments(source: str) -> str:
    """C++ code without comments, and with one space for any white space within a line."""

    def replace(found: re.Match[str]) -> str:
        return " " if found[0].startswith("/") else found[0]

    lines = (" ".join(line.split()) for line in _CPP_TOKEN.sub(replace, source).splitlines())
    # Line breaks stay, because they end preprocessor directives.
    return "\n".join(line for line in lines if line)


class _Computed(ast.NodeTransformer):
    """Removes from a tree everything that cannot change a result."""

    def __init__(self, packages: frozenset[str]) -> None:
        self._packages = packages

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Drop docstrings, and any other expression that is only a string."""
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop a function's return type; `visit_arg` drops the argument types."""
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Drop an argument's type."""
        node.annotation = None
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keep the type of the raised error, and drop its message."""
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Drop imports for type checkers."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        """Drop a module's `__all__`."""
        if [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return None
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Keep only the renamed names of the project's own imports, because modules may move."""
        package = (node.module or "").partition(".")[0]
        if package not in self._packages:
            return node
        renamed = [alias for alias in node.names if alias.asname]
        return ast.ImportFrom(package, renamed, node.level) if renamed else None


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
