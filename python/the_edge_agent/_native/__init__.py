"""The binding to libtea. Only the modules of this folder import the extension.

- `library`: loads the extension, checks versions, one engine for the process, errors;
- `host`: what the library may ask of Python, and its log records;
- `values`: its questions about live values;
- `codec`: Python values as the engine's JSON and back;
- `structure`: nodes and edges as dictionaries that notice changes;
- `calls`: how a node's or condition's function wants its arguments;
- `graph`: a graph's twin in the library;
- `driver`: pulls a run and answers it;
- `agent`: agents from YAML: loading, what their nodes ask for, templates and conditions by themselves;
- `code`: blocks of Python code in agents;
- `branches`: drives the branches of a run on an executor.
"""
