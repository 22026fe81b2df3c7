"""What several tests build on: instances, markets and results made by hand or by a seed."""
