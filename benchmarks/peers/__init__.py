"""The simulators, each in a process of its own interpreter: a `Model` is prepared once, then its calls are timed there.

Everything here runs in the libraries' interpreters, so it is Python 3.10 syntax and needs numpy and the portable part of the
package, `graphs` torch as well. `hosts.remote` starts the processes and carries the networks.
"""
