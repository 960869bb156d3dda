"""A queue: one process produces, another one consumes."""

from multiprocessing import Queue

from parmap import spawn_each


def produce(queue):
    for number in range(1, 6):
        queue.put(number)
    queue.put(None)  # there is no more to come


def consume(queue):
    total = 0
    while (number := queue.get()) is not None:
        total += number
    return total


def work(role, queue):
    return role(queue)


queue = Queue()
results = spawn_each(work, [produce, consume], [queue, queue])
print("the consumer counted", results[1])
