"""What a run computes in, by what the device can do."""

from __future__ import annotations

import platform

import pytest
import torch

from tgim.environment import describe, pick_precision
from tgim.errors import UserError


@pytest.fixture
def processor(monkeypatch):
    """Pretend that torch sees a processor with such instructions."""

    def pretend(*, supported: bool, amx: bool = False, avx512_bf16: bool = False) -> None:
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16, raising=False)

    return pretend


@pytest.mark.parametrize(
    ("features", "expected", "reason"),
    [
        ({"supported": False}, "fp32", "without bf16"),
        ({"supported": True}, "fp32", "without AMX and avx512_bf16"),  # AVX-512 alone emulates
        ({"supported": True, "avx512_bf16": True}, "bf16", "with avx512_bf16"),
        ({"supported": True, "amx": True, "avx512_bf16": True}, "bf16", "with AMX and avx512_bf16"),
    ],
)
def test_auto_is_bf16_only_where_the_processor_computes_with_it(processor, features, expected, reason):
    processor(**features)
    found = pick_precision("auto", "cpu")
    assert (found.name, found.emulated) == (expected, False)
    assert reason in found.reason
    asked = pick_precision("bf16", "cpu")
    assert asked.name == "bf16"
    assert asked.emulated == (expected == "fp32")
    assert pick_precision("fp32", "cpu").name == "fp32"


@pytest.mark.parametrize(
    ("limit", "expected"), [("AVX2", "fp32"), ("AVX512_CORE", "fp32"), ("AVX512_CORE_AMX", "bf16")]
)
def test_a_limit_of_onednn_is_respected(processor, monkeypatch, limit, expected):
    processor(supported=True, amx=True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert pick_precision("auto", "cpu").name == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpu_is_asked_for_its_capability(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    found = pick_precision("auto", "cuda")
    assert found.name == expected
    assert f"{capability[0]}.{capability[1]}" in found.reason


def test_another_precision_is_refused():
    with pytest.raises(UserError, match=r"fp8.*auto, fp32, bf16"):
        pick_precision("fp8", "cpu")


def test_the_description_says_threads_and_precision():
    found = describe()
    assert 1 <= found["usable_cores"] <= found["cores"]
    assert found["precision"].startswith(("fp32 (", "bf16 ("))
