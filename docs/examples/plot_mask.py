"""
A mask
======

White may change, black stays bit for bit, gray blends; any size will do.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from tgim import Editor
from tgim.data.synthetic.pairs import sample_picture

edit = Editor.from_pretrained("birds")
bird = sample_picture("birds", seed=3)
mask = np.tile(np.linspace(0, 1, 90, dtype=np.float32), (60, 1))

figure, axes = plt.subplots(1, 3, figsize=(12, 3.4))
axes[0].imshow(bird)
axes[1].imshow(mask, cmap="gray")
axes[2].imshow(edit(bird, "this bird is blue", mask=mask))
for axis, title in zip(axes, ("the picture", "the mask", "this bird is blue")):
    axis.set_title(title)
    axis.axis("off")
figure.tight_layout()
