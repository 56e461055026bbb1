"""x"""
from xroute.files.opening import open_dataset


def read_weights(path):
    with open_dataset(path) as d:
        return d.load()
