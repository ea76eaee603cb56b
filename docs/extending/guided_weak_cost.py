"""A weak cost of one's own, in one file: half the squared distance to a rough guess of the map."""

from numbers import Real

from skot.losses import WeakCost


class GuidedQuadratic(WeakCost):
    """Images are wanted near ``guess(x)``, not near x, with a reward for spread."""

    _parameter_constraints = {
        "guess": [callable],
        "gamma": [Real],
        "inverse_guess": [callable, None],
    }

    def __init__(self, guess, gamma=0.0, *, inverse_guess=None):
        self.guess = guess
        self.gamma = gamma
        self.inverse_guess = inverse_guess

    @property
    def splits_mass(self):
        return self.gamma > 0

    @property
    def quadratic_coefficient(self):
        return 1.0 - self.gamma

    def evaluate(self, x, y):
        guess = self.guess(x)[:, None]
        cost = 0.5 * (y - guess).square().sum(dim=2).mean(dim=1)
        if self.gamma == 0:
            return cost
        return cost - 0.5 * self.gamma * y.var(dim=1).sum(dim=1)

    def reversed(self):
        return type(self)(self.inverse_guess, self.gamma, inverse_guess=self.guess)
