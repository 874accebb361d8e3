"""Maps made by several processes or machines: bands of rows as tasks of dask.distributed, which is installed with requirements-cluster.txt."""
