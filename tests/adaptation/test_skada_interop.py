"""The adapter shown in the docs. `import skada` changes the process, hence another one."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CHECKS = """
import json
import numpy as np
from sklearn.model_selection import GridSearchCV
from skada.metrics import PredictionEntropyScorer
from skada.model_selection import SourceTargetShuffleSplit
from skot import DomainAdaptation

# An adapter leaves rows of the target as they are.
residual = {"transportadapter__transport__residual": 1.0}
pipeline.set_params(transportadapter__transport__epsilon=0.05, **residual)
pipeline.fit(X, y.copy(), sample_domain=sample_domain)
standardised = StandardScaler().fit(X).transform(X)
transport = SinkhornTransport(class_reg=0.1, residual=1.0)
adaptation = DomainAdaptation(LogisticRegression(max_iter=1000), transport)
adaptation.fit(standardised, y, sample_domain=sample_domain)
search = GridSearchCV(
    pipeline,
    {"transportadapter__transport__epsilon": [0.05, 5.0]},
    scoring=PredictionEntropyScorer(),
    cv=SourceTargetShuffleSplit(n_splits=1, random_state=0),
    error_score="raise",
).fit(X, y.copy(), sample_domain=sample_domain)
print(json.dumps({
    "plain": plain.score(X[target], y[target]),
    "adapted": pipeline.score(X[target], y[target]),
    "same as DomainAdaptation": float(np.mean(
        pipeline.predict(X[target]) == adaptation.predict(standardised[target])
    )),
    "chosen": search.best_params_["transportadapter__transport__epsilon"],
}))
"""


@pytest.fixture(scope="module")
def blocks():
    page = (ROOT / "docs" / "skada.md").read_text(encoding="utf-8")
    found = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(found) == 3
    return found


def test_the_documented_adapter(blocks):
    if find_spec("skada") is None:
        pytest.skip("skada is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", "\n".join([*blocks, CHECKS])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert printed[0].startswith("without adaptation")
    assert printed[1].startswith("with adaptation")
    found = json.loads(printed[-1])
    assert found["adapted"] > found["plain"] + 0.2
    assert found["same as DomainAdaptation"] == 1.0
    assert found["chosen"] == 0.05
