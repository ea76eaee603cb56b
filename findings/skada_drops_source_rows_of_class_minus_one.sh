#!/bin/sh
# skada 0.6.0 takes source rows whose class is -1 for unlabelled rows and leaves them out of the fit of
# the classifier, without a warning.
#
# -1 is skada's mark for "no label" on target rows. scikit-learn's outlier detectors and many binary
# data sets use -1 as a class. Here 100 labelled source rows of the classes -1, 0 and 1 go in, and the
# classifier of the pipeline is fitted on the 70 that are not of class -1: it can never predict -1.
# (With the classes -1 and 1 one class is left, and some classifiers raise.)
#
# Why a user meets it: accuracy on the target falls, and nothing says that a class is gone. Encoding the
# classes as 0, 1, ... avoids it.
#
# Needs the network to install the packages.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "skada==0.6.0" "scikit-learn==1.9.1" "numpy==2.4.6" "POT==0.9.7.post1"
cat > "$folder/classes.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import skada
from sklearn.linear_model import LogisticRegression

seen = []


class Watched(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        seen.append(np.unique(y, return_counts=True))
        return super().fit(X, y)


rng = np.random.default_rng(0)
source = np.repeat([-1, 0, 1], [30, 20, 50])
X = np.concatenate([rng.normal(size=(100, 2)) + 3 * source[:, None], rng.normal(size=(40, 2))])
y = np.concatenate([source, np.full(40, -1)])  # the target has no labels
sample_domain = np.repeat([1, -2], [100, 40])

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    pipeline = skada.make_da_pipeline(skada.EntropicOTMappingAdapter(reg_e=1.0), Watched())
    pipeline.fit(X, y.copy(), sample_domain=sample_domain)
classes, counts = seen[-1]
print("skada", skada.__version__)
print("source rows by class:", dict(zip(*np.unique(source, return_counts=True))))
print("the classifier saw:  ", dict(zip(classes, counts)))
told = [str(one.message) for one in caught if "label" in str(one.message) or "-1" in str(one.message)]
print("warnings of it:", told)
sys.exit(0 if classes.tolist() == [0, 1] and counts.tolist() == [20, 50] and not told else 1)
PYTHON
"$folder/venv/bin/python" "$folder/classes.py"
