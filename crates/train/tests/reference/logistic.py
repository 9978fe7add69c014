"""Makes logistic.json: what scikit-learn's logistic regression, C = 1, finds on standardized features.

pip install scikit-learn; python logistic.py

For two classes scikit-learn fits one row w, and a model of two rows ±w/2 has half its penalty: with C = 2 the two are the same model.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

iris = load_iris()
random = np.random.default_rng(0)
wide = random.normal(size=(24, 40)).round(3)
wide[:, 7] = 0.1  # a feature that does not vary
CASES = {
    # name: rows, labels, C
    "three-classes": (iris.data, iris.target, 1.0),
    "two-separable-classes": (iris.data[:100], iris.target[:100], 2.0),
    "two-classes-that-overlap": (iris.data[50:, :2], iris.target[50:] - 1, 2.0),
    "more-features-than-rows": (wide, np.arange(24) % 5 % 4, 1.0),
}


def case(features, labels, c):
    scaled = StandardScaler().fit_transform(features)
    model = LogisticRegression(C=c, tol=1e-13, max_iter=100_000, solver="newton-cg").fit(scaled, labels)
    probabilities = model.predict_proba(scaled)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(coefficients) == 1:
        coefficients, intercepts = np.concatenate([-coefficients, coefficients]) / 2, np.append(-intercepts, intercepts) / 2
    return {
        "dim": features.shape[1],
        "classes": int(labels.max()) + 1,
        "features": features.ravel().tolist(),
        "labels": labels.tolist(),
        # k rows of dim.
        "coefficients": coefficients.ravel().tolist(),
        # Less their mean, which is free.
        "intercepts": (intercepts - intercepts.mean()).tolist(),
        "probabilities": probabilities[::7].ravel().tolist(),
        "predictions": model.predict(scaled).tolist(),
    }


if __name__ == "__main__":
    reference = {name: case(*data) for name, data in CASES.items()}
    lines = [f"{json.dumps(name)}: {json.dumps(values)}" for name, values in reference.items()]
    Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
