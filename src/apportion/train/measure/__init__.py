"""What is measured beside training: accuracy, cost, faithfulness, signs of collapse and gaming."""
