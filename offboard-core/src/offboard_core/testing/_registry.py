"""A registry lists what can be loaded, and nothing that is still being written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from offboard_client.errors import ModelNotFound

from ..catalog import ModelSource, from_flags
from ..plugins import Plugins
from ._vendor import Vendor


class RegistryLaws(Vendor):
    """For vendors whose checkpoints are numbered folders below ``checkpoints_dir``."""

    def next_checkpoint(self, place: Path, source: ModelSource) -> tuple[Path, Path]:
        """The newest checkpoint's folder below ``place``, and where training would write the one after it."""
        newest = source.registry.checkpoints()[-1]
        relative = Path(newest.location).relative_to(place)
        (at,) = [i for i, part in enumerate(relative.parts) if newest.id in part]
        number = f"{int(newest.id) + 1:0{len(newest.id)}d}"
        parts = list(relative.parts)
        parts[at] = parts[at].replace(newest.id, number)
        return place / relative, place.joinpath(*parts)

    @pytest.fixture
    def copied(self, checkpoints_dir: Path, plugins: Plugins, tmp_path: Path) -> tuple[Path, ModelSource]:
        """A copy of the place, to write into."""
        place = tmp_path / "checkpoints"
        shutil.copytree(checkpoints_dir, place, symlinks=True)
        vendor = self.vendor or self.plugin
        return place, from_flags(plugins, vendor=vendor, checkpoints_dir=str(place), loader_options=self.options)

    def test_a_checkpoint_is_found_by_its_id(self, source: ModelSource) -> None:
        """Each listed id resolves to its own checkpoint, by number, too; another id is ModelNotFound."""
        listed = source.registry.checkpoints()
        assert listed
        for checkpoint in listed:
            assert source.registry.resolve(checkpoint.id).location == checkpoint.location
            if checkpoint.id.isdigit():
                assert source.registry.resolve(str(int(checkpoint.id))).location == checkpoint.location
        for wrong in ("../../etc/passwd", "", "no-such-model"):
            with pytest.raises(ModelNotFound):
                source.registry.resolve(wrong)

    def test_a_folder_without_content_is_no_checkpoint(self, copied: tuple[Path, ModelSource]) -> None:
        """Training makes the folder first."""
        place, source = copied
        before = [checkpoint.id for checkpoint in source.registry.checkpoints()]
        _, folder = self.next_checkpoint(place, source)
        folder.mkdir(parents=True)
        assert [checkpoint.id for checkpoint in source.registry.checkpoints()] == before

    def test_a_checkpoint_without_its_weights_is_not_listed(self, copied: tuple[Path, ModelSource]) -> None:
        """… and the weights last: the largest file is the one that is missing longest. Once it is there, it counts."""
        place, source = copied
        before = [checkpoint.id for checkpoint in source.registry.checkpoints()]
        complete, folder = self.next_checkpoint(place, source)
        shutil.copytree(complete, folder)
        largest = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        away = place.parent / "away"
        largest.rename(away)
        assert [checkpoint.id for checkpoint in source.registry.checkpoints()] == before
        assert source.default().id == before[-1]
        away.rename(largest)
        assert len(source.registry.checkpoints()) == len(before) + 1
