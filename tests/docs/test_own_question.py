"""The question of docs/audit.md runs as it stands and counts right."""

from tests.audit.corpus import Corpus
from tests.docs.pages import DOCS, blocks


class Longer(Corpus):
    """Captions of six to eight words."""

    def caption(self, number):
        return super().caption(number) + " there" * (number % 3)


def test_the_question_counts_captions_by_length(tmp_path, monkeypatch, capsys):
    Longer(count=10).write(tmp_path / "report")
    monkeypatch.chdir(tmp_path)
    (block,) = blocks((DOCS / "audit.md").read_text(), "python")
    own = {"__name__": "page"}
    exec(compile(block, "audit.md", "exec"), own)
    (table,) = own["lengths"].result().tables.values()
    assert table.rows == ((6, 4), (7, 3), (8, 3))
    assert capsys.readouterr().out == "['The longest caption has 8 words.'] []\n"
