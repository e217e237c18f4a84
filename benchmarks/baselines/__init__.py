"""The study's CNN in each framework: a step of training and a prediction, ready to be timed.

A baseline is a module with `train(batch_size, image_size)` and `predict(batch_size, image_size)`.
Each returns a function without arguments that does the work once and waits for its end.
"""
