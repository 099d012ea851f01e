"""Seconds of one edit without start-up, on a drawn bird of 1 and of 7 megapixels: python benchmarks/speed.py"""

from __future__ import annotations

import json
import os
import time

import numpy as np
import torch

from tgim.data.synthetic import sample_picture
from tgim.editor import Editor
from tgim.images import open_image

RUNS = 7

if __name__ == "__main__":
    edit = Editor.from_pretrained("birds")
    for height, width in ((866, 1155), (2250, 3000)):
        photo = open_image(sample_picture("birds", size=(height, width)))
        edit.edit_photo(photo, "a red bird")
        seconds = []
        for _ in range(RUNS):
            start = time.perf_counter()
            edit.edit_photo(photo, "a red bird")
            seconds.append(time.perf_counter() - start)
        facts = {"megapixels": round(height * width / 1e6, 2), "median_seconds": round(float(np.median(seconds)), 3)}
        machine = {"n": RUNS, "threads": torch.get_num_threads(), "cores": os.cpu_count(), "torch": torch.__version__}
        print(json.dumps(facts | machine))
