"""Two seconds of the soak; ``make soak`` runs a minute."""

import pytest
from tests.build import make
from tests.live.klos import GUEST
from tests.live.tiny import needs_qemu
from tests.soak import soak

pytestmark = [pytest.mark.qemu, needs_qemu]


def test_nothing_is_lost() -> None:
    make(GUEST)
    assert soak(2, 1000) == []
