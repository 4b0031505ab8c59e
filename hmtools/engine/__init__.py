"""Heavy work as a Job of Units: leases, resumable state, and the pools that run them. Sees core only."""
