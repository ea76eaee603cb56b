"""
=====================================
On the way from one sample to another
=====================================

A map tells where points arrive. In between, optimal transport moves them along straight lines at
constant speed, and :class:`~skot.plots.InterpolationDisplay` draws the cloud on its way: in panels,
or as an animation.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# A spiral becomes a checkerboard. The colour of a point is its place along the spiral, so that one
# can follow it.
import matplotlib.pyplot as plt
import numpy as np

from skot import SinkhornTransport
from skot.datasets import make_planar_pair
from skot.plots import InterpolationDisplay

X, Y = make_planar_pair("swiss_roll", "checkerboard", 800, random_state=0)
transport = SinkhornTransport(epsilon=0.001).fit(X, Y)
place = np.hypot(*X.T)

_, axes = plt.subplots(1, 5, figsize=(8, 2.2), layout="constrained", sharex=True, sharey=True)
display = InterpolationDisplay.from_estimator(transport, X, colors=place, axes=axes)
for ax in axes:
    ax.set_axis_off()

# %%
# The same, there and back. Wherever the tears open, neighbours part to different squares; nowhere
# do two points collide on the way.
_, ax = plt.subplots(figsize=(4.0, 4.2), dpi=70, layout="constrained")
animation = display.animate(n_frames=12, interval=120, ax=ax)
ax.set_axis_off()

plt.show()
