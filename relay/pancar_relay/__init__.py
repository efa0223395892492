"""The relay: pulls cameras, fans them out to viewers. `python -m pancar_relay` runs it."""

import os

# gRPC's core writes lines of its own to standard error, between ours; what failed it also raises. It looks for this
# when it is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
