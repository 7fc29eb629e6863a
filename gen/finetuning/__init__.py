"""Fine-tuning: a trained model, labelled examples, and the model, the score and the predictions that come of them."""
