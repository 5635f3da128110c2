"""Run the client's and the server's state machines against each other, with faults between."""
