"""Table of metrics: meaning and better direction of each, for evaluation and reports."""

from __future__ import annotations

from math import inf
from typing import NamedTuple


class Metric(NamedTuple):
    """Range of a metric's values, its direction, and its meaning in one line."""

    low: float
    high: float
    higher_is_better: bool
    meaning: str


METRICS: dict[str, Metric] = {
    "mse": Metric(0, 4, False, "mean squared difference of pixels in [-1, 1]"),
    "mse_unit": Metric(0, 1, False, "mean squared difference of pixels in [0, 1]"),
    "rmse": Metric(0, 2, False, "root of the mean squared difference of pixels in [-1, 1]"),
    "rmse_unit": Metric(0, 1, False, "root of the mean squared difference of pixels in [0, 1]"),
    "psnr": Metric(0, inf, True, "peak signal to noise, in dB; infinite for equal pictures"),
    "ssim": Metric(-1, 1, True, "structural similarity, Gaussian window; 1 for equal pictures"),
    "lpips": Metric(0, inf, False, "learned perceptual distance; 0 for equal pictures"),
    "stage_distance": Metric(0, 4, False, "unweighted distance in a network's stages; 0 for equal pictures"),
    "preservation": Metric(0, 2, False, "root of the mean squared difference in [-1, 1] outside what may change"),
    "manipulative_precision": Metric(-1, 1, True, "(1 - mean absolute difference in [0, 1]) x fit to the caption"),
    "directional_similarity": Metric(-1, 1, True, "cosine of the picture's change and the caption's; 0 without change"),
    "recall@1": Metric(0, 1, True, "share of queries whose right candidate comes first"),
    "recall@5": Metric(0, 1, True, "share of queries whose right candidate is among the first 5"),
    "recall@10": Metric(0, 1, True, "share of queries whose right candidate is among the first 10"),
    "mrr": Metric(0, 1, True, "mean of 1 / rank of the right candidate"),
    "median_rank": Metric(1, inf, False, "median rank of the right candidate; 1 is first"),
    "r_precision": Metric(0, 1, True, "share of a query's R relevant candidates among its first R"),
    "precision@50": Metric(0, 1, True, "share of a class among the 50 pictures nearest to its mean caption"),
    "fid": Metric(0, inf, False, "Frechet distance of two sets of features; grows when the sets are small"),
    "kid": Metric(-inf, inf, False, "squared kernel distance of two sets of features, unbiased; 0 for one source"),
    "inception_score": Metric(1, inf, True, "how sure and how varied a classifier finds the pictures"),
}
METRICS |= {  # as lines of results call them
    "area": Metric(0, 1, True, "best recall@1 at an error of at most e, averaged over e from 0 to 0.25 RMSE"),
    "rmse_inside": Metric(0, 2, False, "RMSE in [-1, 1] against the true picture where it may change"),
    "rmse_inside_ratio": Metric(0, inf, False, "the same over that of the unedited picture; 0 is the truth"),
    "rmse_outside": Metric(0, 2, False, "RMSE in [-1, 1] where nothing may change"),
    "leak_255": Metric(0, 255, False, "mean absolute change where nothing may change, in levels of 255"),
    "part_accuracy": Metric(0, 1, True, "share of parts that show the colour word that the caption newly gives them"),
    "part_accuracy_macro": Metric(0, 1, True, "the same, averaged over parts"),
    "kept_accuracy": Metric(0, 1, True, "share of the other parts that still show their colour word"),
    "swap_accuracy": Metric(0, 1, True, "share of pictures where two captions with swapped colours go their own ways"),
    "swap_margin_accuracy": Metric(0, 1, True, "the same of the sum of both edits' scores"),
    "drawn_swap_accuracy": Metric(0, 1, True, "the same of synthetic pictures, by a judge's scores"),
    "drawn_swap_margin_accuracy": Metric(0, 1, True, "the same of synthetic pictures"),
    "diversity": Metric(0, 2, True, "1 - cosine to a judge of two pictures of one caption; 0 for equal ones"),
    "diversity_rmse": Metric(0, 2, True, "RMSE in [-1, 1] between two pictures of one caption"),
    "mp": METRICS["manipulative_precision"],
    "directional": METRICS["directional_similarity"],
    "is": METRICS["inception_score"],
    "frechet": Metric(0, inf, False, "the same as fid, in features that are not Inception's"),
}
