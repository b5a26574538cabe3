"""A folder of any size compiles the programs of one full batch, and of one that is not."""

import jax

from capjax.folder.run import main
from tests.api.conftest import model, write_photographs

__all__ = ["model"]


def test_a_run_compiles_for_few_shapes_however_many_images_there_are(model, tmp_path, compiled):
    def programs(count):
        """How many programs a run over so many images compiles; batches of four."""
        compiled.clear()
        images = tmp_path / f"{count}"
        write_photographs(images, count)
        fixed = [f"--model={model}", f"--images={images}", f"--out={tmp_path / f'out{count}'}"]
        fixed += ["--batch-size=4", "--max-length=7", "--beam=1", "--no-visual-information"]
        assert main([*fixed, "--overlays=none", "--methods=attention"]) == 0
        return len(compiled)

    jax.clear_caches()
    full = programs(8)
    assert full >= 2
    assert programs(7) == programs(11) == 0  # three are a batch of four, padded
    assert 0 < programs(5) <= full  # one is a batch of one
    assert programs(9) == programs(1) == 0
