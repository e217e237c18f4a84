"""The study's CNN in each framework: a training step and a prediction, ready for timing.

A baseline is a module with `train(batch_size, image_size)` and `predict(batch_size, image_size)`.
Each returns a function without arguments that does the work once and waits until it is finished.
"""
