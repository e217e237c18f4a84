"""The page Teach: classes, photos, a quick model, and a training in a process of its own."""
