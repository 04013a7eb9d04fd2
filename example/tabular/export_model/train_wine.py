"""Train a classifier of scikit-learn on its data about wine, in a second, and write it to ../wine/1/wine.joblib."""

from pathlib import Path

import joblib
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODEL_FILE = Path(__file__).resolve().parents[1] / "wine" / "1" / "wine.joblib"
SEED = 1


def split():
    """Features and labels for training, and those that are held out: (x, x_held_out, y, y_held_out)."""
    x, y = load_wine(return_X_y=True)
    return train_test_split(x, y, test_size=0.25, stratify=y, random_state=SEED)


def main():
    x, x_held_out, y, y_held_out = split()
    model = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=100, random_state=SEED))
    model.fit(x, y)
    print(f"Accuracy on {len(y_held_out)} held-out wines: {model.score(x_held_out, y_held_out):.3f}")
    MODEL_FILE.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, MODEL_FILE)
    print(f"Exported {MODEL_FILE}")


if __name__ == "__main__":
    main()
