"""A pool of four workers squares five numbers."""

from parmap import Pool, parallel_map


def square(x):
    return x * x


with Pool(4) as pool:
    print(parallel_map(square, [1, 2, 3, 4, 5], executor=pool))
