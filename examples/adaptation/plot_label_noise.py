"""
=============================
Learning from labels that lie
=============================

A network that is trained long enough learns its wrong labels by heart. Wasserstein adversarial
regularisation (Fatras et al., 2021) makes it pay for that: predictions may not change much towards
the worst neighbour of a point, and a change costs what the confusion of the two classes costs. The
building block is :func:`~skot.metrics.probability_transport_loss`, which solves one small transport
problem a row.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Handwritten digits. Two of five training labels are replaced by one of the nine others.
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy, normalize

from skot.metrics import probability_transport_loss

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16.0, y, test_size=0.5, random_state=0)
rng = np.random.RandomState(0)
others = (y_train + rng.randint(1, 10, len(y_train))) % 10
labels = np.where(rng.uniform(size=len(y_train)) < 0.4, others, y_train)
is_wrong = labels != y_train

# %%
# Which confusions are expensive is read off the images: the distance between the means of two
# classes, as labelled. Even so the 3 comes to lie close to the 8 and the 9, and far from the 4.
means = np.stack([X_train[labels == digit].mean(axis=0) for digit in range(10)])
cost = np.linalg.norm(means[:, None] - means, axis=2)
cost /= cost.max()

_, ax = plt.subplots(figsize=(5.2, 4.2), layout="constrained")
image = ax.imshow(cost, cmap="cividis")
ax.set(xticks=range(10), yticks=range(10), title="cost of taking a digit for another")
plt.colorbar(image)
plt.show()


# %%
# The worst neighbour is found as in virtual adversarial training, to first order: its direction is
# the gradient of the loss at a random neighbour. Nothing in it needs a label.
def adversarial_loss(network, X, logits, radius, generator):
    """Mean transport cost between predictions at points and at their worst neighbours."""
    reference = logits.detach().softmax(1)

    def loss(neighbours):
        predicted = network(neighbours).softmax(1)
        return probability_transport_loss(predicted, reference, cost, epsilon=0.2, debiased=True)

    shift = radius * normalize(torch.randn(X.shape, generator=generator))
    shift.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(X + shift).sum(), shift)
    return loss(X + radius * normalize(gradient)).mean()


# %%
# Two networks are trained, one with it and one without. After every epoch the digits that neither
# has seen are classified, and the wrong labels counted that the network repeats.
def train(X, labels, *, weight, radius=0.7, n_epochs=60):
    """Return accuracy and repeated wrong labels, in percent, of each epoch."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    sizes = (64, 128, 128, 10)
    layers = [torch.nn.Linear(n, m) for n, m in zip(sizes[:-1], sizes[1:], strict=True)]
    network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    curve = []
    for _ in range(n_epochs):
        for rows in torch.randperm(len(X), generator=generator).split(100):
            logits = network(X[rows])
            loss = cross_entropy(logits, labels[rows])
            if weight > 0.0:
                loss = loss + weight * adversarial_loss(network, X[rows], logits, radius, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (network(X_test).argmax(1).numpy() == y_test).mean()
            repeated = (network(X).argmax(1) == labels).numpy()[is_wrong].mean()
        curve.append((100.0 * accuracy, 100.0 * repeated))
    return np.array(curve)


X_train, X_test = (torch.as_tensor(rows, dtype=torch.float32) for rows in (X_train, X_test))
labels = torch.as_tensor(labels)
curves = {
    "cross entropy": train(X_train, labels, weight=0.0),
    "with Wasserstein regularisation": train(X_train, labels, weight=20.0),
}

# %%
# Both learn the digits first. Then the one begins to repeat what it was told wrongly, and forgets
# what it knew; the other goes on learning.
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained", sharex=True)
titles = ("accuracy on new digits, %", "wrong labels repeated, %")
for column, (ax, title) in enumerate(zip(axes, titles, strict=True)):
    for (name, curve), color in zip(curves.items(), ("#555555", "#009E73"), strict=True):
        ax.plot(np.arange(1, 61), curve[:, column], color=color, linewidth=2, label=name)
    ax.set(title=title, xlabel="epoch")
    ax.spines[["top", "right"]].set_visible(False)
figure.legend(
    *axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False
)

# sphinx_gallery_thumbnail_number = 2  # noqa: ERA001
plt.show()
