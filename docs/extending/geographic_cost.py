"""A ground cost of one's own, in one file: places on the globe, with further columns."""

from numbers import Real

import torch

from skot.costs import Cost

RADIUS = 6371.0  # of the Earth, in kilometres


class Geographic(Cost):
    """Squared kilometres between places, plus the squared differences of all other columns.

    The first two columns are latitude and longitude in degrees. A difference of one unit in any
    other column costs as much as a way of `km_per_unit` kilometres.
    """

    _parameter_constraints = {"km_per_unit": [Real]}

    def __init__(self, km_per_unit=100.0):
        self.km_per_unit = km_per_unit

    def validate(self):
        super().validate()
        if not self.km_per_unit > 0:
            raise ValueError(f"km_per_unit must be positive. Got {self.km_per_unit!r}.")

    def pairwise(self, x, y):
        squared = (x[:, None, 2:] - y[None, :, 2:]).square().sum(2)
        return self._cost(directions(x) @ directions(y).T, squared)

    def paired(self, x, y):
        squared = (x[:, 2:] - y[:, 2:]).square().sum(1)
        return self._cost((directions(x) * directions(y)).sum(1), squared)

    def _cost(self, cosine, squared):
        # Half the angle by its sine; the slope of the arc sine stays finite within the limits.
        sine = (0.5 - 0.5 * cosine).clamp(1e-14, 1.0 - 1e-9).sqrt()
        return (2.0 * RADIUS * torch.asin(sine)).square() + self.km_per_unit**2 * squared

    def twist(self, x, gradient):
        """Set out from x against the gradient, along a great circle."""
        latitude = torch.deg2rad(x[:, 0])
        north, east = (-torch.rad2deg(gradient[:, :2]) / (2.0 * RADIUS**2)).unbind(1)
        east = east / latitude.cos()  # in radians of the way, not of longitude
        angle = torch.hypot(north, east)
        north, east = (step * torch.sinc(angle / torch.pi) for step in (north, east))
        up = angle.cos() * latitude.sin() + north * latitude.cos()
        outward = angle.cos() * latitude.cos() - north * latitude.sin()
        longitude = x[:, 1] + torch.rad2deg(torch.atan2(east, outward))
        place = [torch.rad2deg(torch.atan2(up, torch.hypot(outward, east))), longitude]
        others = x[:, 2:] - gradient[:, 2:] / (2.0 * self.km_per_unit**2)
        return torch.cat([torch.stack(place, 1), others], 1)


def directions(x):
    """Unit vectors of the places."""
    latitude, longitude = torch.deg2rad(x[:, :2]).unbind(1)
    flat = latitude.cos()
    return torch.stack([flat * longitude.cos(), flat * longitude.sin(), latitude.sin()], 1)
