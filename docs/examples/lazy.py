"""Results one by one, from an input without an end."""

from itertools import count

from parmap import parallel_imap


def is_prime(n):
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


def check(n):
    return n, is_prime(n)


found = []
for n, prime in parallel_imap(check, count(1_000_000)):
    if prime:
        found.append(n)
    if len(found) == 5:
        break  # what still runs is ended

print("the first primes above a million:", found)
