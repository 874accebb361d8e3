"""Procedural aerial scenes with exact ground truth, for the bundled demo and for pretraining."""
