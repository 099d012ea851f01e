"""
Steer a generator
=================

A direction in the noise is learned that makes pictures brighter (Jahanian, Chai and Isola, ICLR 2020).
"""

# %%
import matplotlib.pyplot as plt

from tgim import Generator, steer

generate = Generator.from_pretrained("attngan-birds")
brighter = steer.operation(generate, "brightness", steps=30, measure=False)
sheet = steer.sheet(generate, brighter, texts=["a red bird with black wings", "a small yellow bird"], n=2, seed=1)

# %%
# Left and right of the middle are steps against and along the direction; the lower rows go along a random direction of
# the same length.
plt.figure(figsize=(12, 6))
plt.imshow(sheet)
plt.axis("off")
