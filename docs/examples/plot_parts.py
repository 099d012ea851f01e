"""
Parts, and an edit of one of them
=================================

The localiser inside of the default editor says where parts are; ``part`` lets one of them change alone.
"""

# %%
import matplotlib.pyplot as plt

from tgim import Editor
from tgim.data.synthetic.pairs import sample_picture
from tgim.images.photo import open_image
from tgim.inference.part_overlay import locate, overlay

edit = Editor.from_pretrained("birds")
bird = sample_picture("birds", seed=1)
found, maps = locate(open_image(bird), edit.engine.finder)

figure, axes = plt.subplots(1, 3, figsize=(12, 4))
axes[0].imshow(overlay(open_image(bird), found, maps))
axes[0].set_title("parts")
axes[1].imshow(edit(bird, "bright red"))
axes[1].set_title("bright red")
axes[2].imshow(edit(bird, "bright red", part="head"))
axes[2].set_title("bright red, the head alone")
for axis in axes:
    axis.axis("off")
figure.tight_layout()
