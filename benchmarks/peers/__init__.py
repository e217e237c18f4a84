"""The study's CNN in each framework: a step of training and a prediction, ready to be timed.

A peer module has `train(batch_size, image_size)` and `predict(batch_size, image_size)`. Each gives
a function without arguments that does the work once and waits for its end.
"""
