"""A pipe: two processes talk to each other, each at its end."""

from multiprocessing import Pipe

from parmap import spawn_each


def ask(connection):
    connection.send(6)
    return connection.recv()


def answer(connection):
    connection.send(connection.recv() * 7)


def talk(role, connection):
    return role(connection)


here, there = Pipe()
print("the answer is", spawn_each(talk, [ask, answer], [here, there])[0])
