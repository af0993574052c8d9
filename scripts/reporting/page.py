"""One self-contained HTML page: text, tables and embedded pictures, for wide and narrow, light and dark screens."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image file: ``name`` ends in .png or .gif, ``alt`` says in words what it shows."""

    name: str
    alt: str
    data: bytes
    wide: bool = False  # takes the column's whole width instead of half

    def __post_init__(self) -> None:
        if not self.name.endswith((".png", ".gif")):
            raise ValueError(f"Picture.name must end in .png or .gif, got {self.name!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """One or more pictures that answer one question; the caption says how to read them and what a good one looks like."""

    title: str
    caption: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A row of a table of figures."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Several runs side by side: ``rows`` holds each run's figures by column name."""

    rows: Mapping[str, Mapping[str, str]]
    differing: Mapping[str, Mapping[str, str]]  # setting -> run -> value, for the settings that are not the same in all
    exhibits: Sequence[Exhibit]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """All of one run. ``headline`` is a sentence on what it came to, ``notes`` are such on what is missing and why."""

    title: str
    headline: str = ""
    facts: Sequence[Fact]
    settings: Mapping[str, str]
    exhibits: Sequence[Exhibit]
    notes: Sequence[str] = field(default=())


STYLE = """
:root { color-scheme: light dark; --ink: #1f2733; --soft: #5c6675; --line: #e2e5ea; --ground: #fafaf8; --panel: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dfe3ea; --soft: #98a2b3; --line: #313844; --ground: #14181f; --panel: #1b2029; }
  img { filter: brightness(.92); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.1rem 5rem; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.4rem; line-height: 1.3; margin: 3.5rem 0 .8rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 2.4rem 0 .2rem; }
p { margin: .3rem 0 .9rem; max-width: 46rem; }
.soft, small, figcaption { color: var(--soft); }
figure { margin: 0 0 1rem; }
figcaption { max-width: 46rem; margin: 0 0 .8rem; }
.pictures { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.pictures .wide { grid-column: 1 / -1; max-width: 44rem; }
img { display: block; width: 100%; height: auto; border-radius: 8px; background: #fff; border: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem .45rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
th small { display: block; font-weight: 400; line-height: 1.35; }
.facts th { width: 58%; }
.stack { font-size: .92rem; overflow-wrap: break-word; }
.scroll { overflow-x: auto; }
details { margin: 1.4rem 0; border: 1px solid var(--line); border-radius: 8px; background: var(--panel);
  padding: .6rem .9rem; }
summary { cursor: pointer; font-weight: 600; }
details table { margin-top: .6rem; font: .82rem/1.4 ui-monospace, Menlo, Consolas, monospace; }
@media (max-width: 48rem) {
  body { padding-top: 1.4rem; }
  .stack thead { display: none; }
  .stack tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  .stack th, .stack td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .12rem 0; }
  .stack td::before { content: attr(data-label); color: var(--soft); }
}
"""


def render(title: str, lead: str, comparison: Comparison | None, sections: Sequence[Section]) -> str:
    """The whole page. Nothing in it asks the network for anything."""
    body = [f"<h1>{_text(title)}</h1>", f'<p class="soft">{_text(lead)}</p>']
    if comparison is not None:
        body.append(_comparison(comparison))
    body += [_section(section, headed=len(sections) > 1) for section in sections]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def write_pictures(folder: Path, exhibits: Sequence[Exhibit]) -> None:
    """Save every picture as a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for exhibit in exhibits:
        for picture in exhibit.pictures:
            (folder / picture.name).write_bytes(picture.data)


def _text(text: str) -> str:
    """HTML of plain text; a number stays with its percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def _comparison(comparison: Comparison) -> str:
    columns = list(dict.fromkeys(name for row in comparison.rows.values() for name in row))
    parts = ["<h2>Comparison</h2>", _stacking_table("run", columns, comparison.rows)]
    if comparison.differing:
        parts.append("<h3>Settings that differ</h3>")
        parts.append(_stacking_table("setting", list(comparison.rows), comparison.differing))
    return "\n".join([*parts, *map(_exhibit, comparison.exhibits)])


def _stacking_table(corner: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> str:
    """A table whose rows become small lists on a narrow screen."""
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in [corner, *columns])
    body = "".join(
        f'<tr><th scope="row">{_text(name)}</th>'
        + "".join(f'<td data-label="{_text(column)}">{_text(row.get(column, "-"))}</td>' for column in columns)
        + "</tr>"
        for name, row in rows.items()
    )
    table = f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _section(section: Section, headed: bool) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_text(fact.name)}{f"<small>{_text(fact.meaning)}</small>" if fact.meaning else ""}</th>'
        f"<td>{_text(fact.value)}</td></tr>"
        for fact in section.facts
    )
    settings = "".join(
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in section.settings.items()
    )
    parts = [
        f"<h2>{_text(section.title)}</h2>" if headed else "",
        f"<p>{_text(section.headline)}</p>" if section.headline else "",
        f'<table class="facts"><tbody>{rows}</tbody></table>',
        f"<details><summary>All settings</summary><table><tbody>{settings}</tbody></table></details>",
        *map(_exhibit, section.exhibits),
    ]
    if section.notes:
        items = "".join(f"<li>{_text(note)}</li>" for note in section.notes)
        parts.append(f'<h3>Not shown</h3><ul class="soft">{items}</ul>')
    return "\n".join(parts)


def _exhibit(exhibit: Exhibit) -> str:
    pictures = "".join(map(_picture, exhibit.pictures))
    return (
        f"<h3>{_text(exhibit.title)}</h3>\n<figure><figcaption>{_text(exhibit.caption)}</figcaption>"
        f'<div class="pictures">{pictures}</div></figure>'
    )


def _picture(picture: Picture) -> str:
    encoded = base64.b64encode(picture.data).decode("ascii")
    kind = picture.name.rpartition(".")[2]
    wide = ' class="wide"' if picture.wide else ""
    return f'<img{wide} src="data:image/{kind};base64,{encoded}" alt="{_text(picture.alt)}">'
