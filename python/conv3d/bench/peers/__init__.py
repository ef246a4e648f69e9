"""One program per library. Each is run as a script by the interpreter that has the library (Python
3.6 or later).
"""
