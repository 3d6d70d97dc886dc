"""Every test that asks for ``clients`` runs with the blocking and with the asyncio client."""

import pytest
from scripted_server import Both


@pytest.fixture(params=["blocking", "async"])
def clients(request):
    with Both(request.param) as both:
        yield both
