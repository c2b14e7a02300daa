"""The classes of the contract, blocking and awaited: thin."""
