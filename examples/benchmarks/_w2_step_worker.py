"""Times steps of one library in a process of its own: see bench_w2_step.py.

It reads commands from standard input, a line each, and answers with a line of JSON.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from _w2_pairs import BATCH_SIZE, Pair

N_BATCHES = 32
HIDDEN = (128, 128, 128)
LEARNING_RATE, BETAS = 5e-4, (0.5, 0.5)


def draw(n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the same independent rows of both sides for every library."""
    pair, rng = Pair(n_features), np.random.default_rng([n_features, 0])
    return pair.source(N_BATCHES * BATCH_SIZE, rng), pair.target(N_BATCHES * BATCH_SIZE, rng)


def judge(iterations: np.ndarray, residuals: np.ndarray, tol: float) -> dict:
    """Return what the conjugate solves of one batch took, and how many of them arrived."""
    return {
        "iterations": float(np.mean(iterations)),
        "most_iterations": int(np.max(iterations)),
        "converged": float(np.mean(residuals <= 1.01 * tol)),
    }


class SkotSteps:
    """The training loop of `W2GNTransport`."""

    def __init__(self, n_features: int, tol: float, max_iter: int, preconditioning: str) -> None:
        import torch

        from skot import W2GNTransport
        from skot.networks import MLPMap, MLPPotential
        from skot.solvers.conjugate import LBFGSConjugate
        from skot.training import Adam, MinibatchSampler
        from skot.transport._w2gn.training import DualStep

        torch.set_num_threads(1)
        x, y = draw(n_features)
        transport = W2GNTransport(
            MLPPotential(HIDDEN),
            amortizer=MLPMap(HIDDEN),
            optimizer=Adam(lr=LEARNING_RATE, betas=BETAS),
            preconditioning=preconditioning,
            batch_size=BATCH_SIZE,
            random_state=0,
        ).partial_fit(x[:BATCH_SIZE], y[:BATCH_SIZE])
        self.state, frame = transport._state, transport._learned.frame
        # The tolerance is that of the peer: on the norm, in the units of the data.
        self.tol = tol / (frame.scale * n_features) ** 0.5
        self.solver = LBFGSConjugate(max_iter=max_iter, tol=self.tol)
        sides = (frame.source_rows(torch.as_tensor(x)), frame.target_rows(torch.as_tensor(y)))
        self.source, self.target = (
            MinibatchSampler(rows.float(), BATCH_SIZE, generator=self.state.generator)
            for rows in sides
        )
        self._step = DualStep(
            self.state,
            self.source.sample,
            self.target.sample,
            self.solver,
            transport.amortization_,
            1,
        )

    def run(self, n_steps: int) -> None:
        """Do some steps."""
        from skot.training import train

        train(self._step, self.state, max_iter=n_steps)

    def quality(self) -> dict:
        """Solve the conjugates of one batch."""
        import torch

        from skot.numerics.value_and_gradient import value_and_gradient

        y = self.target.sample()
        potential, amortizer = (self.state.modules[k] for k in ("potential", "amortizer"))
        with torch.no_grad():
            result = self.solver.solve(potential, y, amortizer(y))
            residual = value_and_gradient(potential, result.argument)[1] - y
        norms = residual.square().mean(dim=1).sqrt().numpy()
        return judge(result.n_iter.numpy(), norms, self.tol)


class JaxSteps:
    """The compiled step of OTT-JAX's `W2NeuralDual`."""

    def __init__(self, n_features: int, tol: float, max_iter: int) -> None:
        import jax
        from _w2_peers import Settings, regression_dual

        self.jax, self.tol = jax, tol
        options = {"tol": tol, "maxiter": max_iter, "maxls": 5}
        settings = Settings(LEARNING_RATE, *BETAS, HIDDEN, options)
        self.solver = regression_dual(n_features, 0, settings)
        self.f, self.g = self.solver.state_f, self.solver.state_g
        self.x, self.y = (
            rows.reshape(N_BATCHES, BATCH_SIZE, n_features) for rows in draw(n_features)
        )
        self.i = 0

    def run(self, n_steps: int) -> None:
        """Do some steps."""
        for _ in range(n_steps):
            i = self.i = (self.i + 1) % N_BATCHES
            batch = {
                "source": self.jax.numpy.asarray(self.x[i]),
                "target": self.jax.numpy.asarray(self.y[i]),
            }
            self.f, self.g, *_ = self.solver.train_step_parallel(self.f, self.g, batch)
        self.jax.block_until_ready((self.f.params, self.g.params))

    def quality(self) -> dict:
        """Solve the conjugates of one batch."""
        jax = self.jax
        potential = self.f.potential_value_fn(self.f.params)
        amortizer = jax.vmap(self.g.potential_gradient_fn(self.g.params))
        y = jax.numpy.asarray(self.y[0])
        solve = self.solver.conjugate_solver.solve
        result = jax.jit(jax.vmap(lambda y, x: solve(potential, y, x)))(y, amortizer(y))
        residual = np.asarray(jax.vmap(jax.grad(potential))(result.grad) - y)
        norms = np.linalg.norm(residual, axis=1)
        return judge(np.asarray(result.num_iter), norms, self.tol)


def answer(steps: SkotSteps | JaxSteps, command: str, n_steps: int) -> dict:
    """Do what the command says."""
    if command == "quality":
        return steps.quality()
    start = time.process_time()
    steps.run(n_steps)
    return {"seconds": (time.process_time() - start) / n_steps}


def main(library: str, arguments: str) -> None:
    """Answer the commands ``run N`` and ``quality``."""
    warnings.simplefilter("ignore")
    make: Callable = {"skot": SkotSteps, "jax": JaxSteps}[library]
    steps = make(*json.loads(arguments))
    for line in sys.stdin:
        command, n_steps = line.split()
        sys.stdout.write(json.dumps(answer(steps, command, int(n_steps))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
