"""Where our own images are, and what is said where one is not."""

from pathlib import Path

import pytest
from klosdbg import images
from klosdbg.errors import DataError

ROOT = Path(__file__).parents[2]
BUILD = "b0ae6a9dab8d803ffb44de6e5d18caa9b74bc65"


def test_a_checkout_uses_its_own() -> None:
    """All three lie under the tree that klosdbg is run from."""
    assert images.IN_CHECKOUT
    for image in (images.KLOS, images.PROBE, images.HOST_CYCLES):
        assert image.is_relative_to(ROOT / "guest")


@pytest.mark.parametrize(
    ("in_checkout", "said"),
    [(True, "run 'make guest'"), (False, "install klosdbg again")],
)
def test_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_checkout: bool, said: str
) -> None:
    """Who has no checkout is not told to build."""
    monkeypatch.setattr(images, "IN_CHECKOUT", in_checkout)
    image = tmp_path / "klos.elf"
    with pytest.raises(DataError, match=said) as caught:
        images.found(image)
    assert ("make" in str(caught.value)) is in_checkout
    image.write_bytes(b"")
    assert images.found(image) == image


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (f"\0build={BUILD}\0".encode(), BUILD),
        (f"KLOSINFO{BUILD}\0more".encode(), BUILD),
        (f"{BUILD}0\0".encode(), None),
        (f"{BUILD} ".encode(), None),
        (b"", None),
    ],
)
def test_build_ids(tmp_path: Path, content: bytes, found: str | None) -> None:
    """39 hexadecimal digits, no more, and then a zero byte."""
    image = tmp_path / "image"
    assert images.build_id(image) is None
    image.write_bytes(content)
    assert images.build_id(image) == found
