"""
Edit a photograph by a sentence
===============================

The parts that the sentence names change, all else stays as it was.
"""

# %%
import matplotlib.pyplot as plt

from tgim import Editor
from tgim.data.synthetic.pairs import sample_picture

edit = Editor.from_pretrained("birds")
bird = sample_picture("birds")
texts = ["red head and breast", "this bird is yellow with black wings", "make its tail purple, please"]

figure, axes = plt.subplots(1, 4, figsize=(12, 3))
axes[0].imshow(bird)
axes[0].set_title("the picture")
for axis, text in zip(axes[1:], texts):
    axis.imshow(edit(bird, text))
    axis.set_title(text, fontsize=9)
for axis in axes:
    axis.axis("off")
figure.tight_layout()
