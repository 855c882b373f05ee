"""Calls served by machine code: what a program takes and gives enters, plans for one function leave."""
