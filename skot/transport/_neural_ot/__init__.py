"""NeuralOT: maps and plans for strong and weak costs, by maximin training."""
