"""
Generate pictures, and see what each word attended to
=====================================================

A small AttnGAN comes with the package, as a baseline. Its pictures have 64 pixels.
"""

# %%
import matplotlib.pyplot as plt

from tgim import Generator

generate = Generator.from_pretrained("attngan-birds")
text = "a red bird with black wings"
pictures = generate(text, n=5, seed=4)

figure, axes = plt.subplots(1, 5, figsize=(12, 2.6))
for axis, picture in zip(axes, pictures):
    axis.imshow(picture)
    axis.axis("off")
figure.suptitle(text)

# %%
# Where the last stage attended to each word of the first picture:
words, maps = generate.attention(text, n=1, seed=4)

figure, axes = plt.subplots(1, len(words), figsize=(12, 2.2))
for axis, word, weights in zip(axes, words, maps[0]):
    axis.imshow(pictures[0].resize(weights.shape[::-1]))
    axis.imshow(weights, alpha=0.6, cmap="magma")
    axis.set_title(word)
    axis.axis("off")
