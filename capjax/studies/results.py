"""What a study's command leaves in its folder beside pictures."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from capjax.runtime.files import replacing
from capjax.studies.contract import Table


def write_results(out: pathlib.Path, name: str, table: Table, results: Mapping[str, Any]) -> None:
    """Writes a table as `name`.csv and all results, plain JSON values, as `name`.json."""
    with replacing(out / f"{name}.csv") as stream:
        stream.write(table.to_csv().encode())
    with replacing(out / f"{name}.json") as stream:
        stream.write((json.dumps(results, indent=2, ensure_ascii=False) + "\n").encode())
