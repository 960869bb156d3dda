"""What is measured: a workload is a function that takes a library and answers numbers.

The numbers are told by quantity ("time", "memory") and by setting: "default" is the library's own
chunk size; other settings are chunk sizes, or "its own way" where a library has one for the case.
The functions that workers run stand beside; these modules import little, since fresh interpreters
import them too. To add a workload: write the function, and its lines in `benchmarks.suite`.
"""
