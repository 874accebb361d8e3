"""What became of every row of a file on its way in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from labeling.draw import MAX_WIDTH_M

Row = tuple[str, int]
"""A row of a file: its layer, and its number there, counted from 1."""

MENDED = "mended (outlines that crossed themselves)"
CLOSED = "with an open outline closed"
FLAT = "without heights and measures"
LINEAR = "with curves turned into short lines"
FOOTPRINT = "flattened from a 3D surface"
APART = "taken apart into single shapes"
PARTS = "without parts that have no extent"
SCALED = "fitted to a picture of another size"
BOXED = "drawn as the box of a mask"
NO_WIDTH = f"without their width (it is not between 0 and {MAX_WIDTH_M:g} m)"

UNCHOSEN = "their class is left out"
SHAPELESS = "without a shape"
BROKEN = "a shape that cannot be read"
NO_NUMBERS = "coordinates that are no numbers"
WRONG_KIND = "not a point, line or area"
TWICE = "the same shape and class again"
KNOWN = "already among the labels"
OUTSIDE = "outside the imagery"
NO_PICTURE = "their picture is not in this project"
OTHER_SIZE = "their picture has another size here"
NOTHING_HERE = (BROKEN, NO_NUMBERS)
"""What reading may find that leaves a row without a shape."""


@dataclass
class ImportReport:
    """What happened on the way in. Every row is either among the labels (perhaps changed) or left out, for one reason."""

    rows: int = 0
    """Rows (features) in the file."""
    imported: int = 0
    """Labels made of them; a row of several shapes makes several."""
    changed: dict[str, list[Row]] = field(default_factory=dict)
    """What was done to rows that are among the labels -> those rows; a row may be under several."""
    left_out_rows: dict[str, list[Row]] = field(default_factory=dict)
    """Reason -> rows that are not among the labels."""

    @property
    def left_out(self) -> dict[str, int]:
        """Reason -> how many rows are not among the labels."""
        return {reason: len(rows) for reason, rows in self.left_out_rows.items()}

    @property
    def repaired(self) -> int:
        """Rows whose outlines crossed themselves and were mended."""
        return len(self.changed.get(MENDED, []))

    @property
    def widths_ignored(self) -> int:
        """Rows whose width cannot be one: they get none."""
        return len(self.changed.get(NO_WIDTH, []))

    @property
    def kept(self) -> int:
        """Rows that are among the labels."""
        return self.rows - sum(self.left_out.values())

    def change(self, what: str, row: Row) -> None:
        """Note once that something was done to a row."""
        rows = self.changed.setdefault(what, [])
        if not rows or rows[-1] != row:
            rows.append(row)

    def leave_out(self, reason: str, row: Row) -> None:
        """Note why a row is not among the labels; what was done to it before does not matter any more."""
        self.left_out_rows.setdefault(reason, []).append(row)

    def settle(self) -> None:
        """Forget changes to rows that were left out in the end."""
        gone = {row for rows in self.left_out_rows.values() for row in rows}
        self.changed = {what: kept for what, rows in self.changed.items() if (kept := [row for row in rows if row not in gone])}

    def lines(self) -> list[str]:
        """What was changed and left out, one line each, with its count."""
        return [f"{len(rows):,} {what}" for what, rows in self.changed.items()] + [
            f"{count:,} left out ({reason})" for reason, count in self.left_out.items()
        ]

    def sentence(self) -> str:
        """The report in words."""
        parts = [f"{self.imported:,} label{'' if self.imported == 1 else 's'} read", *self.lines()]
        return ", ".join(parts) + "."

    def table(self) -> pd.DataFrame:
        """One line for each row that was changed or left out: layer, row (from 1), what, why."""
        lines = [(*row, "changed", what) for what, rows in self.changed.items() for row in rows]
        lines += [(*row, "left out", reason) for reason, rows in self.left_out_rows.items() for row in rows]
        return pd.DataFrame(sorted(lines, key=_position), columns=["layer", "row", "what", "why"])


def _position(line: tuple[str, int, str, str]) -> tuple[str, int]:
    return line[0], line[1]


def why_nothing(report: ImportReport) -> str:
    """The remedy when no row became a label."""
    reasons: Iterable[str] = (f"{count:,} ({reason})" for reason, count in report.left_out.items())
    return f"Left out: {', '.join(reasons)}. Choose another file, or map its values to classes."
