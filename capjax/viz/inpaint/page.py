"""Pages of filled pictures, beside their folder: no script, nothing from elsewhere."""

import dataclasses
import urllib.parse
from collections.abc import Mapping, Sequence

from capjax.runtime.files import counted
from capjax.viz.report.item import escaped

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.45 system-ui, sans-serif; margin: 1.2rem auto; max-width: 1200px;
  padding-inline: 1rem; }
h1 { font-size: 1.35rem; }
nav { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; border-radius: 6px; }
figcaption { overflow-wrap: anywhere; }
.mark { font-weight: 600; }
""".strip()


@dataclasses.dataclass(frozen=True)
class Shown:
    """One picture of a page.

    Attributes:
      name: of its file.
      picture, whole: addresses of the triptych and of the filled picture, relative to the page.
      note: a line about it.
      mark: a warning; empty for none.
    """

    name: str
    picture: str
    whole: str
    note: str
    mark: str = ""

    def html(self) -> str:
        """The figure."""
        mark = f' <span class="mark">{escaped(self.mark)}</span>' if self.mark else ""
        return (
            f'<figure><a href="{_address(self.whole)}"><img loading="lazy" '
            f'src="{_address(self.picture)}" alt="raw, masked and filled"></a>'
            f"<figcaption><code>{escaped(self.name)}</code> {escaped(self.note)}{mark}</figcaption>"
            "</figure>\n"
        )


def page_html(
    title: str,
    facts: Mapping[str, str],
    shown: Sequence[Shown],
    *,
    failures: Sequence[tuple[str, str]] = (),
    pages: Sequence[str] = (),
    here: int = 0,
) -> str:
    """One page.

    Args:
      title: first line.
      facts: name -> value, below it.
      shown: pictures, in order.
      failures: (file, reason) of pictures that are not there.
      pages: addresses of all pages.
      here: number of this one.
    """
    told = " · ".join(f"{escaped(name)}: {escaped(value)}" for name, value in facts.items())
    links = [
        f"<b>{number + 1}</b>" if number == here else f'<a href="{_address(page)}">{number + 1}</a>'
        for number, page in enumerate(pages)
    ]
    navigation = f"<nav>{' '.join(links)}</nav>" if len(pages) > 1 else ""
    failed = ""
    if failures:
        rows = "".join(
            f"<li><code>{escaped(name)}</code>: {escaped(reason)}</li>" for name, reason in failures
        )
        head = f"{counted(len(failures), 'picture')} could not be filled"
        failed = f"<details><summary>{head}</summary><ul>{rows}</ul></details>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escaped(title)}</h1><p>{told}</p>{failed}{navigation}\n"
        f"{''.join(one.html() for one in shown)}{navigation}</body></html>\n"
    )


def _address(path: str) -> str:
    return escaped(urllib.parse.quote(path, errors="surrogateescape"))
