"""Speed of the simulator against the libraries': ``python -m benchmarks`` in a checkout; ``--help`` tells the options.

`nets` are what is run, `loop` the obvious simulation that all spikes are compared with, `judge` who says so, `peers` the
simulators in their own processes, `measure` their times, `machine` the dense bound, `table` and `scaling` what is shown.
"""
