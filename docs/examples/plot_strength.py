"""
Strength
========

0 leaves the picture, 1 edits fully; colours that come out too strong take 0.5 to 0.8.
"""

# %%
import matplotlib.pyplot as plt

from tgim import Editor
from tgim.data.synthetic.pairs import sample_picture

edit = Editor.from_pretrained("birds")
bird = sample_picture("birds", seed=2)
strengths = [0.0, 0.35, 0.7, 1.0]

figure, axes = plt.subplots(1, 4, figsize=(12, 3))
for axis, strength in zip(axes, strengths):
    axis.imshow(edit(bird, "red wings", strength=strength))
    axis.set_title(f"strength {strength}")
    axis.axis("off")
figure.tight_layout()
