"""The Teach page: classes and their pictures, a quick model, and training in a separate process."""
