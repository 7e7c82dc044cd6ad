"""How GPAW is built by `make gpaw`: serial, with Debian's libxc and OpenBLAS."""

compiler = "g++"
mpi = False
libraries = ["xc", "openblas"]
