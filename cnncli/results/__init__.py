"""What is found in an input: the head of its record, and a module for each task with its results and their schema.

A task's module states `SCHEMA`, its keys of the record, and `EITHER`, the sets of keys of which a record has one.
"""
