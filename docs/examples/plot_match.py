"""
Which pictures fit a caption
============================

A matching model scores every picture against every caption.
"""

# %%
import matplotlib.pyplot as plt

from tgim import rank
from tgim.data.synthetic.pairs import sample_picture

pictures = [sample_picture("birds", seed=seed, size=(240, 320)) for seed in range(6)]
found = rank(pictures, ["a yellow bird with black wings"], model="judge-birds")
order = found.scores[:, 0].argsort()[::-1]

figure, axes = plt.subplots(1, 6, figsize=(12, 2))
for axis, i in zip(axes, order):
    axis.imshow(pictures[i])
    axis.set_title(f"{found.scores[i, 0]:.2f}")
    axis.axis("off")
figure.suptitle(found.texts[0])
