"""Documents as PDF: the same bytes for the same document, with every font inside."""

from __future__ import annotations

import datetime as dt
import io
import logging
from pathlib import Path

import matplotlib
from fpdf import FPDF, FontFace
from fpdf.enums import Align, MethodReturnValue, TableBordersLayout, XPos, YPos

from voiceguard.evidence.document import (
    Blank,
    Block,
    Bullets,
    Callout,
    Document,
    Facts,
    Heading,
    Paragraph,
    Picture,
    Table,
)

_SANS, _MONO = "sans", "mono"
_MARGIN_MM = 19.0
_GREY = (60, 60, 60)
_LINE = 1.35
"""Height of a line over the size of its letters."""
_CAPTION_MM = 20.0
"""Room under a picture for its caption, so that both stand on one page."""
_MM = 0.3528
"""Millimetres in a point."""

logging.getLogger("fontTools").setLevel(logging.WARNING)


def write_pdf(document: Document, *, at: dt.datetime) -> bytes:
    """Return the document as PDF on Letter paper; ``at`` is its date."""
    page = _Page(document, at)
    for block in document.blocks:
        page.put(block)
    return bytes(page.output())


class _Page(FPDF):
    def __init__(self, document: Document, at: dt.datetime) -> None:
        super().__init__(format="letter")
        self._running = document.running
        # matplotlib brings DejaVu, whose licence lets it stand inside documents.
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.add_font(_SANS, "", fonts / "DejaVuSans.ttf")
        self.add_font(_SANS, "B", fonts / "DejaVuSans-Bold.ttf")
        self.add_font(_MONO, "", fonts / "DejaVuSansMono.ttf")
        self.add_font(_MONO, "B", fonts / "DejaVuSansMono-Bold.ttf")
        self.set_creation_date(at)
        self.set_title(document.title)
        self.set_producer("VoiceGuard")
        self.set_lang("en")
        self.set_margin(_MARGIN_MM)
        self.set_auto_page_break(True, margin=_MARGIN_MM)
        self.alias_nb_pages("{pages}")
        self.add_page()
        self._text(document.title, 17, "B")
        self._text(document.subtitle, 9.5, color=_GREY)
        self.ln(2)

    def header(self) -> None:
        """Write what stands at the head of every page but the first."""
        if self.page_no() == 1:
            return
        self.set_y(10)
        self.set_font(_SANS, "", 7.5)
        self.set_text_color(*_GREY)
        self.cell(0, 4, self._known(self._running))
        self.set_text_color(0)
        self.set_y(_MARGIN_MM)

    def footer(self) -> None:
        """Write the page number."""
        self.set_y(-13)
        self.set_font(_SANS, "", 7.5)
        self.set_text_color(*_GREY)
        self.cell(0, 4, f"Page {self.page_no()} of {{pages}}", align="R")
        self.set_text_color(0)

    def put(self, block: Block) -> None:
        """Write a block."""
        match block:
            case Heading():
                self._heading(block)
            case Paragraph(text, small):
                self._text(text, 8 if small else 9.5)
                self.ln(1.2)
            case Callout():
                self._callout(block)
            case Bullets(items):
                for item in items:
                    self._bullet(item)
                self.ln(1)
            case Facts():
                self._facts(block)
            case Table():
                self._table(block)
            case Picture():
                self._picture(block)
            case Blank(label):
                self._room(16)
                self.ln(9)
                self.line(self.l_margin, self.get_y(), self.l_margin + 0.75 * self.epw, self.get_y())
                self._text(label, 8)
                self.ln(1)

    def _text(
        self,
        text: str,
        size_pt: float,
        style: str = "",
        *,
        color: tuple[int, int, int] = (0, 0, 0),
        width_mm: float = 0,
    ) -> None:
        self.set_font(_SANS, style, size_pt)
        self.set_text_color(*color)
        height = size_pt * _LINE * _MM
        self.multi_cell(width_mm, height, self._known(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_text_color(0)

    def _heading(self, block: Heading) -> None:
        self._room(30)  # a heading never stands alone at the foot of a page
        self.ln(4 if block.level == 2 else 2)
        self._text(block.text, 12.5 if block.level == 2 else 10, "B")
        if block.level == 2:
            self.line(self.l_margin, self.get_y() + 0.5, self.l_margin + self.epw, self.get_y() + 0.5)
        self.ln(2)

    def _callout(self, block: Callout) -> None:
        inset = 4.0
        lines = ((block.title, 13.0, "B"), (block.text, 9.5, ""))
        heights = [self._height(text, size_pt, style, self.epw - 2 * inset) for text, size_pt, style in lines]
        height = sum(heights) + 7
        self._room(height)
        top = self.get_y()
        self.set_line_width(0.6)
        self.rect(self.l_margin, top, self.epw, height)
        self.set_line_width(0.2)
        self.set_y(top + 3)
        for text, size_pt, style in lines:
            self.set_x(self.l_margin + inset)
            self._text(text, size_pt, style, width_mm=self.epw - 2 * inset)
            self.ln(0.5)
        self.set_y(top + height + 3)

    def _height(self, text: str, size_pt: float, style: str, width_mm: float) -> float:
        self.set_font(_SANS, style, size_pt)
        found = self.multi_cell(
            width_mm, size_pt * _LINE * _MM, self._known(text), dry_run=True, output=MethodReturnValue.HEIGHT
        )
        assert isinstance(found, float)
        return found

    def _bullet(self, text: str) -> None:
        height = 9.5 * _LINE * _MM
        self._room(2 * height)
        self.set_font(_SANS, "", 9.5)
        self.cell(5, height, "•", new_x=XPos.RIGHT, new_y=YPos.TOP)
        self.multi_cell(
            self.epw - 5, height, self._known(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )
        self.ln(0.6)

    def _facts(self, block: Facts) -> None:
        rows = [(fact.name, fact.value) for fact in block.facts]
        exact = [fact.exact for fact in block.facts]
        self._rows(rows, (0.3, 0.7), lambda row, column: column == 1 and exact[row], borders=True)

    def _table(self, block: Table) -> None:
        self._rows(
            [block.header, *block.rows],
            block.widths,
            lambda row, column: row > 0 and column in block.exact,
            head=True,
        )

    def _rows(self, rows, widths, exact, *, head: bool = False, borders: bool = True) -> None:  # type: ignore[no-untyped-def]
        self.set_font(_SANS, "", 8)
        with self.table(
            col_widths=tuple(widths),
            line_height=8 * _LINE * _MM,
            padding=(0.9, 1.2),
            borders_layout=TableBordersLayout.ALL if borders else TableBordersLayout.NONE,
            first_row_as_headings=head,
            headings_style=FontFace(emphasis="BOLD", fill_color=(236, 236, 236)),
            text_align="LEFT",
            width=self.epw,
        ) as table:
            for number, values in enumerate(rows):
                row = table.row()
                for column, value in enumerate(values):
                    style = FontFace(family=_MONO, size_pt=7) if exact(number, column) else None
                    row.cell(self._known(value), style=style)
        self.ln(2.5)

    def _picture(self, block: Picture) -> None:
        from PIL import Image

        with Image.open(io.BytesIO(block.png)) as image:
            width, height = image.size
        height_mm = min(self.epw * height / width, self.eph - _CAPTION_MM)
        self._room(height_mm + _CAPTION_MM)
        self.image(
            io.BytesIO(block.png),
            x=Align.C,
            w=height_mm * width / height,
            h=height_mm,
            alt_text=block.alternative,
        )
        self.ln(1)
        self._text(block.caption, 8, color=_GREY)
        self.ln(2)

    def _room(self, height_mm: float) -> None:
        if self.get_y() + height_mm > self.page_break_trigger:
            self.add_page()

    def _known(self, text: str) -> str:
        """Escape what the font has no letter for: a number in its place is legible, a box is not."""
        letters = self.fonts[_SANS].cmap  # type: ignore[union-attr]
        return "".join(
            letter
            if letter == "\n" or (letter.isprintable() and ord(letter) in letters)
            else f"\\u{ord(letter):04x}"
            for letter in text
        )
