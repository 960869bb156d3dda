"""The libraries: how each opens its workers, and how a script uses it. A few lines each."""

from __future__ import annotations

from .base import CORES, Peer
from .others import Dask, Joblib, Loky, Mpire, Pebble, Pqdm, Ray
from .ours import Parmap, ParmapFork, ParmapPreload
from .standard import (
    BareProcesses,
    Executor,
    ExecutorForkserver,
    ExecutorSpawn,
    Pool,
    PoolForkserver,
    Process,
    ProcessForkserver,
    ProcessSpawn,
    Serial,
)

__all__ = [
    "CORES",
    "OTHER_STARTS",
    "PEERS",
    "PEER_BY_NAME",
    "BareProcesses",
    "ParmapFork",
    "ParmapPreload",
    "Peer",
    "PoolForkserver",
]

PEERS: list[type[Peer]] = [
    Serial,
    BareProcesses,
    Parmap,
    ParmapFork,
    ParmapPreload,
    Pool,
    PoolForkserver,
    Executor,
    ExecutorForkserver,
    ExecutorSpawn,
    Process,
    ProcessForkserver,
    ProcessSpawn,
    Joblib,
    Loky,
    Mpire,
    Pebble,
    Pqdm,
    Dask,
    Ray,
]
OTHER_STARTS = (PoolForkserver, ExecutorForkserver, ExecutorSpawn)
PEER_BY_NAME = {peer.name: peer for peer in PEERS}
