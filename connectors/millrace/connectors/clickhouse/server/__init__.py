"""A ClickHouse for one machine: chdb behind ClickHouse's HTTP interface, so that many processes can share one path."""
