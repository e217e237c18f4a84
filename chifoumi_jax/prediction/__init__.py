"""Prediction with a trained model: loading it, classifying photos and files, and heat maps."""
