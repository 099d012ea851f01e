"""Hand-made result lines: figures of no measurement."""

from __future__ import annotations

from tgim.evaluation.records import Line

COMMON = {
    "split": "test",
    "seed": 0,
    "extractor": None,
    "commit": "c" * 40,
    "tgim": "0",
    "torch": "2",
    "machine": "x86_64, 2 cores",
    "seconds": 1.5,
}
UNITS = {"rmse": 1.0, "rmse_unit": 0.5}
RECALLS = {"recall@1": 1.0, "recall@5": 2.0, "recall@10": 3.0, "mrr": 1.4}
MODELS = {"cub": ("birds", "1" * 16), "oxford102": ("flowers", "2" * 16)}
WIDTH = 0.03


def line(
    protocol, model, metric, value, *, kind="model", data="cub", strength=None, judge=None, higher=True, **changed
):
    n = {"cub": 987, "oxford102": 1065, "synthetic": 200}[data]
    fields = {
        **COMMON,
        "protocol": protocol,
        "model": model,
        "kind": kind,
        "checkpoint": "a" * 16 if kind == "model" else None,
        "data": data,
        "content": (data[0] * 16),
        "size": 64,
        "n": n,
        "judge": judge,
        "strength": strength,
        "metric": metric,
        "higher_is_better": higher,
        "value": value,
        "low": value * (1 - WIDTH),
        "high": value * (1 + WIDTH),
    }
    return Line(**{**fields, **changed})


def l2(protocol, model, rmse, mse, **options):
    yield line(protocol, model, "rmse", rmse, higher=False, **options)
    yield line(protocol, model, "mse", mse, higher=False, **options)
    yield line(protocol, model, "rmse_unit", rmse / 2, higher=False, **options)
    yield line(protocol, model, "mse_unit", mse / 4, higher=False, **options)


def retrieval(model, recall, **options):
    for metric, factor in RECALLS.items():
        yield line("retrieval@1", model, metric, min(recall * factor, 1.0), judge="judge-birds:" + "f" * 16, **options)


def curve(model, points, area, **options):
    judge = "judge-birds:" + "f" * 16
    for i, (rmse, recall) in enumerate(points):
        strength = (i + 1) / len(points)
        yield line("tradeoff@1", model, "rmse", rmse, judge=judge, strength=strength, higher=False, **options)
        yield line("tradeoff@1", model, "recall@1", recall, judge=judge, strength=strength, **options)
    yield line("tradeoff@1", model, "area", area, judge=judge, **options)


def generation(model, recall, kid, diversity=None, **options):
    """Lines of `generation@1`; a row need not have all of them."""
    judge = "judge-birds:" + "f" * 16
    options = {"judge": judge, "extractor": judge, **options}
    if kid is not None:
        yield line("generation@1", model, "kid", kid, higher=False, **{**options, "n": 494})
    if diversity is not None:
        yield line("generation@1", model, "diversity", diversity, **options)
        yield line("generation@1", model, "diversity_rmse", 2 * diversity, **options)
    yield line("generation@1", model, "recall@1", recall, **options)
    yield line("generation@1", model, "recall@10", min(1.0, 5 * recall), **options)


def generations():
    """Lines of two text-to-image models and their references."""
    lines = [
        *generation("real", 0.2, 0.0012, 0.33, kind="reference"),
        *generation("chance", 0.01, None, kind="reference"),
    ]
    return [
        *lines,
        *generation("stackgan1", 0.03, 1.9, 0.1),
        *generation("attngan", 0.05, 1.5, 0.18, checkpoint="b" * 16),
    ]


def parts(model, hit, spilt, **options):
    """Lines of `parts@1`, of 35 photographs, of which the head was asked about in 20."""
    options = {"data": "cub", "size": 0, "n": 35, "strength": 1.0, "options": {"asks": 3}, **options}
    options |= {"content": "9" * 16}
    yield line("parts@1", model, "hit/head", hit, **{**options, "n": 20})
    yield line("parts@1", model, "hit/red", hit / 2, **{**options, "n": 15})
    yield line("parts@1", model, "spilt/head", spilt, higher=False, **{**options, "n": 19})
    yield line("parts@1", model, "half_way", min(1.0, 1.1 * hit), **options)
    yield line("parts@1", model, "spilt", spilt, higher=False, **options)
    yield line("parts@1", model, "others_change", 20 * spilt, higher=False, **options)
    yield line("parts@1", model, "outside", 1.5 * spilt, higher=False, **options)
    if model != "identity":
        yield line("parts@1", model, "texture", 0.8, **{**options, "n": 33})
    yield line("parts@1", model, "hit", hit, **options)


def asked_parts():
    """Lines of two models and doing nothing."""
    return [
        *parts("identity", 0.0, 0.0, kind="baseline"),
        *parts("birds", 0.4, 0.6),
        *parts("painter", 0.9, 0.02, checkpoint="b" * 16),
    ]


def results(data="cub"):
    """A data set's lines: references, five baselines and two models."""
    name, checkpoint = MODELS[data]
    base = {"kind": "baseline", "data": data}
    reference = {"kind": "reference", "data": data}
    models = {
        name: ((0.078, 0.0091), (0.196, 0.05), 0.27, [(0.05, 0.02), (0.1, 0.07), (0.15, 0.16), (0.196, 0.27)], 0.09),
        "tagan": ((0.22, 0.06), (0.24, 0.07), 0.05, [(0.06, 0.01), (0.12, 0.02), (0.18, 0.035), (0.24, 0.05)], 0.02),
    }
    baselines = {
        "identity": ((0.0, 0.0), (0.0, 0.0), 0.009, [(0.0, 0.009)] * 4, 0.009),
        "mean_colour": (
            (0.44, 0.22),
            (0.44, 0.22),
            0.01,
            [(0.11, 0.01), (0.22, 0.01), (0.33, 0.01), (0.44, 0.01)],
            0.01,
        ),
        "blur16": ((0.31, 0.11), (0.31, 0.11), 0.011, [(0.08, 0.01), (0.16, 0.01), (0.23, 0.01), (0.31, 0.011)], 0.01),
        "unrelated": (
            (0.65, 0.448),
            (0.65, 0.448),
            0.126,
            [(0.16, 0.02), (0.33, 0.06), (0.49, 0.1), (0.65, 0.126)],
            0.02,
        ),
        "colour_shift": (
            (0.14, 0.025),
            (0.17, 0.03),
            0.04,
            [(0.04, 0.015), (0.08, 0.02), (0.12, 0.03), (0.17, 0.04)],
            0.03,
        ),
    }
    lines = []
    for who, recall in (("real", 0.126), ("unedited", 0.008), ("chance", 0.01)):
        lines += retrieval(who, recall, **reference)
    for who, (own, edit, recall, points, area) in (baselines | models).items():
        options = base if who in baselines else {"data": data, "checkpoint": checkpoint if who == name else "b" * 16}
        lines += l2("l2-own-caption@1", who, *own, **options)
        lines += l2("l2-edit@1", who, *edit, strength=1.0, **options)
        lines += retrieval(who, recall, strength=1.0, **options)
        lines += curve(who, points, area, **options)
    truth = {"data": "synthetic", "content": data[0] * 8 + "5" * 8}
    lines.append(line("truth@1", name, "part_accuracy", 0.71, checkpoint=checkpoint, **truth))
    lines.append(line("truth@1", "identity", "part_accuracy", 0.12, kind="baseline", **truth))
    return lines
