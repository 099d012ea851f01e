"""
Editors beside each other
=========================

The painter and the curves change colours of the photograph's own pixels. TAGAN and SISGAN repaint it at 64 pixels;
their change is carried to the photograph.
"""

# %%
import matplotlib.pyplot as plt

from tgim import Editor
from tgim.data.synthetic.pairs import sample_picture

bird, text = sample_picture("birds", size=(300, 400)), "this bird is yellow with black wings"
names = ["birds", "birds-1", "birds-2", "tagan-birds", "sisgan-birds"]

figure, axes = plt.subplots(2, 3, figsize=(12, 6))
axes = axes.ravel()
axes[0].imshow(bird)
axes[0].set_title("the picture")
for axis, name in zip(axes[1:], names):
    axis.imshow(Editor.from_pretrained(name)(bird, text))
    axis.set_title(name)
for axis in axes:
    axis.axis("off")
figure.suptitle(text)
figure.tight_layout()
