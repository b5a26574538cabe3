"""The known datasets, as `python -m capjax.data where` prints them.

```{datasets}
```
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from capjax.data.sources.datasets import DATASETS, FILES, Files, expected_files


def described() -> str:
    """Markdown: of each dataset its title, source, licence and files below the data root."""
    parts = []
    for name, known in {**DATASETS, **FILES}.items():
        lines = [f"### {name}", "", known.title[0].upper() + known.title[1:] + ".", ""]
        lines += [f"- {source}" for source in known.source]
        lines += [f"- Licence: {known.licence}."]
        lines += ["", "```text", *expected_files(known), "```"]
        if isinstance(known, Files):
            lines += ["", f"Read by {known.read_by}."]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


class _Datasets(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(described(), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("datasets", _Datasets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
