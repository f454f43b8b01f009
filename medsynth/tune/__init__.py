"""The step `tune`: how a trained model is sampled, chosen on validation subjects."""
