"""The basis of the network simplex: a tree of rows and columns, with a flow on every edge."""

from collections.abc import Sequence

import numpy as np


class SpanningTree:
    """A tree that joins the `n` rows (nodes 0, ..., n - 1) and `m` columns (nodes n, ...).

    The edges are entries of a plan; each is kept at the lower of its two nodes. Flows are Python
    integers. The cheapest entries of a cost of shape (n, m) are taken first: exactly n + m - 1, as
    no subsets of supply and demand but all of them have one sum.
    """

    def __init__(self, cost: np.ndarray, supply: Sequence[int], demand: Sequence[int]):
        n, m = cost.shape
        self.n = n
        self.parent = [-1] * (n + m)
        self.depth = [0] * (n + m)
        self.flow = [0] * (n + m)
        self.children: list[set[int]] = [set() for _ in range(n + m)]
        # Duals are sums from the root on: where costs are small they keep their digits.
        self.root = int(np.median(cost, axis=1).argmin())
        self._hang(_cheapest_first(cost, supply, demand))

    def _hang(self, neighbours: list[list[tuple[int, int]]]) -> None:
        stack = [self.root]
        while stack:
            node = stack.pop()
            for other, flow in neighbours[node]:
                if other != self.parent[node]:
                    self.parent[other], self.depth[other] = node, self.depth[node] + 1
                    self.flow[other] = flow
                    self.children[node].add(other)
                    stack.append(other)

    def entries(self) -> tuple[list[int], list[int], list[int]]:
        """Return rows, columns and flows of the n + m - 1 edges."""
        n = self.n
        nodes = [node for node in range(len(self.parent)) if node != self.root]
        ends = [(node, self.parent[node]) for node in nodes]
        rows = [min(pair) for pair in ends]
        columns = [max(pair) - n for pair in ends]
        return rows, columns, [self.flow[node] for node in nodes]

    def duals(self, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return f, g of shape (n,), (m,) with ``f + g = cost`` on the edges, zero at the root."""
        n = self.n
        value = [0.0] * len(self.parent)
        stack = [self.root]
        while stack:
            node = stack.pop()
            for child in self.children[node]:
                entry = cost[child, node - n] if child < n else cost[node, child - n]
                value[child] = float(entry) - value[node]
                stack.append(child)
        return np.array(value[:n]), np.array(value[n:])

    def pivot(self, i: int, j: int) -> tuple[list[int], list[int], float]:
        """Let an entry that is not an edge enter.

        Returns rows and columns that were cut off and hang on the new edge now, and a sign: 1 if
        the row of the new edge is among them, -1 if its column is.
        """
        column = j + self.n
        leaving, row_is_below, theta = self._push(i, column)
        below, above = (i, column) if row_is_below else (column, i)
        self._rehang(below, above, leaving, theta)
        nodes = self._renew_depths(below)
        rows = [node for node in nodes if node < self.n]
        columns = [node - self.n for node in nodes if node >= self.n]
        return rows, columns, 1.0 if row_is_below else -1.0

    def _push(self, row: int, column: int) -> tuple[int, bool, int]:
        """Send what fits around the cycle that the new edge closes.

        Returns the lower node of the edge that runs empty, whether it is on the side of the row,
        and the flow of the new edge.
        """
        n, parent, depth, flow = self.n, self.parent, self.depth, self.flow
        falls: list[int] = []
        rises: list[int] = []
        u, v = row, column
        while u != v:
            # On its way up from a row of the row's side, or a column of the other, flow falls.
            if depth[u] >= depth[v]:
                (falls if u < n else rises).append(u)
                u = parent[u]
            else:
                (falls if v >= n else rises).append(v)
                v = parent[v]
        leaving = min(falls, key=flow.__getitem__)
        theta = flow[leaving]
        for node in falls:
            flow[node] -= theta
        for node in rises:
            flow[node] += theta
        # Falling edges have rows below them on the side of the row, and columns on the other.
        return leaving, leaving < n, theta

    def _rehang(self, below: int, above: int, leaving: int, flow: int) -> None:
        """Turn the way from `below` up to `leaving` around, and hang it under `above`."""
        node, new_parent = below, above
        while True:
            old_parent, old_flow = self.parent[node], self.flow[node]
            self.children[old_parent].discard(node)
            self.children[new_parent].add(node)
            self.parent[node], self.flow[node] = new_parent, flow
            if node == leaving:
                return
            node, new_parent, flow = old_parent, node, old_flow

    def _renew_depths(self, top: int) -> list[int]:
        """Set the depths below `top`, and return all nodes there with it."""
        depth, children = self.depth, self.children
        depth[top] = depth[self.parent[top]] + 1
        nodes = [top]
        for node in nodes:
            below = children[node]
            if below:
                for child in below:
                    depth[child] = depth[node] + 1
                nodes.extend(below)
        return nodes


def _cheapest_first(
    cost: np.ndarray, supply: Sequence[int], demand: Sequence[int]
) -> list[list[tuple[int, int]]]:
    """Fill the cheapest entries; return the neighbours of every node, with flows."""
    n, m = cost.shape
    left = [*supply, *demand]
    neighbours: list[list[tuple[int, int]]] = [[] for _ in left]
    missing = n + m - 1
    for entry in np.argsort(cost, axis=None).tolist():
        row, column = divmod(entry, m)
        column += n
        if left[row] and left[column]:
            flow = min(left[row], left[column])
            left[row] -= flow
            left[column] -= flow
            neighbours[row].append((column, flow))
            neighbours[column].append((row, flow))
            missing -= 1
            if not missing:
                break
    return neighbours
