"""
====================================
Behind the map: plans and potentials
====================================

:class:`~skot.SinkhornTransport` solves for a plan, which says how much mass goes from each point to
each other, and for two potentials, the prices behind it. They show what ``epsilon`` and
``class_reg`` do.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Two small samples. A line joins two points, and is the darker the more mass it stands for; the
# 300 heaviest pairs are drawn. With a small ``epsilon`` a point has few partners, and the lines are
# nearly the whole plan. With a large one they are little of it: its mass is spread over all pairs.
import matplotlib.pyplot as plt

from skot import SinkhornTransport
from skot.datasets import make_eight_gaussians_pair, make_rotated_moons
from skot.plots import CouplingDisplay, PotentialDisplay
from skot.utils import stack_domains

X, Y = make_eight_gaussians_pair(100, random_state=0)
transports = [SinkhornTransport(epsilon=epsilon).fit(X, Y) for epsilon in (0.5, 0.05, 0.002)]

figure, axes = plt.subplots(1, 3, figsize=(8, 3.4), layout="constrained")
for ax, transport in zip(axes, transports, strict=True):
    display = CouplingDisplay.from_estimator(transport, X, Y, n_lines=300, ax=ax)
    legend = ax.get_legend()
    legend.remove()
    ax.set_title(
        f"epsilon = {transport.epsilon:g}\n{100 * display.mass_drawn_:.0f} % of the mass drawn"
    )
    ax.set_axis_off()
figure.legend(handles=legend.legend_handles, loc="outside lower center", ncols=2, frameon=False)

# %%
# The potential of the source is a price for each place, and points are moved down its slope; arrows
# have a scale of their own in each panel. The smooth plan has a smooth potential; the sharp one has
# a crease wherever neighbours part to different Gaussians.
figure, axes = plt.subplots(1, 2, figsize=(8, 3.7), layout="constrained")
for ax, transport in zip(axes, (transports[0], transports[2]), strict=True):
    PotentialDisplay.from_estimator(transport, X, n_arrows=11, ax=ax)
    ax.get_legend().remove()
    ax.set_title(f"f, epsilon = {transport.epsilon:g}")
    ax.grid(False)

# %%
# Two moons, and the same moons turned by 20 degrees. The source has labels; the classes of the
# target are drawn, but the transport is not told. Mass between different classes is red. A large
# ``epsilon`` blurs the classes at the seams; ``class_reg`` asks of each target point that all its
# mass comes from one class.
X_source, y_source, X_target, y_target = make_rotated_moons(120, angle=20.0, random_state=0)
X, y, sample_domain = stack_domains(X_source, X_target, y_source)
transports = [
    SinkhornTransport(epsilon=0.2, class_reg=class_reg).fit(X, y, sample_domain=sample_domain)
    for class_reg in (0.0, 0.5)
]

figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
for ax, transport in zip(axes, transports, strict=True):
    display = CouplingDisplay.from_estimator(
        transport, X_source, X_target, y_source=y_source, y_target=y_target, n_lines=3000, ax=ax
    )
    legend = ax.get_legend()
    legend.remove()
    share = display.mass_within_classes_
    ax.set_title(f"class_reg = {transport.class_reg:g}: {100 * share:.0f} % within classes")
    ax.set_axis_off()
figure.legend(handles=legend.legend_handles, loc="outside lower center", ncols=2, frameon=False)

# %%
# The same plans as matrices, whose rows and columns are sorted by class.
figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
for ax, transport in zip(axes, transports, strict=True):
    CouplingDisplay.from_estimator(
        transport,
        X_source,
        X_target,
        kind="matrix",
        y_source=y_source,
        y_target=y_target,
        ax=ax,
    )
    ax.set_title(f"class_reg = {transport.class_reg:g}")

plt.show()
