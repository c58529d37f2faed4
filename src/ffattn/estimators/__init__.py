"""What the estimators of scikit-learn, aeon and sktime share."""
