"""The operator: plans which relay pulls which camera. `python -m pancar_operator` runs it."""

import os

# As in `pancar_relay`. Else whoever fails to shake hands has gRPC's core write to standard error, between our lines and
# past their format.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
