"""Equations as MathML when the site is built, so that a page needs no script to show them.

They are written as GitHub reads them: `$…$` within a line, `$$…$$` as a paragraph.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from math_core import LatexToMathML

BEFORE_ESCAPES = 185  # of Markdown's patterns: behind code (190), before backslashes (180)


class Equation(InlineProcessor):
    """An equation in TeX's notation becomes an element of MathML. Raises `LatexError` where it is none."""

    def __init__(self, pattern: str, md: Markdown, *, display: bool):
        super().__init__(pattern, md)
        self.display = display

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element | str, int, int]:  # noqa: ARG002, N802
        """Keep the element aside from what Markdown does with text."""
        element = LatexToMathML().convert_with_local_state(m[1], displaystyle=self.display)
        return self.md.htmlStash.store(element), m.start(0), m.end(0)


class Equations(Extension):
    """Both kinds of equations."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Register them, paragraphs first."""
        block = Equation(r"\$\$(.+?)\$\$", md, display=True)
        inline = Equation(r"(?<![\\\w$])\$(?=\S)([^$]+?)(?<=\S)\$(?![\w$])", md, display=False)
        md.inlinePatterns.register(block, "equation", BEFORE_ESCAPES + 1)
        md.inlinePatterns.register(inline, "formula", BEFORE_ESCAPES)


def makeExtension(**settings: Any) -> Equations:  # noqa: N802
    """Give what Markdown asks a module of an extension for."""
    return Equations(**settings)
