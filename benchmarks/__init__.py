"""Speed of the simulator against the libraries': ``python -m benchmarks`` in a checkout; ``--help`` tells the options.

`nets` are what is run, `loop` the obvious simulation that all spikes are compared with, `judge` who says so, `peers` the
simulators in their own processes, `measure` their times, `machine` the dense bound, `table` and `scaling` what is shown;
`crossing` clocks where the simulator goes from rows of weights to products of bytes.

`mnist` is a whole data set beside the library's loop; `shards` what a tile costs on Dask's workers. `scale` predicts data
sets on many machines: `costs` is its model, `sweep` what it is asked of, `clocked` its trial on this machine, `imagenet` the
stand-in, `forecast` the table.
"""
