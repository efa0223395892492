"""A network that is as bad as it is told to be, for benches and tests: two TUN devices and a program between them.

`impairment` decides what becomes of each packet (pure), `shim` is the process that moves them, `wire` starts it and is
what others use.
"""
