"""What can be trained, and what a trained model is."""
