"""The interface as its own OpenAPI says: whatever is sent, the answer is one that is described."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is missing (extra dev)")

from hypothesis import HealthCheck, settings  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

from tgim.server.app import Limits, create_app  # noqa: E402
from tgim.server.catalog import Catalog  # noqa: E402

application = create_app(
    Catalog({name: name for name in ("birds", "judge-birds", "attngan-birds")}),
    Limits(max_bytes=2**20, max_pixels=10**6),
)
schema = schemathesis.openapi.from_asgi("/openapi.json", application)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_described(case):
    # random bytes are no picture and random words no caption: what fits the schema may be refused
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
