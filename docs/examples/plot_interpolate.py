"""
From one caption to another
===========================

With a generator one noise is shown under captions that lie between two.
"""

# %%
import matplotlib.pyplot as plt

from tgim import Generator, interpolate

generate = Generator.from_pretrained("attngan-birds")
frames = interpolate.between_captions(generate, "a small red bird", "a small blue bird", steps=6)

figure, axes = plt.subplots(1, 6, figsize=(12, 2.4))
for axis, picture in zip(axes, frames.pictures):
    axis.imshow(((picture + 1) / 2).clamp(0, 1).permute(1, 2, 0))
    axis.axis("off")
