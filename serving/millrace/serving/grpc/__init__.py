"""The same APIs over gRPC: batch first, with reflection, health and deadlines. `serving.proto` is the contract."""
